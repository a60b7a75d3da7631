"""Small layers that the compact networks share."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

_ONEDNN_CONVOLUTION = (
    getattr(torch.ops.mkldnn, "_convolution_pointwise", None) if torch.backends.mkldnn.is_available() else None  # type: ignore[no-untyped-call]
)
# What oneDNN calls the function after a convolution, and its arguments.
_ONEDNN_NAMES: dict[str, tuple[str, list[float]]] = {"relu": ("relu", []), "relu6": ("hardtanh", [0.0, 6.0])}


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


def convolved(convolution: nn.Conv2d, x: Tensor, then: Literal["relu", "relu6"]) -> Tensor:
    """Return the ReLU or ReLU6 of a convolution: (B, in_channels, H, W) -> (B, out_channels, h, w).

    Without gradients on a CPU, oneDNN does both in one go, with the same numbers: writing and reading the large early
    maps once less makes MobileNetV2 a fifth quicker (measured; PyTorch has it only as an operator of its compiler's).
    """
    if _ONEDNN_CONVOLUTION is None or x.device.type != "cpu" or torch.is_grad_enabled():
        out: Tensor = convolution(x)
        return functional.relu(out, inplace=True) if then == "relu" else functional.relu6(out, inplace=True)
    # Autocast does not know the operator.
    dtype = torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else convolution.weight.dtype
    bias = None if convolution.bias is None else convolution.bias.to(dtype)
    name, limits = _ONEDNN_NAMES[then]
    fused: Tensor = _ONEDNN_CONVOLUTION(
        x.to(dtype),
        convolution.weight.to(dtype),
        bias,
        convolution.padding,
        convolution.stride,
        convolution.dilation,
        convolution.groups,
        name,
        limits,
        "",
    )
    return fused


def resize_like(x: Tensor, reference: Tensor) -> Tensor:
    """Resize (B, C, h, w) bilinearly to the height and width of `reference`."""
    return functional.interpolate(x, reference.shape[-2:], mode="bilinear", align_corners=False)
