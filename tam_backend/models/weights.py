"""Weights on disk: their fingerprints, and loading them strictly into a network."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import TYPE_CHECKING

from tam_backend.errors import WeightsError

if TYPE_CHECKING:
    from torch import Tensor, nn

MANIFEST_NAME = "manifest.json"
_CHUNK_BYTES = 1 << 20
_FETCH_AGAIN = "Fetch them again: `tam-backend weights fetch PROFILE`."
_REINSTALL = "Install the package again, or bring back the file that it came with."


def fingerprint(path: Path) -> str:
    """Return the SHA-256 of a file as 64 hexadecimal digits.

    Raises:
        WeightsError: the file cannot be read.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                digest.update(chunk)
    except OSError as error:
        raise WeightsError(f"Weights {path} cannot be read: {error.strerror}.", _REINSTALL) from error
    return digest.hexdigest()


def recorded_fingerprint(path: Path) -> str:
    """Return the SHA-256 that the manifest beside a file records for it.

    Raises:
        WeightsError: no manifest, or none that knows the file.
    """
    manifest_path = path.with_name(MANIFEST_NAME)
    if path.name not in (recorded := _read_manifest(manifest_path)):
        raise WeightsError(f"The manifest {manifest_path} records no SHA-256 for {path.name}.", _REINSTALL)
    return recorded[path.name]


def is_recorded(path: Path) -> bool:
    """Whether the manifest beside a file records it; a file that somebody put there by hand is not recorded."""
    manifest_path = path.with_name(MANIFEST_NAME)
    return manifest_path.is_file() and path.name in _read_manifest(manifest_path)


def recorded_or_computed(path: Path) -> str:
    """Return the SHA-256 that is recorded for a file; for one that was put there by hand, that of its bytes."""
    return recorded_fingerprint(path) if is_recorded(path) else fingerprint(path)


def require_recorded_bytes(path: Path) -> None:
    """Compare a file with what is recorded for it.

    Raises:
        WeightsError: changed since it was recorded, or unreadable.
    """
    expected, actual = recorded_fingerprint(path), fingerprint(path)
    if actual != expected:
        raise WeightsError(
            f"Weights {path} are damaged or not the ones recorded: SHA-256 {actual[:8]}..., not {expected[:8]}... .",
            _REINSTALL,
        )


def require_recorded_if_known(path: Path) -> None:
    """The same for a file that may have been put there by hand, of which nothing is recorded.

    Raises:
        WeightsError: changed since it was recorded, or unreadable.
    """
    if is_recorded(path):
        require_recorded_bytes(path)


def record_fingerprint(path: Path, sha256: str) -> None:
    """Write the SHA-256 of a file into the manifest beside it, next to what is recorded there already.

    Raises:
        WeightsError: the manifest is there but cannot be understood.
    """
    manifest_path = path.with_name(MANIFEST_NAME)
    recorded = _read_manifest(manifest_path) if manifest_path.exists() else {}
    changed = manifest_path.with_name(f"{MANIFEST_NAME}.new")
    changed.write_text(json.dumps({"sha256": {**recorded, path.name: sha256}}, indent=2) + "\n", encoding="utf-8")
    changed.replace(manifest_path)


def _read_manifest(manifest_path: Path) -> dict[str, str]:
    """Return name -> SHA-256."""
    try:
        recorded = json.loads(manifest_path.read_text(encoding="utf-8"))["sha256"]
        return {str(name): str(sha256) for name, sha256 in recorded.items()}
    except OSError as error:
        raise WeightsError(f"The manifest {manifest_path} cannot be read: {error.strerror}.", _REINSTALL) from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise WeightsError(f"The manifest {manifest_path} records no SHA-256 of anything.", _REINSTALL) from error


def load_verified(module: nn.Module, path: Path) -> None:
    """Load a safetensors file whose SHA-256 the manifest beside it records.

    Raises:
        WeightsError: missing, changed since it was recorded, or of another network.
    """
    require_recorded_bytes(path)
    load_strictly(module, path)


def load_strictly(module: nn.Module, path: Path) -> None:
    """Load a safetensors file into a network, every tensor and none besides; never unpickles.

    Half precision in the file becomes the precision of the network.

    Raises:
        WeightsError: the file is missing, is no safetensors file, or its first mismatch with the network.
    """
    from safetensors import SafetensorError  # noqa: PLC0415 - brings torch, which is slow to import
    from safetensors.torch import load_file  # noqa: PLC0415

    try:
        state: dict[str, Tensor] = load_file(path)
    except OSError as error:
        raise WeightsError(f"Weights {path} cannot be read: {error.strerror or error}.", _REINSTALL) from error
    except SafetensorError as error:
        raise WeightsError(f"Weights {path} are no intact safetensors file: {error}.", _REINSTALL) from error
    mismatch = first_mismatch(module.state_dict(), state)
    if mismatch:
        raise WeightsError(f"Weights {path} are of another network: {mismatch}.", _REINSTALL)
    module.load_state_dict(state)


def read_state_dict(path: Path, *, under: str | None = None, mapped: bool = False) -> dict[str, Tensor]:
    """Read a state dict that `torch.save` wrote, on the CPU; nothing in it is run (`weights_only`).

    Args:
        path: of the file.
        under: the state dict is the value of this key in the file; None = it is all that the file holds.
        mapped: leave the values on the disk, to look at names and shapes only; where the file's format allows.

    Raises:
        WeightsError: the file is missing, or holds anything but tensors by name.
    """
    import pickle  # noqa: PLC0415 - for the name of its error only
    import zipfile  # noqa: PLC0415

    import torch  # noqa: PLC0415 - slow to import

    try:
        mapped = mapped and zipfile.is_zipfile(path)
        state = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except (pickle.UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise WeightsError(f"Weights {path} are no intact PyTorch state dict.", _FETCH_AGAIN) from error
    except OSError as error:
        raise WeightsError(f"Weights {path} cannot be read: {error.strerror or error}.", _FETCH_AGAIN) from error
    if under is not None:
        state = state.get(under) if isinstance(state, dict) else None
    if not isinstance(state, dict) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise WeightsError(f"Weights {path} are not tensors by name.", _FETCH_AGAIN)
    return state


def first_mismatch(expected: dict[str, Tensor], given: dict[str, Tensor]) -> str:
    """Describe the first tensor by name that is missing, unexpected or of another shape; "" if all agree."""
    for name in sorted({*expected, *given}):
        if name not in given:
            return f"{name} is missing"
        if name not in expected:
            return f"{name} is unexpected"
        if expected[name].shape != given[name].shape:
            return f"{name} has shape {tuple(given[name].shape)}, not {tuple(expected[name].shape)}"
    return ""
