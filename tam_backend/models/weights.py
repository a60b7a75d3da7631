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
    try:
        recorded = json.loads(manifest_path.read_text(encoding="utf-8"))["sha256"][path.name]
    except OSError as error:
        raise WeightsError(f"The manifest {manifest_path} cannot be read: {error.strerror}.", _REINSTALL) from error
    except (ValueError, KeyError, TypeError) as error:
        raise WeightsError(f"The manifest {manifest_path} records no SHA-256 for {path.name}.", _REINSTALL) from error
    return str(recorded)


def load_verified(module: nn.Module, path: Path) -> None:
    """Load a safetensors file whose SHA-256 the manifest beside it records.

    Raises:
        WeightsError: missing, changed since it was recorded, or of another network.
    """
    expected, actual = recorded_fingerprint(path), fingerprint(path)
    if actual != expected:
        raise WeightsError(
            f"Weights {path} are damaged or not the ones recorded: SHA-256 {actual[:8]}..., not {expected[:8]}... .",
            _REINSTALL,
        )
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
