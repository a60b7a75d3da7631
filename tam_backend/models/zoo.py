"""Profiles by name: which segmenter, tracker and weights belong together. Importable without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tam_backend.errors import ProfileError, WeightsError
from tam_backend.models import published
from tam_backend.models.published import PublishedFile
from tam_backend.models.sam_variants import SAM_VARIANTS
from tam_backend.models.weights import recorded_fingerprint, recorded_or_computed
from tam_backend.settings import get_settings

if TYPE_CHECKING:
    import torch

    from tam_backend.models.protocols import Models

EMBEDDED_DIR = Path(__file__).with_name("embedded")


@dataclass(frozen=True)
class Installation:
    """Whether a profile can be loaded here; if not, why, and what to do about it."""

    ready: bool
    reason: str = ""
    remedy: str = ""


@dataclass(frozen=True)
class Profile:
    """A named segmenter + tracker + weights.

    Args:
        name: what users write.
        description: one line.
        needs: one line on what has to be there.
        release: of the weights' recipe; with their fingerprint it makes the version.
        weights: the files, each recorded in the manifest beside it; those that can be fetched may also be put there
            by hand, without a record.
        build: makes the networks on a device; imports torch only when called.
        fetched: which published files `weights` are, in the same order; empty if they come with the package.
    """

    name: str
    description: str
    needs: str
    release: str
    weights: tuple[Path, ...]
    build: Callable[[Profile, torch.device], Models]
    fetched: tuple[PublishedFile, ...] = ()

    @property
    def version(self) -> str:
        """`model_version` for Label Studio; changes with the weights. Raises WeightsError."""
        missing = self.installation()
        if self.fetched and not missing.ready:
            raise WeightsError(missing.reason, missing.remedy)
        prints = "".join(
            recorded_or_computed(path) if self.fetched else recorded_fingerprint(path) for path in self.weights
        )
        return f"{self.name}-{self.release}-{hashlib.sha256(prints.encode()).hexdigest()[:8]}"

    def installation(self) -> Installation:
        """Look whether the weights are there and recorded; their bytes are checked when they are loaded."""
        if self.fetched:
            missing = [path for path in self.weights if not path.is_file()]
            if missing:
                names = " and ".join(path.name for path in missing)
                return Installation(
                    False,
                    f"Profile {self.name} needs {names} in {missing[0].parent}.",
                    f"Get it: `tam-backend weights fetch {self.name}`.",
                )
            return Installation(True)
        try:
            for path in self.weights:
                recorded_fingerprint(path)
                if not path.is_file():
                    raise WeightsError(f"Weights {path} are missing.", "Install the package again.")
        except WeightsError as error:
            return Installation(False, error.message, error.remedy)
        return Installation(True)


def profile_names() -> tuple[str, ...]:
    """Return the names that `load` knows, the default first."""
    return (_COMPACT.name, *_sams())


def profile(name: str, weights_folder: Path | None = None) -> Profile:
    """Return the record of a profile.

    Args:
        name: one of `profile_names()`.
        weights_folder: where fetched weights are; None = where the settings say.

    Raises:
        ProfileError: no such profile; the message lists the known ones.
    """
    if name == _COMPACT.name:
        return _COMPACT
    if name not in (sams := _sams()):
        raise ProfileError(f"There is no profile {name!r}.", f"Known profiles: {', '.join(profile_names())}.")
    return _sam_profile(name, sams[name], weights_folder or get_settings().weights_folder)


def fetchable(name: str) -> tuple[PublishedFile, ...]:
    """Return the published files that can serve in a profile, alternatives included; none if its weights are embedded.

    Raises:
        ProfileError: no such profile.
    """
    fetched = profile(name).fetched
    return (fetched[0], *_XMEM_CHECKPOINTS) if fetched else ()


def require_installed(name: str, weights_folder: Path | None = None) -> Profile:
    """Return the record of a profile that can be loaded here.

    Args:
        name: one of `profile_names()`.
        weights_folder: where fetched weights are; None = where the settings say.

    Raises:
        ProfileError: no such profile.
        WeightsError: its weights are missing; the remedy says how to get them.
    """
    chosen = profile(name, weights_folder)
    state = chosen.installation()
    if not state.ready:
        raise WeightsError(state.reason, state.remedy)
    return chosen


def load(name: str, device: str = "auto", weights_folder: Path | None = None) -> Models:
    """Load a fresh instance of a profile.

    Args:
        name: one of `profile_names()`.
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...
        weights_folder: where fetched weights are; None = where the settings say.

    Raises:
        ProfileError: no such profile.
        WeightsError: its weights are missing, damaged or of another network.
        DeviceError: no such device here.
    """
    chosen = require_installed(name, weights_folder)
    from tam_backend.models.devices import resolve_device  # noqa: PLC0415 - torch is slow to import

    return chosen.build(chosen, resolve_device(device))


def is_adaptable(name: str) -> bool:
    """Tell whether a profile's networks can learn from a project."""
    return name == _COMPACT.name


def load_adapted(version: str, segmenter: Path | None, tracker: Path | None, device: torch.device) -> Models:
    """Load the compact profile with networks that learnt from a project.

    Args:
        version: for `model_version`.
        segmenter, tracker: weights, each recorded in the manifest beside it; None = the package's.
        device: where the networks will live.

    Raises:
        WeightsError: weights missing, damaged or of another network.
    """
    from tam_backend.models.compact_profile import build  # noqa: PLC0415 - torch is slow to import

    own_segmenter, own_tracker = _COMPACT.weights
    return build(_COMPACT.name, version, segmenter or own_segmenter, tracker or own_tracker, device)


def _build_compact(chosen: Profile, device: torch.device) -> Models:
    from tam_backend.models.compact_profile import build  # noqa: PLC0415 - torch is slow to import

    segmenter_weights, tracker_weights = chosen.weights
    return build(chosen.name, chosen.version, segmenter_weights, tracker_weights, device)


def _build_sam_and_xmem(chosen: Profile, device: torch.device) -> Models:
    from tam_backend.models.official_profile import build  # noqa: PLC0415 - torch is slow to import

    sam_weights, xmem_weights = chosen.weights
    return build(chosen.name, chosen.version, chosen.fetched[0].layout, sam_weights, xmem_weights, device)


def _sams() -> dict[str, PublishedFile]:
    """Return profile -> SAM's file."""
    return {variant.profile: variant.file for variant in SAM_VARIANTS.values()}


def _sam_profile(name: str, sam: PublishedFile, folder: Path) -> Profile:
    there = [file for file in _XMEM_CHECKPOINTS if (folder / file.name).is_file()]
    fetched = (sam, (there or _XMEM_CHECKPOINTS)[0])
    return Profile(
        name=name,
        description=f"the networks of Track Anything: SAM {sam.layout} for prompts, XMem for tracking",
        needs=f"{sam.name} ({sam.describe_size}) and {fetched[1].name} (about 250 MB), fetched once",
        release="1.0",
        weights=tuple(folder / file.name for file in fetched),
        build=_build_sam_and_xmem,
        fetched=fetched,
    )


_COMPACT = Profile(
    name="compact",
    description="small networks of our own for two CPU cores; quick and modest",
    needs="nothing: the weights (14 MB) come with the package",
    release="0.2",
    weights=(EMBEDDED_DIR / "compact_segmenter.safetensors", EMBEDDED_DIR / "compact_tracker.safetensors"),
    build=_build_compact,
)

# Either will do: the first that is there; the first is fetched if none is. Track Anything's own program uses the first.
_XMEM_CHECKPOINTS = (published.XMEM_S012, published.XMEM)
