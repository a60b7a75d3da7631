"""Where to look again at a thing that is small in its frame: a square window of pixels around a first answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from tam_backend.types import BoolMask, Point

# Of the thing's longer side, left free at each side of it: the first answer may have missed a part.
_MARGIN = 0.5
# A window has at least this many pixels a side: there is nothing to see in fewer.
_SMALLEST_PX = 64
# A window larger than this share of the frame's shorter side shows the thing hardly larger than the frame does.
_LARGEST_SHARE = 0.7


class Window(NamedTuple):
    """A rectangle of pixels of a frame; right and bottom are exclusive."""

    left: int
    top: int
    right: int
    bottom: int

    @property
    def pixels(self) -> tuple[slice, slice]:
        """Index an (H, W, ...) array with this."""
        return slice(self.top, self.bottom), slice(self.left, self.right)

    @property
    def size_hw(self) -> tuple[int, int]:
        """Return (height, width)."""
        return self.bottom - self.top, self.right - self.left

    def within(self, points: Sequence[Point]) -> tuple[Point, ...]:
        """Bring points from pixels of the frame to pixels of the window."""
        return tuple(Point(p.x - self.left, p.y - self.top, p.positive) for p in points)


def window_around(mask: BoolMask, points: Sequence[Point]) -> Window | None:
    """Return the window for a second look, or None where it would show little more than the frame does.

    Args:
        mask: (H, W) bool, the first answer.
        points: in pixels of the mask; the window holds those that lie on the frame, too.
    """
    height, width = mask.shape
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    if not len(rows):
        return None
    xs = [float(columns[0]), float(columns[-1] + 1), *(min(max(p.x, 0.0), float(width)) for p in points)]
    ys = [float(rows[0]), float(rows[-1] + 1), *(min(max(p.y, 0.0), float(height)) for p in points)]
    side = round(max((1 + 2 * _MARGIN) * max(max(xs) - min(xs), max(ys) - min(ys)), _SMALLEST_PX))
    if side > _LARGEST_SHARE * min(height, width):
        return None
    left = int(min(max((min(xs) + max(xs) - side) / 2, 0), width - side))
    top = int(min(max((min(ys) + max(ys) - side) / 2, 0), height - side))
    return Window(left, top, left + side, top + side)
