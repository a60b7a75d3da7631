"""A simulated annotator: where the next click goes, and how the click network sees it."""

from __future__ import annotations

from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Mask = NDArray[np.bool_]


class Click(NamedTuple):
    """A pixel and whether it is on the object."""

    x: int
    y: int
    positive: bool


def next_click(truth: Mask, answer: Mask, rng: np.random.Generator | None = None) -> Click | None:
    """Return a click in the largest error, or None if there is none.

    The largest error is the one with the pixel farthest from its rim; the click goes there, or, with a random
    generator, half of the time anywhere at least half as far from the rim (people are not that exact).
    """
    best: tuple[float, Click] | None = None
    for error, positive in ((truth & ~answer, True), (answer & ~truth, False)):
        if not error.any():
            continue
        depth = cv2.distanceTransform(np.pad(error.astype(np.uint8), 1), cv2.DIST_L2, 3)[1:-1, 1:-1]
        deepest = float(depth.max())
        if best is not None and deepest <= best[0]:
            continue
        if rng is not None and rng.random() < 0.5:
            rows, columns = np.nonzero(depth > deepest * 0.5)
            at = int(rng.integers(len(rows)))
            best = deepest, Click(int(columns[at]), int(rows[at]), positive)
        else:
            y, x = divmod(int(depth.argmax()), depth.shape[1])
            best = deepest, Click(x, y, positive)
    return None if best is None else best[1]


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
