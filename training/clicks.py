"""Clicks as the planes that the click network sees."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from benchmarks.clicking import Click


def draw_click(plane: NDArray[np.float32], click: Click, radius: float) -> None:
    """Set a disc around a click to 1, in place.

    Args:
        plane: (H, W).
        click: in pixels of the plane.
        radius: pixels.
    """
    height, width = plane.shape
    reach = int(radius) + 1
    top, left = max(0, click.y - reach), max(0, click.x - reach)
    y, x = np.mgrid[top : min(height, click.y + reach + 1), left : min(width, click.x + reach + 1)]
    near = (x - click.x) ** 2 + (y - click.y) ** 2 <= radius * radius
    plane[top : top + near.shape[0], left : left + near.shape[1]][near] = 1.0
