"""SAM's network: any variant, its state dict loaded strictly."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import torch
from segment_anything.modeling import Sam
from torch import Tensor

from tam_backend.errors import WeightsError
from tam_backend.models.segmenters.sam_parts import PIXEL_MEAN, PIXEL_STD
from tam_backend.models.weights import first_mismatch, read_state_dict

if TYPE_CHECKING:
    from tam_backend.models.sam_variants import SamVariant


def load_sam(path: Path, variant: SamVariant, device: torch.device) -> Sam:
    """Load a SAM from its official state dict.

    Args:
        path: as published.
        variant: a row of the table.
        device: where it will live.

    Returns:
        In eval mode, float32.

    Raises:
        WeightsError: the file is missing, damaged, or of another network; the message names the first mismatch.
    """
    sam = _empty(variant)
    state = read_state_dict(path)
    _require_same_layout(sam, state, path, variant)
    sam.load_state_dict(
        {name: tensor.float() if tensor.is_floating_point() else tensor for name, tensor in state.items()}, assign=True
    )
    sam.pixel_mean = torch.tensor(PIXEL_MEAN)[:, None, None]
    sam.pixel_std = torch.tensor(PIXEL_STD)[:, None, None]
    sam.requires_grad_(False)
    return sam.to(device).eval()


def check_sam(path: Path, variant: SamVariant) -> None:
    """Look whether a file is the state dict of a SAM, without loading its values.

    Raises:
        WeightsError: as `load_sam`.
    """
    _require_same_layout(_empty(variant), read_state_dict(path, mapped=True), path, variant)


def _empty(variant: SamVariant) -> Sam:
    """Build the network without memory for its weights: to fill 2.5 GB with random numbers takes seconds."""
    with torch.device("meta"):
        return variant.build()


def _require_same_layout(sam: Sam, state: dict[str, Tensor], path: Path, variant: SamVariant) -> None:
    mismatch = first_mismatch(sam.state_dict(), state)
    if mismatch:
        raise WeightsError(
            f"Weights {path} are not those of SAM {variant.name}: {mismatch}.",
            "Fetch the right ones: `tam-backend weights fetch PROFILE`.",
        )
