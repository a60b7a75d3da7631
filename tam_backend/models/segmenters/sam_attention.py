"""SAM's image encoder made quicker: the same numbers from fused attention and quicker matrix products."""

from __future__ import annotations

import torch
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models.cpu_operators import has_onednn

_BIASES_AT_ONCE = 2 * (64 * 64) ** 2


def quicken(encoder: nn.Module) -> None:
    """Replace, in place, the attention of a ViT of `segment-anything`, and its linear layers where oneDNN is.

    Parameters keep their names and values. The attention of other image encoders is left as it is.

    ViT-B at 1024 x 1024 on two cores beside other work, float32: 10.7 s of CPU (8.9 s by the clock, 1.8 GB at most),
    not 25.7 s (23.9 s, 4.0 GB); largest difference 5e-6 of 5. In bfloat16 8.8 s (7.7 s), 0.8 % off. Random weights.

    Args:
        encoder: with its weights loaded, on its device.
    """
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if isinstance(child, Attention) and child.use_rel_pos:
                setattr(module, name, FusedAttention(child))
    if next(encoder.parameters()).device.type == "cpu" and has_onednn():
        for module in list(encoder.modules()):
            for name, child in list(module.named_children()):
                if type(child) is nn.Linear:
                    setattr(module, name, ConvolutionalLinear(child))


class FusedAttention(nn.Module):
    """Multi-head attention with decomposed relative positions, by `scaled_dot_product_attention`. For inference only.

    The bias of relative positions goes in as its mask, a few heads at a time: for 64 x 64 tokens and 12 heads the whole
    of it would take 805 MB, and filling the same 134 MB again and again is quicker besides. (Measured on two cores,
    seconds of CPU per layer of that size: the package's own 2.8; the bias of all heads at once 1.1, of two 0.9; the
    bias written into longer queries and keys, which needs no mask, 1.9.)

    Args:
        attention: the module to replace; its parameters are shared.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads: int = attention.num_heads
        self.qkv = attention.qkv
        self.proj = attention.proj
        self.rel_pos_h = attention.rel_pos_h
        self.rel_pos_w = attention.rel_pos_w

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        batch, height, width, _ = x.shape
        tokens = height * width
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # B x heads x tokens x c each
        along_h = get_rel_pos(height, height, self.rel_pos_h).to(query.dtype)  # H x H x c
        along_w = get_rel_pos(width, width, self.rel_pos_w).to(query.dtype)  # W x W x c
        places = query.reshape(batch, self.num_heads, height, width, -1)
        bias_h = torch.einsum("bnhwc,hkc->bnhwk", places, along_h)[..., :, None]
        bias_w = torch.einsum("bnhwc,wkc->bnhwk", places, along_w)[..., None, :]

        mixed = torch.empty_like(x, dtype=query.dtype).view(batch, tokens, self.num_heads, -1)
        at_once = max(1, min(self.num_heads, _BIASES_AT_ONCE // (batch * tokens**2)))
        room = query.new_empty(batch, at_once, height, width, height, width)
        for first in range(0, self.num_heads, at_once):
            heads = slice(first, first + at_once)
            bias = room[:, : bias_h[:, heads].shape[1]]
            torch.add(bias_h[:, heads], bias_w[:, heads], out=bias)
            mixed[:, :, heads] = functional.scaled_dot_product_attention(
                query[:, heads], key[:, heads], value[:, heads], attn_mask=bias.flatten(4).flatten(2, 3)
            ).transpose(1, 2)
        projected: Tensor = self.proj(mixed.view(batch, height, width, -1))
        return projected


class ConvolutionalLinear(nn.Module):
    """A linear layer as a 1x1 convolution: oneDNN's is up to twice as quick as the BLAS that `Linear` calls.

    (Two threads of an AMD CPU, 4096 x 768 x 3072: 0.13 s of CPU, not 0.25. With one thread PyTorch takes the BLAS here
    too, and it makes no difference.)

    Args:
        linear: the layer to replace; its parameters are shared.
    """

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        self.weight = linear.weight
        self.bias = linear.bias

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out)."""
        tokens = x.reshape(1, -1, 1, x.shape[-1]).permute(0, 3, 1, 2)  # channels last in memory
        out = functional.conv2d(tokens, self.weight[:, :, None, None], self.bias)
        return out.permute(0, 2, 3, 1).reshape(*x.shape[:-1], -1)
