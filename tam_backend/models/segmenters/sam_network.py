"""SAM's network: every variant by name, built with the package's own classes, its state dict loaded strictly."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import torch
from segment_anything import sam_model_registry
from segment_anything.modeling import Sam
from torch import Tensor

from tam_backend.errors import WeightsError
from tam_backend.models.weights import first_mismatch, read_state_dict

# The one place for SAM-shaped networks: a builder without arguments that returns the package's `Sam`, whatever its
# image encoder. (MobileSAM, for one: `Sam(TinyViT(...), PromptEncoder(...), MaskDecoder(...))`.)
BUILDERS: dict[str, Callable[[], Sam]] = {
    "vit_b": sam_model_registry["vit_b"],
    "vit_l": sam_model_registry["vit_l"],
    "vit_h": sam_model_registry["vit_h"],
}

# Mean and standard deviation of ImageNet's colours, 0..255 RGB. They are not in the state dict.
_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)


def load_sam(path: Path, variant: str, device: torch.device) -> Sam:
    """Load a SAM from its official state dict.

    Args:
        path: as published.
        variant: one of `BUILDERS`.
        device: where it will live.

    Returns:
        In eval mode, float32.

    Raises:
        WeightsError: the file is missing, damaged, or of another network; the message names the first mismatch.
    """
    sam = _empty(variant)
    state = read_state_dict(path)
    _require_same_layout(sam, state, path, variant)
    sam.load_state_dict({name: tensor.float() for name, tensor in state.items()}, assign=True)
    sam.pixel_mean = torch.tensor(_PIXEL_MEAN)[:, None, None]
    sam.pixel_std = torch.tensor(_PIXEL_STD)[:, None, None]
    sam.requires_grad_(False)
    return sam.to(device).eval()


def check_sam(path: Path, variant: str) -> None:
    """Look whether a file is the state dict of a SAM, without loading its values.

    Raises:
        WeightsError: as `load_sam`.
    """
    _require_same_layout(_empty(variant), read_state_dict(path, mapped=True), path, variant)


def _empty(variant: str) -> Sam:
    """Build the network without memory for its weights: to fill 2.5 GB with random numbers takes seconds."""
    with torch.device("meta"):
        return BUILDERS[variant]()


def _require_same_layout(sam: Sam, state: dict[str, Tensor], path: Path, variant: str) -> None:
    mismatch = first_mismatch(sam.state_dict(), state)
    if mismatch:
        raise WeightsError(
            f"Weights {path} are not those of SAM {variant}: {mismatch}.",
            "Fetch the right ones: `tam-backend weights fetch PROFILE`.",
        )
