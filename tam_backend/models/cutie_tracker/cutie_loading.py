"""Published Cutie weights into the package's network: every tensor and none besides."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from tam_backend.errors import WeightsError
from tam_backend.models.cutie_tracker.cutie_network import CutieNetwork
from tam_backend.models.cutie_tracker.cutie_quick import quicken
from tam_backend.models.cutie_tracker.package_network import CutieSize, make_network
from tam_backend.models.weights import first_mismatch, read_state_dict


def load_cutie(path: Path, size: CutieSize, device: torch.device) -> CutieNetwork:
    """Load a published state dict, and make it quick to run; nothing in the file is executed.

    Args:
        path: cutie-base-mega.pth, cutie-small-mega.pth or one of their layouts.
        size: which of the two layouts.
        device: where the network shall live.

    Raises:
        MissingPackageError: the package `rf-cutie` is not installed.
        WeightsError: the file is missing, damaged, or of another network; names the first tensor that does not fit.
    """
    network, state = make_network(size), read_state_dict(path)
    _require_same_layout(network, state, path, size)
    network.load_state_dict(state)
    return CutieNetwork(quicken(network, device).to(device))


def check_cutie(path: Path, size: CutieSize) -> None:
    """Look whether a file is a published state dict, without loading its values.

    Raises:
        MissingPackageError, WeightsError: as `load_cutie`.
    """
    _require_same_layout(make_network(size), read_state_dict(path, mapped=True), path, size)


def _require_same_layout(network: nn.Module, state: dict[str, Tensor], path: Path, size: CutieSize) -> None:
    mismatch = first_mismatch(network.state_dict(), state)
    if mismatch:
        raise WeightsError(
            f"Weights {path} are not those of Cutie {size}: {mismatch}.",
            "Fetch the right ones: `tam-backend weights fetch PROFILE`.",
        )
