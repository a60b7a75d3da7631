"""Polygons of Label Studio <-> masks: one closed line, filled as pycocotools fills it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tam_backend.errors import PayloadError
from tam_backend.export.runs import Runs
from tam_backend.labelstudio.checked import REMEDY, is_number
from tam_backend.types import BoolMask

_FEWEST_CORNERS = 3


def decode_polygon(value: Mapping[str, Any], size_hw: tuple[int, int]) -> BoolMask:
    """Fill the `points` of a region's value.

    Args:
        value: holds "points": [x, y] each, in percent of the frame; outside of the frame they are cut off.
        size_hw: (height, width) of the frame.

    Raises:
        PayloadError: they are no polygon.
    """
    points = value.get("points")
    if not isinstance(points, (list, tuple)) or len(points) < _FEWEST_CORNERS:
        raise PayloadError("It is a polygon without three corners.", REMEDY)
    if not all(isinstance(point, (list, tuple)) and len(point) == 2 and all(map(is_number, point)) for point in points):
        raise PayloadError("It has a corner that is not a pair of numbers.", REMEDY)
    height, width = size_hw
    corners = [(float(x) * width / 100, float(y) * height / 100) for x, y in points]
    inside = [(min(max(x, 0.0), float(width)), min(max(y, 0.0), float(height))) for x, y in corners]
    return Runs.of_polygon(inside, size_hw).decoded()
