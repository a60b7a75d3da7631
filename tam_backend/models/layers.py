"""Small layers that the compact networks share."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional

from tam_backend.models.cpu_operators import convolved


class ResidualBlock(nn.Module):
    """Two 3x3 convolutions, each after a ReLU, added to the input (through a 1x1 convolution if channels differ)."""

    def __init__(self, in_channels: int, out_channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(in_channels, out_channels, 3, padding=1)
        self.conv2 = nn.Conv2d(out_channels, out_channels, 3, padding=1)
        self.shortcut = nn.Conv2d(in_channels, out_channels, 1) if in_channels != out_channels else None

    def forward(self, x: Tensor) -> Tensor:
        """(B, in_channels, H, W) -> (B, out_channels, H, W)."""
        out: Tensor = self.conv2(convolved(self.conv1, functional.relu(x), "relu"))
        return out.add_(x if self.shortcut is None else self.shortcut(x))


def resize_like(x: Tensor, reference: Tensor) -> Tensor:
    """Resize (B, C, h, w) bilinearly to the height and width of `reference`."""
    return functional.interpolate(x, reference.shape[-2:], mode="bilinear", align_corners=False)
