"""3x3 convolutions in float32 with fewer multiplications (Winograd's minimal filtering).

Lavin & Gray, "Fast Algorithms for Convolutional Neural Networks", CVPR 2016: F(4x4, 3x3) needs a quarter of the
multiplications and 4 times the memory for weights, F(2x2, 3x3) 4/9 and 1.8 times. The transforms are made from
interpolation points by the Toom-Cook construction; 1/2 and -2 as the last two round less than 2 and -2 (Barabasz et
al., "Error Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks", ACM TOMS 2020).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from functools import cache
from typing import Literal, TypeGuard

import torch
from torch import Tensor, nn
from torch.nn import functional

Tile = Literal[2, 4]

_KERNEL = 3
_POINTS = (Fraction(0), Fraction(-1), Fraction(1), Fraction(1, 2), Fraction(-2))
# A strip of so many tiles makes matrix products large enough, and stays in the cache (measured).
_TILES_PER_STRIP = 100
# Of the weights, when they are transformed in double precision.
_OUTPUTS_AT_ONCE = 32


class WinogradConvolution(nn.Module):
    """A 3x3 convolution of stride 1 and padding 1, the same as `nn.Conv2d` up to rounding.

    Pays from some 128 channels, on a CPU.
    """

    def __init__(self, convolution: nn.Conv2d, tile: Tile) -> None:
        """Take over the weights of a convolution.

        Args:
            convolution: (C -> O), kernel 3x3, stride 1, padding 1, no dilation, one group, float32.
            tile: side of the squares of outputs that are computed at once.

        Raises:
            ValueError: it is of another kind.
        """
        super().__init__()
        if not is_suitable(convolution):
            raise ValueError(f"Not a plain 3x3 convolution in float32: {convolution}.")
        weight = convolution.weight.detach()
        self._tile, self._span = tile, tile + _KERNEL - 1
        self._from_image, self._to_image = _transforms(tile)
        of_kernel = _of_kernel(tile)
        spectrum = torch.empty(self._span, self._span, weight.shape[1], weight.shape[0])
        for first in range(0, weight.shape[0], _OUTPUTS_AT_ONCE):
            some = slice(first, first + _OUTPUTS_AT_ONCE)
            kernels = weight[some].double()
            spectrum[..., some] = torch.einsum("ia,ocab,jb->ijco", of_kernel, kernels, of_kernel).float()
        bias = torch.zeros(weight.shape[0]) if convolution.bias is None else convolution.bias.detach().clone()
        self.register_buffer("spectrum", spectrum.flatten(0, 1))
        self.register_buffer("bias", bias)
        self.spectrum: Tensor  # (span^2, C, O)
        self.bias: Tensor  # (O,)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) float32 -> (N, O, H, W), channels last."""
        count, _, height, width = x.shape
        rows, columns = -(-height // self._tile), -(-width // self._tile)
        per_strip = min(rows, -(-_TILES_PER_STRIP // columns))
        answer = x.new_empty(count, height, width, self.spectrum.shape[2])
        for picture, target in zip(x.permute(0, 2, 3, 1), answer, strict=True):
            for first in range(0, rows, per_strip):
                last = min(first + per_strip, rows)
                strip = self._strip(self._around(picture, first, last, columns), last - first, columns)
                target[first * self._tile : last * self._tile] = strip[: height - first * self._tile, :width]
        return answer.permute(0, 3, 1, 2)

    def _around(self, picture: Tensor, first: int, last: int, columns: int) -> Tensor:
        """Cut what some rows of tiles see out of (H, W, C), with zeros around the picture."""
        height, width, _ = picture.shape
        top, bottom, right = first * self._tile - 1, last * self._tile + 1, columns * self._tile + 1
        seen = picture[max(0, top) : bottom]
        return functional.pad(seen, (0, 0, 1, right - width, max(0, -top), max(0, bottom - height)))

    def _strip(self, picture: Tensor, rows: int, columns: int) -> Tensor:
        """(tile * rows + 2, tile * columns + 2, C) -> (tile * rows, tile * columns, O)."""
        tile, span, (channels, outputs) = self._tile, self._span, self.spectrum.shape[1:]
        line, place, one = picture.stride()
        patches = picture.as_strided(
            (span, span, rows, columns, channels), (line, place, tile * line, tile * place, one)
        )
        factors = self._from_image @ patches.reshape(span * span, -1)
        products = factors.view(span * span, -1, channels) @ self.spectrum
        tiles = (self._to_image @ products.flatten(1)).view(tile, tile, rows, columns, outputs)
        return (tiles + self.bias).permute(2, 0, 3, 1, 4).reshape(rows * tile, columns * tile, outputs)


def is_suitable(module: nn.Module) -> TypeGuard[nn.Conv2d]:
    """Whether a module is a convolution that `WinogradConvolution` can take over."""
    return (
        isinstance(module, nn.Conv2d)
        and module.kernel_size == (_KERNEL, _KERNEL)
        and module.stride == module.dilation == (1, 1)
        and module.padding == (1, 1)
        and module.groups == 1
        and module.padding_mode == "zeros"
        and module.weight.dtype == torch.float32
    )


def use_winograd(module: nn.Module, tile: Tile, least_channels: int = 128) -> None:
    """Replace the suitable convolutions within a module that have so many channels before and after them."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if is_suitable(child) and min(child.in_channels, child.out_channels) >= least_channels:
                setattr(parent, name, WinogradConvolution(child, tile))


@cache
def _transforms(tile: Tile) -> tuple[Tensor, Tensor]:
    """Return what takes s^2 inputs to s^2 factors, and s^2 products to tile^2 outputs; s = tile + 2."""
    points = _points(tile)
    others = [[p for p in points if p != point] for point in points]
    of_image = [*(_polynomial(roots, len(points)) for roots in others), _polynomial(points, len(points))]
    to_image = [[*(point**power for point in points), Fraction(power == tile - 1)] for power in range(tile)]
    image, output = _matrix(of_image), _matrix(to_image)
    return torch.kron(image, image).float(), torch.kron(output, output).float()


@cache
def _of_kernel(tile: Tile) -> Tensor:
    """Return what takes a kernel of 3 to s factors: (s, 3) float64."""
    points = _points(tile)
    scales = [math.prod(p - other for other in points if other != p) for p in points]
    rows = [[point**power / scale for power in range(_KERNEL)] for point, scale in zip(points, scales, strict=True)]
    return _matrix([*rows, [Fraction(power == _KERNEL - 1) for power in range(_KERNEL)]])


def _points(tile: Tile) -> tuple[Fraction, ...]:
    """Return the finite interpolation points; infinity is one more."""
    return _POINTS[: tile + _KERNEL - 2]


def _polynomial(roots: Iterable[Fraction], degree: int) -> list[Fraction]:
    """Return the coefficients, up to a degree, of the product of (x - root), the constant first."""
    coefficients = [Fraction(1)]
    for root in roots:
        lower, upper = [*(c * -root for c in coefficients), Fraction(0)], [Fraction(0), *coefficients]
        coefficients = [a + b for a, b in zip(lower, upper, strict=True)]
    return coefficients + [Fraction(0)] * (degree + 1 - len(coefficients))


def _matrix(rows: Sequence[Sequence[Fraction]]) -> Tensor:
    with torch.inference_mode(False):
        return torch.tensor([[float(entry) for entry in row] for row in rows], dtype=torch.float64)
