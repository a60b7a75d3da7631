"""Pixels of more than 8 bits -> what they show: a 12-bit picture in 16-bit numbers is not black."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

# Cameras, microscopes and scanners count in these.
_BITS = (8, 10, 12, 14, 16, 24, 32)


def white_of(pixels: NDArray[Any]) -> float:
    """Return the value that is white in pictures such as this: 255 of 8 bits, 4095 of 12, 1 of fractions, ...

    The file does not say how many bits of its 16 are in use; its brightest pixel tells the least that it can be.
    """
    if pixels.dtype == np.uint8:
        return 255.0
    top = float(np.nanmax(pixels, initial=0))
    if pixels.dtype.kind == "f":
        return max(top, 1.0) if np.isfinite(top) else 1.0
    return float(next(2**bits - 1 for bits in _BITS if top < 2**bits))


def as_8_bit(pixels: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Scale pixels of any depth so that 0 is black and `white` is 255; what lies beyond is cut off."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    scaled = np.nan_to_num(pixels.astype(np.float32), posinf=white) * np.float32(255 / white)
    eight: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return eight
