"""Frames of any size on the grid of a network: pad to its stride, and take the padding off again."""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor
from torch.nn import functional


@dataclass(frozen=True)
class Padding:
    """How many pixels were added at each side, so that they can be taken off again."""

    left: int
    right: int
    top: int
    bottom: int

    @classmethod
    def to_stride(cls, size_hw: tuple[int, int], stride: int) -> Padding:
        """Centre a frame of `size_hw` on the next multiples of `stride`; an odd pixel goes to the right and bottom."""
        missing_h, missing_w = (-size % stride for size in size_hw)
        return cls(missing_w // 2, missing_w - missing_w // 2, missing_h // 2, missing_h - missing_h // 2)

    @classmethod
    def of(cls, image: Tensor, stride: int) -> Padding:
        """Return what (..., H, W) images need; see `to_stride`."""
        return cls.to_stride((image.shape[-2], image.shape[-1]), stride)

    def padded(self, size_hw: tuple[int, int]) -> tuple[int, int]:
        """Return the (height, width) that `add` gives to a frame of `size_hw`."""
        return size_hw[0] + self.top + self.bottom, size_hw[1] + self.left + self.right

    def add(self, tensor: Tensor) -> Tensor:
        """(..., H, W) -> (..., H + top + bottom, W + left + right), filled with zeros."""
        return functional.pad(tensor, (self.left, self.right, self.top, self.bottom))

    def remove(self, tensor: Tensor) -> Tensor:
        """Undo `add`."""
        height, width = tensor.shape[-2:]
        return tensor[..., self.top : height - self.bottom, self.left : width - self.right]
