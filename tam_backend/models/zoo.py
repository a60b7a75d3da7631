"""Profiles by name: SEGMENTER+TRACKER, of the kinds that the registry knows. Importable without torch.

One rule makes every name: a segmenter's, a plus, a tracker's. A name that is both may stand alone for the pair:
`compact` is `compact+compact`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Generic

from tam_backend.errors import MissingPackageError, ProfileError, WeightsError
from tam_backend.models.kind_registry import AnyKind, Kinds, segmenter_kinds, tracker_kinds
from tam_backend.models.kinds import Kind, Loading, SegmenterKind, TrackerKind
from tam_backend.models.published import PublishedFile
from tam_backend.models.weights import recorded_fingerprint, recorded_or_computed
from tam_backend.settings import get_settings

if TYPE_CHECKING:
    import torch

    from tam_backend.models.protocols import Models

_DEFAULT = "compact"
# The profile whose networks learn from a project.
_ADAPTABLE = "compact"


@dataclass(frozen=True)
class Installation:
    """Whether something can be loaded here; if not, why, and what to do about it."""

    ready: bool
    reason: str = ""
    remedy: str = ""
    error: type[ProfileError] = WeightsError

    def require(self) -> None:
        """Raise `error` unless it is ready."""
        if not self.ready:
            raise self.error(self.reason, self.remedy)


@dataclass(frozen=True)
class Part(Generic[AnyKind]):
    """The segmenter or the tracker of a profile: its kind, and where the weights are, or would be.

    Args:
        kind: of the registry.
        weights: the files. Embedded ones are recorded in the manifest beside them; those that can be fetched may also
            be put there by hand, without a record.
        fetched: which published files `weights` are, in the same order; empty if they come with a package.
    """

    kind: AnyKind
    weights: tuple[Path, ...]
    fetched: tuple[PublishedFile, ...] = ()

    @classmethod
    def of(cls, kind: AnyKind, weights_folder: Path) -> Part[AnyKind]:
        """Find its weights: of published files that serve alike, the first that is there."""
        if not kind.published:
            return cls(kind, kind.embedded)
        there = [file for file in kind.published if (weights_folder / file.name).is_file()]
        file = (there or kind.published)[0]
        return cls(kind, (weights_folder / file.name,), (file,))

    def fingerprints(self) -> dict[Path, str]:
        """Return file -> SHA-256. Raises WeightsError."""
        read = recorded_or_computed if self.fetched else recorded_fingerprint
        return {path: read(path) for path in self.weights}


@dataclass(frozen=True)
class Profile:
    """A named segmenter + tracker + weights.

    Args:
        name: what users write.
        segmenter: the first part of the name.
        tracker: the second.
    """

    name: str
    segmenter: Part[SegmenterKind]
    tracker: Part[TrackerKind]

    @property
    def parts(self) -> tuple[Part[SegmenterKind], Part[TrackerKind]]:
        """Segmenter and tracker."""
        return self.segmenter, self.tracker

    @property
    def weights(self) -> tuple[Path, ...]:
        """The files of both, each once."""
        return tuple(dict.fromkeys(path for part in self.parts for path in part.weights))

    @property
    def fetched(self) -> tuple[PublishedFile, ...]:
        """The published files among the weights, each once."""
        return tuple(dict.fromkeys(file for part in self.parts for file in part.fetched))

    @property
    def needs(self) -> str:
        """What has to be there, for people."""
        return needs(*(part.kind for part in self.parts))

    @property
    def version(self) -> str:
        """`model_version` for Label Studio; changes with the weights. Raises WeightsError."""
        if self.fetched:
            self._weights_installation().require()
        prints: dict[Path, str] = {}
        for part in self.parts:
            prints.update(part.fingerprints())
        release = "+".join(dict.fromkeys(part.kind.release for part in self.parts))
        return f"{self.name}-{release}-{hashlib.sha256(''.join(prints.values()).encode()).hexdigest()[:8]}"

    def installation(self) -> Installation:
        """Look whether packages and weights are there and recorded; bytes are checked when they are loaded."""
        for part in self.parts:
            package = part.kind.package
            if package is not None and not package.is_installed:
                return Installation(
                    False,
                    f"Profile {self.name} needs the package {package.project}.",
                    f"Install it: `{package.command}`.",
                    MissingPackageError,
                )
        return self._weights_installation()

    def _weights_installation(self) -> Installation:
        wanted = [path for part in self.parts if part.fetched for path in part.weights]
        missing = [path for path in dict.fromkeys(wanted) if not path.is_file()]
        if missing:
            names = " and ".join(path.name for path in missing)
            return Installation(
                False,
                f"Profile {self.name} needs {names} in {missing[0].parent}.",
                f"Get it: `tam-backend weights fetch {self.name}`.",
            )
        try:
            for path in (path for part in self.parts if not part.fetched for path in part.weights):
                recorded_fingerprint(path)
                if not path.is_file():
                    raise WeightsError(f"Weights {path} are missing.", "Install the package again.")
        except WeightsError as error:
            return Installation(False, error.message, error.remedy)
        return Installation(True)

    def build(self, device: torch.device, version: str | None = None) -> Models:
        """Load both networks on a device.

        Args:
            device: where they will live.
            version: for `model_version`; None = its own.

        Raises:
            WeightsError: weights missing, damaged or of another network.
        """
        from tam_backend.models.protocols import Models  # noqa: PLC0415 - torch is slow to import

        segmenter, tracker = self.parts
        loading = Loading(version or self.version, device)
        return Models(
            profile=self.name,
            version=loading.version,
            device=device,
            segmenter=segmenter.kind.build(segmenter.weights, loading),
            new_tracker=tracker.kind.build(tracker.weights, loading),
            tracker_side=tracker.kind.side,
            refines=segmenter.kind.refines and tracker.kind.explains,
        )


def profile_names() -> tuple[str, ...]:
    """Return one profile for each segmenter, with the tracker that it goes with; the default first.

    A plug-in's segmenter whose tracker is not there goes with the default's. `profile` knows every other pair as well.
    """
    trackers = tracker_kinds().by_name
    return tuple(
        _name(kind.name, kind.goes_with if kind.goes_with in trackers else _DEFAULT)
        for kind in segmenter_kinds().by_name.values()
    )


def profile(name: str, weights_folder: Path | None = None) -> Profile:
    """Return the record of a profile.

    Args:
        name: SEGMENTER+TRACKER, or a name that is both.
        weights_folder: where fetched weights are; None = where the settings say.

    Raises:
        ProfileError: no such profile; the message lists the known segmenters and trackers.
    """
    first, plus, second = name.partition("+")
    folder = weights_folder or get_settings().weights_folder
    segmenter = _kind(name, first, segmenter_kinds())
    tracker = _kind(name, second if plus else first, tracker_kinds())
    return Profile(_name(segmenter.name, tracker.name), Part.of(segmenter, folder), Part.of(tracker, folder))


def fetchable(name: str) -> tuple[PublishedFile, ...]:
    """Return the published files that can serve in a profile, alternatives included; none if its weights are embedded.

    Raises:
        ProfileError: no such profile.
    """
    return tuple(dict.fromkeys(file for part in profile(name).parts for file in part.kind.published))


def require_installed(name: str, weights_folder: Path | None = None) -> Profile:
    """Return the record of a profile that can be loaded here.

    Args:
        name: as of `profile`.
        weights_folder: where fetched weights are; None = where the settings say.

    Raises:
        ProfileError: no such profile.
        MissingPackageError: it needs a package; the remedy says how to get it.
        WeightsError: its weights are missing; the remedy says how to get them.
    """
    chosen = profile(name, weights_folder)
    chosen.installation().require()
    return chosen


def load(name: str, device: str = "auto", weights_folder: Path | None = None) -> Models:
    """Load a fresh instance of a profile.

    Args:
        name: as of `profile`.
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...
        weights_folder: where fetched weights are; None = where the settings say.

    Raises:
        ProfileError: no such profile.
        MissingPackageError: it needs a package that is not installed.
        WeightsError: its weights are missing, damaged or of another network.
        DeviceError: no such device here.
    """
    chosen = require_installed(name, weights_folder)
    from tam_backend.models.devices import resolve_device  # noqa: PLC0415 - torch is slow to import

    return chosen.build(resolve_device(device))


def is_adaptable(name: str) -> bool:
    """Tell whether a profile's networks can learn from a project."""
    return name == _ADAPTABLE


def load_adapted(version: str, segmenter: Path | None, tracker: Path | None, device: torch.device) -> Models:
    """Load the compact profile with networks that learnt from a project.

    Args:
        version: for `model_version`.
        segmenter, tracker: weights, each recorded in the manifest beside it; None = the package's.
        device: where the networks will live.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    own = profile(_ADAPTABLE)
    adapted = replace(
        own,
        segmenter=own.segmenter if segmenter is None else replace(own.segmenter, weights=(segmenter,)),
        tracker=own.tracker if tracker is None else replace(own.tracker, weights=(tracker,)),
    )
    return adapted.build(device, version)


def needs(*kinds: Kind) -> str:
    """Say what has to be there for some kinds, for people."""
    wanted = dict.fromkeys(each for kind in kinds for each in kind.wanted)
    embedded = sum(kind.embedded_mb for kind in kinds)
    return " and ".join(wanted) or f"nothing: the weights ({embedded:.0f} MB) come with the package"


def _name(segmenter: str, tracker: str) -> str:
    return segmenter if segmenter == tracker else f"{segmenter}+{tracker}"


def _kind(profile_name: str, name: str, kinds: Kinds[AnyKind]) -> AnyKind:
    if name in kinds.by_name:
        return kinds.by_name[name]
    if name in kinds.refused:
        raise ProfileError(f"Profile {profile_name!r} cannot be had: the plug-in {kinds.refused[name]}")
    raise ProfileError(
        f"There is no profile {profile_name!r}.",
        f"A profile is SEGMENTER+TRACKER, like {', '.join(profile_names())}. Segmenters: "
        f"{', '.join(segmenter_kinds().by_name)}. Trackers: {', '.join(tracker_kinds().by_name)}.",
    )
