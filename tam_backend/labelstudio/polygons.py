"""Polygons of Label Studio <-> masks: one closed line, filled as pycocotools fills it.

A mask is one region whatever its parts, as it is with brush and bitmask: a result takes the place of the region with
its id and of no other, so that a part that is gone in a later answer could not be taken away. Parts and holes hang
together by lines of no width.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tam_backend.errors import InvalidInputError, PayloadError
from tam_backend.export.outlines import keyhole_polygon
from tam_backend.labelstudio.checked import REMEDY, is_number
from tam_backend.types import BoolMask, Box, EncodedMask

TOLERANCE_PX = 1.0
"""So far may a polygon leave the outline of its mask, where nobody says otherwise; setting TAM_POLYGON_TOLERANCE_PX."""

_FEWEST_CORNERS = 3
_DIGITS = 4  # of percent: a hundredth of a pixel on the widest frame


def encode_polygon(mask: BoolMask, tolerance_px: float = TOLERANCE_PX) -> tuple[dict[str, Any], float]:
    """Return a mask as a polygon region's value, without its labels, and the IoU of the mask with what that shows.

    Args:
        mask: (H, W), not empty.
        tolerance_px: see `keyhole_polygon`.
    """
    height, width = mask.shape
    corners, overlap = keyhole_polygon(mask, tolerance_px)
    points = [[round(100 * x / width, _DIGITS), round(100 * y / height, _DIGITS)] for x, y in corners.tolist()]
    return {"points": points, "closed": True}, overlap


def decode_polygon(value: Mapping[str, Any], size_hw: tuple[int, int]) -> BoolMask:
    """Fill the `points` of a region's value; see `polygon_runs`."""
    return polygon_runs(value, size_hw).array


def polygon_runs(value: Mapping[str, Any], size_hw: tuple[int, int]) -> EncodedMask:
    """Fill the `points` of a region's value.

    Args:
        value: holds "points": [x, y] each, in percent of the frame; outside of the frame they are cut off.
        size_hw: (height, width) of the frame.

    Raises:
        PayloadError: they are no polygon, or as `filled_outline`.
    """
    return filled_outline(_corners(value), size_hw)


def filled_outline(corners: Sequence[tuple[float, float]], size_hw: tuple[int, int]) -> EncodedMask:
    """Fill a polygon that people drew.

    Args:
        corners: (x, y) in fractions of the frame, three at least; outside of the frame they are cut off.
        size_hw: (height, width) of the frame.

    Raises:
        PayloadError: its outline is longer than can be filled.
    """
    height, width = size_hw
    try:
        return EncodedMask.of_polygon([(x * width, y * height) for x, y in _within_frame(corners)], size_hw)
    except InvalidInputError as error:
        raise PayloadError(error.message, REMEDY) from error


def polygon_bounds(value: Mapping[str, Any]) -> Box:
    """Return (x0, y0, x1, y1) around a polygon in fractions of the frame. Raises as `polygon_runs`."""
    xs, ys = zip(*_within_frame(_corners(value)), strict=True)
    return min(xs), min(ys), max(xs), max(ys)


def _corners(value: Mapping[str, Any]) -> list[tuple[float, float]]:
    """Return the corners in fractions of the frame."""
    points = value.get("points")
    if not isinstance(points, (list, tuple)) or len(points) < _FEWEST_CORNERS:
        raise PayloadError("It is a polygon without three corners.", REMEDY)
    if not all(isinstance(point, (list, tuple)) and len(point) == 2 and all(map(is_number, point)) for point in points):
        raise PayloadError("It has a corner that is not a pair of numbers.", REMEDY)
    return [(x / 100, y / 100) for x, y in points]


def _within_frame(corners: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    return [(min(max(x, 0.0), 1.0), min(max(y, 0.0), 1.0)) for x, y in corners]
