"""The networks of this process: loaded once, in the background, while the server already answers."""

from __future__ import annotations

import logging
import threading
import time
from concurrent.futures import Future, wait
from typing import TYPE_CHECKING

from tam_backend.errors import BusyError, TamError
from tam_backend.models import zoo
from tam_backend.settings import Settings

if TYPE_CHECKING:
    from tam_backend.engine import TrackAnything

logger = logging.getLogger(__name__)


class Networks:
    """Loads a profile on first need. Thread-safe.

    Args:
        settings: name the profile, the device and the number of CPU threads.

    Raises:
        ProfileError: the settings name no known profile.
    """

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._lock = threading.Lock()
        self._loading: Future[TrackAnything] | None = None
        self.profile = settings.profile
        self.version = zoo.profile(settings.profile).version

    @property
    def ready(self) -> bool:
        """Whether the networks can be used at once."""
        loading = self._loading
        return loading is not None and loading.done() and loading.exception() is None

    @property
    def device(self) -> str:
        """Where the networks live; what was asked for until they are loaded."""
        loading = self._loading
        return str(loading.result().models.device) if self.ready and loading else self._settings.device

    @property
    def failure(self) -> BaseException | None:
        """Why they could not be loaded, if so."""
        loading = self._loading
        return loading.exception() if loading is not None and loading.done() else None

    def start(self) -> Future[TrackAnything]:
        """Begin to load, once; after a failure, again."""
        with self._lock:
            if self._loading is None or (self._loading.done() and self._loading.exception() is not None):
                self._loading = Future()
                threading.Thread(target=self._load, args=(self._loading,), name="load-networks", daemon=True).start()
            return self._loading

    def get(self, timeout_s: float) -> TrackAnything:
        """Wait for the networks.

        Raises:
            BusyError: they were not loaded in time.
            Exception: why they could not be loaded; the next call tries again.
        """
        loading = self.start()
        # What went wrong in loading may be a time-out of its own, which must not be taken for one of waiting here.
        if not wait([loading], timeout=max(0.0, timeout_s)).done:
            raise BusyError("The networks are still being loaded.", "Try again in a few seconds.")
        return loading.result()

    def _load(self, loading: Future[TrackAnything]) -> None:
        began_s = time.perf_counter()
        try:
            import torch  # noqa: PLC0415 - takes seconds; the server answers /health meanwhile

            from tam_backend.engine import TrackAnything  # noqa: PLC0415 - as above

            if self._settings.model_threads:
                torch.set_num_threads(self._settings.model_threads)
            tam = TrackAnything.load(
                self._settings.profile,
                self._settings.device,
                tracker_side=self._settings.tracker_side,
                refine=self._settings.refine,
            )
        except Exception as error:
            if isinstance(error, TamError):
                logger.error("Loading the profile %s failed: %s", self._settings.profile, error)
            else:
                logger.exception("Loading the profile %s failed", self._settings.profile)
            loading.set_exception(error)
        else:
            logger.info(
                "Loaded %s on %s in %.1f s", tam.models.version, tam.models.device, time.perf_counter() - began_s
            )
            loading.set_result(tam)
