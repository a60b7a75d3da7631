"""TinyViT as SAM's image encoder (that of MobileSAM), written from the papers and the names of the published weights.

Wu et al., "TinyViT", ECCV 2022; Zhang et al., "Faster Segment Anything", 2023. MobileSAM changes TinyViT-5M in two
ways: the last stage does not halve the resolution, and SAM's neck takes the place of the classifier.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from segment_anything.modeling.common import LayerNorm2d
from torch import Tensor, nn
from torch.nn import functional

_EXPANSION = 4  # of the hidden layers, in convolutional blocks and in MLPs alike
_CLASSES = 1000  # of ImageNet, which the published file still has the classifier of


class TinyVit(nn.Module):
    """The image encoder. Defaults are MobileSAM's: 5 million weights, and 1 million in the neck.

    Args:
        img_size: side in pixels of the square that it looks at.
        widths: channels of the four stages. The first is convolutional, the others attend within windows.
        depths: blocks of each stage.
        heads: of each stage; the first has none.
        windows: side of each stage's windows, in cells; the first has none.
        out_channels: of the embedding.
    """

    def __init__(
        self,
        img_size: int = 1024,
        widths: Sequence[int] = (64, 128, 160, 320),
        depths: Sequence[int] = (2, 2, 6, 2),
        heads: Sequence[int] = (0, 4, 5, 10),
        windows: Sequence[int] = (0, 7, 14, 7),
        out_channels: int = 256,
    ) -> None:
        super().__init__()
        self.img_size = img_size
        self.patch_embed = _PatchEmbedding(widths[0])
        self.layers = nn.ModuleList()
        for stage, width in enumerate(widths):
            blocks = [
                WindowBlock(width, heads[stage], windows[stage]) if stage else ConvolutionalBlock(width)
                for _ in range(depths[stage])
            ]
            self.layers.append(_Stage(blocks))
        for stage, (width, wider) in enumerate(pairwise(widths)):
            last = stage == len(widths) - 2
            self.layers[stage].downsample = _Merging(width, wider, stride=1 if last else 2)
        # Never asked: they are in the published file, which is loaded to the last tensor.
        self.norm_head = nn.LayerNorm(widths[-1])
        self.head = nn.Linear(widths[-1], _CLASSES)
        self.neck = nn.Sequential(
            nn.Conv2d(widths[-1], out_channels, 1, bias=False),
            LayerNorm2d(out_channels),
            nn.Conv2d(out_channels, out_channels, 3, padding=1, bias=False),
            LayerNorm2d(out_channels),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, S, S) normalised RGB -> (B, out_channels, S / 16, S / 16)."""
        x = self.patch_embed(x.contiguous(memory_format=torch.channels_last))
        for stage in self.layers:
            x = stage(x)
        embedding: Tensor = self.neck(x)
        return embedding


class ConvolutionalBlock(nn.Module):
    """An inverted bottleneck (MBConv): wider by 1x1, 3x3 within each channel, narrower by 1x1, and what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        hidden = channels * _EXPANSION
        self.conv1 = _NormedConvolution(channels, hidden, 1)
        self.conv2 = _NormedConvolution(hidden, hidden, 3, groups=hidden)
        self.conv3 = _NormedConvolution(hidden, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        hidden = functional.gelu(self.conv2(functional.gelu(self.conv1(x))))
        out: Tensor = functional.gelu(x + self.conv3(hidden))
        return out


class WindowBlock(nn.Module):
    """Attention within windows, a 3x3 convolution of each channel, and an MLP ("TinyViT", section 3.2).

    Args:
        channels: in and out.
        heads: divide `channels`.
        window: side in cells. Where the map is no multiple of it, zeros are added at the right and at the bottom; they
            are attended to like any cell.
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.window = window
        self.attn = WindowAttention(channels, heads, window)
        self.local_conv = _NormedConvolution(channels, channels, 3, groups=channels)
        self.mlp = _Mlp(channels)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, C, H, W)."""
        x = x + self._attend(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        x = self.local_conv(x)
        out: Tensor = x + self.mlp(x.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        return out

    def _attend(self, x: Tensor) -> Tensor:
        """(B, H, W, C) -> (B, H, W, C)."""
        batch, height, width, channels = x.shape
        side = self.window
        padded = functional.pad(x, (0, 0, 0, -width % side, 0, -height % side))
        rows, columns = padded.shape[1] // side, padded.shape[2] // side
        cut = padded.reshape(batch, rows, side, columns, side, channels).transpose(2, 3)
        mixed: Tensor = self.attn(cut.reshape(batch * rows * columns, side * side, channels))
        joined = mixed.reshape(batch, rows, columns, side, side, channels).transpose(2, 3)
        return joined.reshape(padded.shape)[:, :height, :width]


class WindowAttention(nn.Module):
    """Multi-head attention over the cells of a window, with a learned bias for each distance.

    The bias depends on how many rows and columns two cells are apart, in whichever direction; the published tensor
    (heads, window * window) has it row by row.
    """

    def __init__(self, channels: int, heads: int, window: int) -> None:
        super().__init__()
        self.heads = heads
        self.window = window
        self.norm = nn.LayerNorm(channels)
        self.qkv = nn.Linear(channels, 3 * channels)  # head by head: its query, its key, its value
        self.proj = nn.Linear(channels, channels)
        self.attention_biases = nn.Parameter(torch.zeros(heads, window * window))

    def forward(self, x: Tensor) -> Tensor:
        """(windows, window * window, C) -> the same shape."""
        windows, cells, channels = x.shape
        qkv = self.qkv(self.norm(x)).reshape(windows, cells, self.heads, 3, -1)
        query, key, value = qkv.permute(3, 0, 2, 1, 4)  # windows x heads x cells x c each
        mixed = functional.scaled_dot_product_attention(query, key, value, attn_mask=self._bias().to(query.dtype))
        projected: Tensor = self.proj(mixed.transpose(1, 2).reshape(windows, cells, channels))
        return projected

    def _bias(self) -> Tensor:
        """Return (heads, cells, cells)."""
        along = torch.arange(self.window, device=self.attention_biases.device)
        apart = (along[:, None] - along).abs()  # window x window
        index = apart[:, None, :, None] * self.window + apart[None, :, None, :]  # row, column; row, column
        return self.attention_biases[:, index.flatten(2).flatten(0, 1)]


class _Stage(nn.Module):
    """Blocks, then the way to the next stage; the last stage leads nowhere."""

    downsample: nn.Module

    def __init__(self, blocks: Sequence[nn.Module]) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(blocks)
        self.downsample = nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, next C, H / stride, W / stride)."""
        for block in self.blocks:
            x = block(x)
        out: Tensor = self.downsample(x)
        return out


class _NormedConvolution(nn.Sequential):
    """A convolution without bias (`c`) and its batch normalisation (`bn`)."""

    def __init__(self, channels: int, out_channels: int, side: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__()
        self.add_module(
            "c", nn.Conv2d(channels, out_channels, side, stride, padding=side // 2, groups=groups, bias=False)
        )
        self.add_module("bn", nn.BatchNorm2d(out_channels))


class _PatchEmbedding(nn.Module):
    """Two convolutions that halve the resolution each."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.seq = nn.Sequential(
            _NormedConvolution(3, channels // 2, 3, stride=2),
            nn.GELU(),
            _NormedConvolution(channels // 2, channels, 3, stride=2),
        )

    def forward(self, x: Tensor) -> Tensor:
        """(B, 3, H, W) -> (B, C, H / 4, W / 4)."""
        embedded: Tensor = self.seq(x)
        return embedded


class _Merging(nn.Module):
    """To other channels, and to a lower resolution where the stride says so."""

    def __init__(self, channels: int, out_channels: int, stride: int) -> None:
        super().__init__()
        self.conv1 = _NormedConvolution(channels, out_channels, 1)
        self.conv2 = _NormedConvolution(out_channels, out_channels, 3, stride, groups=out_channels)
        self.conv3 = _NormedConvolution(out_channels, out_channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) -> (B, out C, H / stride, W / stride)."""
        merged: Tensor = self.conv3(functional.gelu(self.conv2(functional.gelu(self.conv1(x)))))
        return merged


class _Mlp(nn.Module):
    """Normalise, widen, narrow."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(channels)
        self.fc1 = nn.Linear(channels, channels * _EXPANSION)
        self.fc2 = nn.Linear(channels * _EXPANSION, channels)

    def forward(self, x: Tensor) -> Tensor:
        """(..., C) -> (..., C)."""
        out: Tensor = self.fc2(functional.gelu(self.fc1(self.norm(x))))
        return out
