"""The residual networks that XMem sees frames through: ResNet-50 and ResNet-18 up to stride 16, in torchvision's names.

He et al., "Deep Residual Learning for Image Recognition", CVPR 2016; the stride sits on the 3x3 convolution.
"""

from __future__ import annotations

from typing import Protocol

from torch import Tensor, nn
from torch.nn import functional


class BasicBlock(nn.Module):
    """Two 3x3 convolutions (ResNet-18)."""

    EXPANSION = 1

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, width, 3, stride=stride, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.downsample = _shortcut(in_channels, width * self.EXPANSION, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, width, H / stride, W / stride)."""
        out = functional.relu_(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        return functional.relu_(out.add_(x if self.downsample is None else self.downsample(x)))


class Bottleneck(nn.Module):
    """1x1 down, 3x3, 1x1 up (ResNet-50)."""

    EXPANSION = 4

    def __init__(self, in_channels: int, width: int, stride: int) -> None:
        super().__init__()
        out_channels = width * self.EXPANSION
        self.conv1 = nn.Conv2d(in_channels, width, 1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, stride=stride, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)
        self.conv3 = nn.Conv2d(width, out_channels, 1, bias=False)
        self.bn3 = nn.BatchNorm2d(out_channels)
        self.downsample = _shortcut(in_channels, out_channels, stride)

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, 4 width, H / stride, W / stride)."""
        out = functional.relu_(self.bn1(self.conv1(x)))
        out = functional.relu_(self.bn2(self.conv2(out)))
        out = self.bn3(self.conv3(out))
        return functional.relu_(out.add_(x if self.downsample is None else self.downsample(x)))


class _BlockKind(Protocol):
    EXPANSION: int

    def __call__(self, in_channels: int, width: int, stride: int) -> nn.Module: ...


def stage(block: _BlockKind, in_channels: int, width: int, blocks: int, stride: int) -> nn.Sequential:
    """Stack blocks; the first one takes the stride."""
    out_channels = width * block.EXPANSION
    rest = (block(out_channels, width, 1) for _ in range(blocks - 1))
    return nn.Sequential(block(in_channels, width, stride), *rest)


def _shortcut(in_channels: int, out_channels: int, stride: int) -> nn.Sequential | None:
    if stride == 1 and in_channels == out_channels:
        return None
    return nn.Sequential(
        nn.Conv2d(in_channels, out_channels, 1, stride=stride, bias=False), nn.BatchNorm2d(out_channels)
    )
