"""Profiles by name: which segmenter, tracker and weights belong together. Importable without torch."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from tam_backend.errors import ProfileError, WeightsError
from tam_backend.models.weights import recorded_fingerprint

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
        weights: the files, each recorded in the manifest beside it.
        build: makes the networks on a device; imports torch only when called.
    """

    name: str
    description: str
    needs: str
    release: str
    weights: tuple[Path, ...]
    build: Callable[[Profile, torch.device], Models]

    @property
    def version(self) -> str:
        """`model_version` for Label Studio; changes with the recorded weights. Raises WeightsError."""
        recorded = "".join(recorded_fingerprint(path) for path in self.weights)
        return f"{self.name}-{self.release}-{hashlib.sha256(recorded.encode()).hexdigest()[:8]}"

    def installation(self) -> Installation:
        """Look whether the weights are there and recorded; their bytes are checked when they are loaded."""
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
    return tuple(_PROFILES)


def profile(name: str) -> Profile:
    """Return the record of a profile.

    Raises:
        ProfileError: no such profile; the message lists the known ones.
    """
    if name not in _PROFILES:
        raise ProfileError(f"There is no profile {name!r}.", f"Known profiles: {', '.join(profile_names())}.")
    return _PROFILES[name]


def require_installed(name: str) -> Profile:
    """Return the record of a profile that can be loaded here.

    Raises:
        ProfileError: no such profile.
        WeightsError: its weights are missing; the remedy says how to get them.
    """
    chosen = profile(name)
    state = chosen.installation()
    if not state.ready:
        raise WeightsError(state.reason, state.remedy)
    return chosen


def load(name: str, device: str = "auto") -> Models:
    """Load a fresh instance of a profile.

    Args:
        name: one of `profile_names()`.
        device: "auto" (CUDA if there is one), "cpu", "cuda", "cuda:1", ...

    Raises:
        ProfileError: no such profile.
        WeightsError: its weights are missing, damaged or of another network.
        DeviceError: no such device here.
    """
    chosen = require_installed(name)
    from tam_backend.models.devices import resolve_device  # noqa: PLC0415 - torch is slow to import

    return chosen.build(chosen, resolve_device(device))


def _build_compact(chosen: Profile, device: torch.device) -> Models:
    from tam_backend.models.compact_profile import build  # noqa: PLC0415 - torch is slow to import

    segmenter_weights, tracker_weights = chosen.weights
    return build(chosen.name, chosen.version, segmenter_weights, tracker_weights, device)


_PROFILES = {
    "compact": Profile(
        name="compact",
        description="small networks of our own for two CPU cores; quick and modest",
        needs="nothing: the weights (14 MB) come with the package",
        release="0.1",
        weights=(EMBEDDED_DIR / "compact_segmenter.safetensors", EMBEDDED_DIR / "compact_tracker.safetensors"),
        build=_build_compact,
    )
}
