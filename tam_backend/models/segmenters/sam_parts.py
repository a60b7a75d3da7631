"""SAM without its image encoder: the prompt encoder and the mask decoder that all of its variants share."""

from __future__ import annotations

from segment_anything.modeling import MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

# Mean and standard deviation of ImageNet's colours, 0..255 RGB. They are not in the state dict.
PIXEL_MEAN = (123.675, 116.28, 103.53)
PIXEL_STD = (58.395, 57.12, 57.375)

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
        pixel_mean=list(PIXEL_MEAN),
        pixel_std=list(PIXEL_STD),
    )
