"""Image features: what the networks see a frame through."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from tam_backend.models.cpu_operators import convolved

# The statistics of ImageNet that the backbone's weights were trained with (RGB, 0..1).
IMAGENET_MEAN_RGB = (0.485, 0.456, 0.406)
IMAGENET_STD_RGB = (0.229, 0.224, 0.225)

# Sandler et al., "MobileNetV2", CVPR 2018, table 2: expansion, channels, repeats, stride of the first repeat.
_BOTTLENECKS = (
    (1, 16, 1, 1),
    (6, 24, 2, 2),
    (6, 32, 3, 2),
    (6, 64, 4, 2),
    (6, 96, 3, 1),
    (6, 160, 3, 2),
    (6, 320, 1, 1),
)
_STEM_CHANNELS = 32


@dataclass(frozen=True, eq=False)
class FeaturePyramid:
    """Features of a batch of frames, finest first. H and W are multiples of 32.

    Args:
        stride4: (B, 24, H/4, W/4).
        stride8: (B, 32, H/8, W/8).
        stride16: (B, 96, H/16, W/16).
        stride32: (B, 320, H/32, W/32).
    """

    stride4: Tensor
    stride8: Tensor
    stride16: Tensor
    stride32: Tensor


class MobileNetV2(nn.Module):
    """MobileNetV2 without its classifier, its batch normalisation folded into the convolutions."""

    STRIDE = 32
    CHANNELS = (24, 32, 96, 320)
    _LAST_BLOCK_OF_STRIDE = (2, 5, 12, 16)

    mean: Tensor
    std: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("mean", torch.tensor(IMAGENET_MEAN_RGB).view(1, 3, 1, 1), persistent=False)
        self.register_buffer("std", torch.tensor(IMAGENET_STD_RGB).view(1, 3, 1, 1), persistent=False)
        self.stem = nn.Conv2d(3, _STEM_CHANNELS, 3, stride=2, padding=1)
        channels = _STEM_CHANNELS
        blocks: list[InvertedResidual] = []
        for expansion, out_channels, repeats, stride in _BOTTLENECKS:
            for repeat in range(repeats):
                blocks.append(InvertedResidual(channels, out_channels, stride if repeat == 0 else 1, expansion))
                channels = out_channels
        self.blocks = nn.ModuleList(blocks)

    def normalise(self, image: Tensor) -> Tensor:
        """Bring RGB in 0..1 to the statistics of the training data; so padding added afterwards is mean colour."""
        return torch.addcmul(-self.mean / self.std, image, 1 / self.std)  # in one pass

    def forward(self, image: Tensor) -> FeaturePyramid:
        """Compute features.

        Args:
            image: (B, 3, H, W) normalised; H and W multiples of 32.
        """
        x = convolved(self.stem, image.contiguous(memory_format=torch.channels_last), "relu6")
        stages: list[Tensor] = []
        for index, block in enumerate(self.blocks):
            x = block(x)
            if index in self._LAST_BLOCK_OF_STRIDE:
                stages.append(x)
        return FeaturePyramid(*stages)


class InvertedResidual(nn.Module):
    """Widen, filter each channel, narrow again; added to the input where the shapes agree."""

    def __init__(self, in_channels: int, out_channels: int, stride: int, expansion: int) -> None:
        super().__init__()
        hidden = in_channels * expansion
        self.expand = nn.Conv2d(in_channels, hidden, 1) if expansion > 1 else None
        self.depthwise = nn.Conv2d(hidden, hidden, 3, stride=stride, padding=1, groups=hidden)
        self.project = nn.Conv2d(hidden, out_channels, 1)
        self.adds_input = stride == 1 and in_channels == out_channels

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H / stride, W / stride)."""
        hidden = x if self.expand is None else convolved(self.expand, x, "relu6")
        out: Tensor = self.project(convolved(self.depthwise, hidden, "relu6"))
        return out.add_(x) if self.adds_input else out
