"""Which networks a task is opened with: those that learnt from its project, where there are any, else the package's."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

from tam_backend.errors import BusyError, DamagedWeightsError, StoreError, WeightsError
from tam_backend.models import zoo
from tam_backend.models.weights import record_fingerprint
from tam_backend.problems import ProblemLog
from tam_backend.store.adapted_networks import AdaptedNetworks, AdaptedVersion, newest_that_may_serve
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.workers.networks import Networks

if TYPE_CHECKING:
    from tam_backend.engine import TrackAnything

logger = logging.getLogger(__name__)

# Each takes 17 MB and more (measured: four copies). What open tasks use stays as long as they are open.
_MOST = 3


class ProjectNetworks:
    """The networks of all projects on one worker: the last few that were asked for. Thread-safe.

    Args:
        networks: of the package; they have learnt from no project.
        adapted: what learnt.
        store: tells which networks a session began with: it keeps them.
        problems: told of weights that are damaged or cannot be had; then the package's serve, unless masks would be
            dropped because of what may pass.
        most: so many are kept besides the package's.
    """

    def __init__(
        self,
        networks: Networks,
        adapted: AdaptedNetworks,
        store: SessionStore,
        problems: ProblemLog,
        most: int = _MOST,
    ) -> None:
        self._networks = networks
        self._adapted = adapted
        self._store = store
        self._problems = problems
        self._most = most
        self._loaded: OrderedDict[str, TrackAnything] = OrderedDict()
        self._lock = threading.Lock()

    def of(self, session: SessionKey, timeout_s: float) -> tuple[TrackAnything, str]:
        """Return the networks that a session has masks of, else the newest of its project; and their version.

        Raises:
            BusyError: the package's networks were not loaded in time; or those that the session has masks of cannot be
                had now, and others would drop them.
            StoreError: the database refuses to say whether it has any.
            Exception: why they could not be loaded.
        """
        base = self._networks.get(timeout_s)
        try:
            version = self._version(session)
            if version is not None:
                return self._adapted_to(version, base), version.name
        except (StoreError, WeightsError, OSError) as error:
            self._problems.failed(f"project {session.project}, its own networks", error)
            self._problems.write()
            may_pass = not isinstance(error, DamagedWeightsError)
            if may_pass and self._store.weights_of_masks(session) not in ("", self._networks.version):
                why = str(error).rstrip(".")
                raise BusyError(
                    f"The networks that made the masks of task {session.task} cannot be had now: {why}.",
                    "Try again: others would have to track it anew.",
                ) from error
        return base, self._networks.version

    def _version(self, session: SessionKey) -> AdaptedVersion | None:
        if not zoo.is_adaptable(self._networks.profile):
            return None
        versions = [each for each in self._adapted.versions(session.project) if each.base == self._networks.version]
        newest = newest_that_may_serve(versions, self._networks.version)
        if newest is None:
            return None
        begun_with = self._store.weights_of_masks(session)
        if begun_with == self._networks.version:
            return None
        return next((each for each in versions if each.can_serve and each.name == begun_with), newest)

    def _adapted_to(self, version: AdaptedVersion, base: TrackAnything) -> TrackAnything:
        with self._lock:  # two tasks of a project that are opened at once load them once
            # Whether they are damaged is the same question for all: what pages tell, and what is in memory here.
            if version.name in self._loaded and not self._adapted.is_damaged(version):
                self._loaded.move_to_end(version.name)
                return self._loaded[version.name]
            self._loaded.pop(version.name, None)
            loaded = self._loaded[version.name] = self._load(version, base)
            while len(self._loaded) > self._most:
                self._loaded.popitem(last=False)
            return loaded

    def _load(self, version: AdaptedVersion, base: TrackAnything) -> TrackAnything:
        weights = self._adapted.weights(version)
        with TemporaryDirectory(prefix="tam-adapted-") as folder:
            paths = {network: Path(folder) / f"{network}.safetensors" for network in weights}
            for network, path in paths.items():
                path.write_bytes(weights[network])
                record_fingerprint(path, version.fingerprints[network])
            loaded = base.adapted(version.name, paths.get("segmenter"), paths.get("tracker"))
        logger.info("Loaded %s, the networks of project %s", version.name, version.project)
        return loaded
