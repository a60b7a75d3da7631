"""SAM's image encoder made quicker: the same numbers from fused attention and quicker matrix products."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from segment_anything.modeling.image_encoder import Attention, get_rel_pos
from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models.cpu_operators import has_onednn

_BIASES_AT_ONCE = 2 * (64 * 64) ** 2
# Queries, keys and values of half precision must be as wide as a multiple of this to be attended to by the GPU's
# quickest kernels.
_WIDTH_STEP = 8


def quicken(encoder: nn.Module) -> None:
    """Replace, in place, the attention of a ViT of `segment-anything`, and its linear layers on CPUs with oneDNN.

    Parameters keep their names and values. The attention of other image encoders is left as it is.

    ViT-B at 1024 x 1024 on two cores beside other work, float32: 10.7 s of CPU (8.9 s by the clock, 1.8 GB at most),
    not 25.7 s (23.9 s, 4.0 GB); largest difference 5e-6 of 5. In bfloat16 8.8 s (7.7 s), 0.8 % off. Random weights.

    Args:
        encoder: with its weights loaded, on its device.
    """
    device = next(encoder.parameters()).device
    fused = WidenedAttention if device.type == "cuda" else FusedAttention
    _replace(encoder, lambda child: isinstance(child, Attention) and child.use_rel_pos, fused)
    if device.type == "cpu" and has_onednn():
        _replace(encoder, lambda child: type(child) is nn.Linear, ConvolutionalLinear)
    if device.type == "cuda":
        for module in encoder.modules():
            if isinstance(module, nn.Conv2d):
                module.to(memory_format=torch.channels_last)


def _replace(encoder: nn.Module, chosen: Callable[[nn.Module], bool], by: Callable[[Any], nn.Module]) -> None:
    for module in list(encoder.modules()):
        for name, child in list(module.named_children()):
            if chosen(child):
                setattr(module, name, by(child))


class _WithItsParameters(nn.Module):
    """Takes the place of a multi-head attention with decomposed relative positions, and has its parameters."""

    def __init__(self, attention: Attention) -> None:
        super().__init__()
        self.num_heads: int = attention.num_heads
        self.qkv = attention.qkv
        self.proj = attention.proj
        self.rel_pos_h = attention.rel_pos_h
        self.rel_pos_w = attention.rel_pos_w


class FusedAttention(_WithItsParameters):
    """Multi-head attention with decomposed relative positions, by `scaled_dot_product_attention`. For inference only.

    The bias of relative positions goes in as its mask, a few heads at a time: for 64 x 64 tokens and 12 heads the whole
    of it would take 805 MB, and filling the same 134 MB again and again is quicker besides. (Measured on two cores,
    seconds of CPU per layer of that size: the package's own 2.8; the bias of all heads at once 1.1, of two 0.9; the
    bias written into longer queries and keys, which needs no mask, 1.9.)

    Args:
        attention: the module to replace; its parameters are shared.
    """

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


class WidenedAttention(_WithItsParameters):
    """The same for a GPU: the bias of relative positions is written into wider queries and keys.

    A query gets, beside its own channels, its biases towards every row and every column; a key, ones at its own row and
    column. So their product is what attention wants, and no (tokens, tokens) bias is ever written to memory.

    Args:
        attention: the module to replace; its parameters are shared.
    """

    def __init__(self, attention: Attention) -> None:
        super().__init__(attention)
        self._places: dict[tuple[int, int, torch.dtype], _Places] = {}

    def forward(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        batch, height, width, _ = x.shape
        tokens = height * width
        qkv = self.qkv(x).reshape(batch, tokens, 3, self.num_heads, -1)
        query, key, value = qkv.permute(2, 0, 3, 1, 4)  # B x heads x tokens x c each
        channels = query.shape[-1]
        places = self._places_of(height, width, query)
        rows_and_columns = query.reshape(batch, self.num_heads, height, width, channels)
        wide = query.new_zeros(2, batch, self.num_heads, tokens, places.keys.shape[-1])
        seen = wide[0].view(batch, self.num_heads, height, width, -1)
        seen[..., :channels] = rows_and_columns
        seen[..., channels : channels + height] = torch.einsum("bnhwc,hkc->bnhwk", rows_and_columns, places.along_h)
        seen[..., channels + height : channels + height + width] = torch.einsum(
            "bnhwc,wkc->bnhwk", rows_and_columns, places.along_w
        )
        wide[1] = places.keys
        wide[1, ..., :channels] = key
        mixed = functional.scaled_dot_product_attention(
            wide[0],
            wide[1],
            functional.pad(value, (0, wide.shape[-1] - channels)),
            scale=channels**-0.5,
        )[..., :channels]
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(batch, height, width, -1))
        return projected

    def _places_of(self, height: int, width: int, query: Tensor) -> _Places:
        """Return what belongs to a size; made once, since it costs waiting for the GPU."""
        size = height, width, query.dtype
        if size not in self._places:
            channels = query.shape[-1]
            keys = query.new_zeros(height * width, -(-(channels + height + width) // _WIDTH_STEP) * _WIDTH_STEP)
            at = torch.arange(height * width, device=query.device)
            keys[at, channels + at // width] = 1
            keys[at, channels + height + at % width] = 1
            # Attention divides products by the root of the channels, which the biases are not meant to be.
            along_h, along_w = (
                (get_rel_pos(length, length, positions.float()) * channels**0.5).to(query.dtype)
                for length, positions in ((height, self.rel_pos_h), (width, self.rel_pos_w))
            )
            self._places[size] = _Places(along_h, along_w, keys)
        return self._places[size]


@dataclass(frozen=True, eq=False)
class _Places:
    """Of tokens in rows and columns.

    Args:
        along_h: (H, H, c) what a query in a row is multiplied by, for its bias towards another row.
        along_w: (W, W, c) the same for columns.
        keys: (H * W, wide) one at the token's row and one at its column, after c channels of zeros.
    """

    along_h: Tensor
    along_w: Tensor
    keys: Tensor


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
