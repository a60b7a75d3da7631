"""A SAM of the package's own classes that is small enough for tests: random weights, lively masks."""

from __future__ import annotations

from functools import partial

import torch
from segment_anything.modeling import ImageEncoderViT, MaskDecoder, PromptEncoder, Sam, TwoWayTransformer
from torch import nn

SIDE = 128  # of its square; the decoder answers at a quarter of it


def tiny_sam() -> Sam:
    return Sam(
        image_encoder=ImageEncoderViT(
            img_size=SIDE,
            embed_dim=48,
            depth=2,
            num_heads=4,
            norm_layer=partial(nn.LayerNorm, eps=1e-6),
            use_rel_pos=True,
            window_size=3,
            global_attn_indexes=(1,),
            out_chans=32,
        ),
        prompt_encoder=PromptEncoder(
            embed_dim=32, image_embedding_size=(8, 8), input_image_size=(SIDE, SIDE), mask_in_chans=16
        ),
        mask_decoder=MaskDecoder(
            transformer_dim=32,
            transformer=TwoWayTransformer(depth=2, embedding_dim=32, num_heads=4, mlp_dim=64),
            iou_head_hidden_dim=32,
        ),
    )


def lively_tiny_sam() -> Sam:
    """Random weights whose masks have both object and background, and differ from prompt to prompt."""
    torch.manual_seed(3)
    sam = tiny_sam().eval().requires_grad_(False)
    for name, parameter in sam.named_parameters():
        if "rel_pos" in name or "pos_embed" in name:
            parameter.normal_(0, 0.5)
        elif parameter.ndim > 1:
            parameter.mul_(1.7)
    return sam
