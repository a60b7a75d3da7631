"""The DAVIS palette: it gives every object its colour everywhere."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def object_colour(object_id: int) -> str:
    """Return the colour that an object's masks are drawn with, as #rrggbb."""
    colours = bright_palette()
    red, green, blue = colours[object_id % len(colours)].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


def bright_palette() -> NDArray[np.int64]:
    """Return DAVIS's colours, brightened to read on film; the factor keeps 64, 128 and 192 apart."""
    dark = davis_palette().astype(np.int64)
    return np.minimum(dark * 3 // 2 + 30 * (dark > 0), 255)


def davis_palette() -> NDArray[np.uint8]:
    """Return the (256, 3) uint8 RGB colour map of PASCAL VOC, which DAVIS uses.

    Bit 3k + c of an id is bit 7 - k of channel c (the colour map of the VOC development kit, 2012).
    """
    ids = np.arange(256)[:, None]
    channels = np.arange(3)
    colours = np.zeros((256, 3), np.uint8)
    for k in range(3):
        colours |= ((ids >> (3 * k + channels) & 1) << (7 - k)).astype(np.uint8)
    return colours
