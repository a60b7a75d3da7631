"""SAM's network: any variant by name, put together around its image encoder, its state dict loaded strictly."""

from __future__ import annotations

from pathlib import Path

import torch
from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import Tensor, nn

from tam_backend.errors import WeightsError
from tam_backend.models.sam_variants import SAM_VARIANTS
from tam_backend.models.weights import first_mismatch, read_state_dict

# Mean and standard deviation of ImageNet's colours, 0..255 RGB. They are not in the state dict.
_PIXEL_MEAN = (123.675, 116.28, 103.53)
_PIXEL_STD = (58.395, 57.12, 57.375)

# What all of SAM's variants share (Kirillov et al., "Segment Anything", 2023, appendix A).
_EMBEDDING_CHANNELS = 256
_PIXELS_PER_CELL = 16


def sam_around(image_encoder: nn.Module) -> Sam:
    """Put SAM's own prompt encoder and mask decoder behind an image encoder.

    Args:
        image_encoder: (1, 3, S, S) -> (1, 256, S / 16, S / 16), with S as its `img_size`.
    """
    side = int(image_encoder.img_size)  # type: ignore[arg-type]
    cells = side // _PIXELS_PER_CELL
    return Sam(
        image_encoder=image_encoder,
        prompt_encoder=PromptEncoder(
            embed_dim=_EMBEDDING_CHANNELS,
            image_embedding_size=(cells, cells),
            input_image_size=(side, side),
            mask_in_chans=16,
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=_EMBEDDING_CHANNELS,
            transformer=TwoWayTransformer(depth=2, embedding_dim=_EMBEDDING_CHANNELS, num_heads=8, mlp_dim=2048),
            iou_head_depth=3,
            iou_head_hidden_dim=256,
            num_multimask_outputs=3,
        ),
        pixel_mean=list(_PIXEL_MEAN),
        pixel_std=list(_PIXEL_STD),
    )


def load_sam(path: Path, variant: str, device: torch.device) -> Sam:
    """Load a SAM from its official state dict.

    Args:
        path: as published.
        variant: one of `SAM_VARIANTS`.
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
        return SAM_VARIANTS[variant].build()


def _require_same_layout(sam: Sam, state: dict[str, Tensor], path: Path, variant: str) -> None:
    mismatch = first_mismatch(sam.state_dict(), state)
    if mismatch:
        raise WeightsError(
            f"Weights {path} are not those of SAM {variant}: {mismatch}.",
            "Fetch the right ones: `tam-backend weights fetch PROFILE`.",
        )
