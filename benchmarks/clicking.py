"""A simulated annotator: where the next click goes."""

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
