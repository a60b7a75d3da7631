"""The package's network, laid out to run quickly; in float32 its answers stay the same up to rounding."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from tam_backend.models.winograd import Tile, WinogradConvolution, is_suitable
from tam_backend.models.xmem.quick import fold_norms

# With fewer, the transforms cost what the multiplications save (measured, docs/performance.md).
_LEAST_CHANNELS = 128
_TILE: Tile = 4


def quicken(network: Any, device: torch.device) -> Any:
    """Change a network in eval mode for good.

    - Batch normalisation becomes part of the convolution before it.
    - Weights lie channels last, in which convolutions read them quickest; all that follows takes that layout.
    - On a CPU the 3x3 convolutions at strides 16 to 4 are computed with fewer multiplications (`winograd.py`).

    Args:
        network: `cutie.model.cutie.CUTIE`.
        device: that it will run on.

    Returns:
        The same network.
    """
    fold_norms(network)
    if device.type == "cpu":
        _use_winograd(network)
    network.to(memory_format=torch.channels_last)
    return network


class _OfGroups(nn.Module):
    """A convolution of (1, O, C, H, W) that is computed as one of (O, C, H, W)."""

    def __init__(self, convolution: WinogradConvolution) -> None:
        super().__init__()
        self._convolution = convolution

    def forward(self, groups: Tensor) -> Tensor:
        """(1, O, C, H, W) -> (1, O, outputs, H, W)."""
        answer: Tensor = self._convolution(groups[0])
        return answer[None]


def _use_winograd(network: nn.Module) -> None:
    from cutie.model.group_modules import GConv2d  # noqa: PLC0415 - an extra

    for parent in list(network.modules()):
        for name, child in parent.named_children():
            if is_suitable(child) and min(child.in_channels, child.out_channels) >= _LEAST_CHANNELS:
                quick = WinogradConvolution(child, tile=_TILE)
                setattr(parent, name, _OfGroups(quick) if isinstance(child, GConv2d) else quick)
