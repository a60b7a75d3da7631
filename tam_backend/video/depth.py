"""Pixels of more than 8 bits -> what they show: a 12-bit picture in 16-bit numbers is not black."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import MediaError

# Cameras, microscopes and scanners count in these.
_BITS = (8, 10, 12, 14, 16, 24, 32)
_LOOKED_AT = 8  # of many frames, for how bright they are


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


def white_of_all(read: Callable[[int], NDArray[Any]], count: int) -> float:
    """Return the value that is white in all deep ones of `count` frames, so that a dark one stays dark.

    Args:
        read: index -> pixels; a few frames are looked at, and those that raise MediaError are passed over.
        count: at least 1.
    """
    whites = [1.0]
    for index in np.linspace(0, count - 1, min(count, _LOOKED_AT)).astype(int).tolist():
        try:
            pixels = read(index)
        except MediaError:
            continue
        whites += [] if pixels.dtype == np.uint8 else [white_of(pixels)]
    return max(whites)


def as_8_bit(pixels: NDArray[Any], white: float) -> NDArray[np.uint8]:
    """Scale pixels of any depth so that 0 is black and `white` is 255; what lies beyond is cut off."""
    if pixels.dtype == np.uint8:
        return pixels
    if pixels.dtype == np.bool_:
        return pixels.astype(np.uint8) * 255
    scaled = np.nan_to_num(pixels.astype(np.float32), posinf=white) * np.float32(255 / white)
    eight: NDArray[np.uint8] = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
    return eight
