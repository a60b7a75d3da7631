"""A frame at the size that SAM looks at, by the filter that its authors resized with: Pillow's bilinear one."""

from __future__ import annotations

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional

from tam_backend.models.transfers import uploaded
from tam_backend.types import RgbFrame

# Pillow rounds halves up. They are frequent, and a GPU's arithmetic leaves them a millionth too small or too large.
_HALF = 0.5 + 1e-3


def resized(frame: RgbFrame, size_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Return (1, 3, h, w) RGB in 0..255 on the device, whole numbers.

    OpenCV's bilinear filter would not do: it does not smooth before it shrinks. A GPU does it itself.

    Args:
        frame: (H, W, 3) uint8.
        size_hw: (h, w).
        device: where it goes.
    """
    if device.type == "cuda":
        return filtered(uploaded(frame, device).permute(2, 0, 1)[None], size_hw)
    height, width = size_hw
    picture = Image.fromarray(frame).resize((width, height), Image.Resampling.BILINEAR)
    return torch.from_numpy(np.array(picture)).to(device).permute(2, 0, 1)[None]


def filtered(pixels: Tensor, size_hw: tuple[int, int]) -> Tensor:
    """Resize (1, 3, H, W) uint8 as Pillow does: along rows, rounded, and along columns, rounded; float32."""
    along_rows = _filtered(pixels.float().contiguous(), (pixels.shape[2], size_hw[1]))
    return _filtered(along_rows, size_hw)


def _filtered(pixels: Tensor, size_hw: tuple[int, int]) -> Tensor:
    smooth = functional.interpolate(pixels, size_hw, mode="bilinear", align_corners=False, antialias=True)
    return smooth.add_(_HALF).floor_().clamp_(0, 255)
