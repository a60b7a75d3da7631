"""Out of a region's JSON: numbers, labels and shapes; what is not of its kind is refused with the region's name."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tam_backend.errors import RegionError
from tam_backend.labelstudio.shapes import FractionBox, FractionEllipse, FractionPoint, FractionPolygon, Outline

REMEDY = "Delete that region and draw it again."
_MAX_FRAME = 10_000_000
CHECKSUM_KEY = "tam"
"""In the keyframes of our video boxes: a checksum, by which one that a human moved, or switched off or on, is told; and
null in those that were a human's when we sent them."""
_FEWEST_CORNERS = 3


def malformed(region_id: str, what: str) -> RegionError:
    """Return the error for a region that is not what Label Studio writes."""
    return RegionError(region_id, f'Region "{region_id}" {what}.', REMEDY)


def label_texts(region_id: str, value: Any, key: str) -> tuple[str, ...]:
    """Return the labels under a key of a region's value; none where there is no such key.

    Raises:
        RegionError: it is something else.
    """
    labels = value.get(key) if isinstance(value, Mapping) else None
    if labels is None:
        return ()
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
        raise malformed(region_id, f"has {key} that are not a list of texts")
    if any("\ud800" <= char <= "\udfff" for label in labels for char in label):
        raise malformed(region_id, "has a label with half a character (a lone surrogate)")
    return tuple(labels)


def is_number(value: Any) -> bool:
    """Tell whether it is a number that a region can hold."""
    # An integer of a thousand digits is valid JSON, and no float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e9 <= value <= 1e9


def number(region_id: str, name: str, value: Any) -> float:
    """Return a number.

    Raises:
        RegionError: it is something else.
    """
    if not is_number(value):
        raise malformed(region_id, f"has the {name} {short(value)}, which is not a number")
    return float(value)


def frame_number(region_id: str, name: str, value: Any, default: int | None = None) -> int:
    """Return a frame's number; `default` where there is none.

    Raises:
        RegionError: it is something else.
    """
    if value is None and default is not None:
        return default
    if not is_number(value) or value != int(value) or not 0 <= value <= _MAX_FRAME:
        raise malformed(region_id, f"has the {name} {short(value)}, which is not a frame's number")
    return int(value)


def short(value: Any) -> str:
    """Return what an error's message shows of a value."""
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + ".."


@dataclass(frozen=True)
class VideoKeyframe:
    """A box on one frame of a <Video>.

    Args:
        frame: from 1, at the tag's frame rate (not the file's).
        enabled: the box is also shown after this frame, until the next keyframe.
        box: in fractions of the frame.
        by_human: drawn, moved, or switched off or on by a human; False: as we sent it.
    """

    frame: int
    enabled: bool
    box: FractionBox
    by_human: bool


def read_point(region_id: str, result: Mapping[str, Any], value: Mapping[str, Any]) -> FractionPoint:
    """Return the click of a keypoint; on the object unless the result or its value says otherwise.

    Raises:
        RegionError: it is not what Label Studio sends.
    """
    positive = result.get("is_positive", value.get("is_positive"))
    if positive not in (True, False, None):
        raise malformed(region_id, f"has is_positive {short(positive)}, which is neither true nor false")
    x, y = (number(region_id, name, value.get(name)) / 100 for name in ("x", "y"))
    return FractionPoint(x, y, positive is None or bool(positive))


def _box(region_id: str, value: Mapping[str, Any]) -> FractionBox:
    x, y, width, height = (number(region_id, name, value.get(name)) / 100 for name in ("x", "y", "width", "height"))
    return FractionBox(x, y, width, height, _rotation(region_id, value))


def read_outline(region_id: str, value: Mapping[str, Any], shape: str) -> Outline:
    """Return what is drawn around an object, by its `shape`: "rectangle", "ellipse" or "polygon".

    Raises:
        RegionError: it is not what Label Studio sends.
    """
    if shape == "ellipse":
        x, y, rx, ry = (number(region_id, name, value.get(name)) / 100 for name in ("x", "y", "radiusX", "radiusY"))
        return FractionEllipse(x, y, rx, ry, _rotation(region_id, value))
    return _polygon(region_id, value) if shape == "polygon" else _box(region_id, value)


def _polygon(region_id: str, value: Mapping[str, Any]) -> FractionPolygon:
    points = value.get("points")
    if not isinstance(points, (list, tuple)) or len(points) < _FEWEST_CORNERS:
        raise malformed(region_id, "is a polygon without three corners")
    if not all(isinstance(point, (list, tuple)) and len(point) == 2 for point in points):
        raise malformed(region_id, "has a corner that is not a pair of numbers")
    corners = ((number(region_id, "x", x) / 100, number(region_id, "y", y) / 100) for x, y in points)
    return FractionPolygon(tuple(corners))


def _rotation(region_id: str, value: Mapping[str, Any]) -> float:
    rotation = value.get("rotation")
    return 0.0 if rotation is None else number(region_id, "rotation", rotation)


def read_keyframes(region_id: str, value: Mapping[str, Any]) -> tuple[VideoKeyframe, ...]:
    """Return the keyframes of a video box, by frame.

    Raises:
        RegionError: it is not what Label Studio sends.
    """
    sequence = value.get("sequence")
    if not isinstance(sequence, (list, tuple)):
        raise malformed(region_id, "has no sequence of boxes")
    keyframes = []
    for item in sequence:
        if not isinstance(item, Mapping):
            raise malformed(region_id, "has a keyframe that is not an object")
        frame = frame_number(region_id, "frame", item.get("frame"))
        box = _box(region_id, item)
        enabled = item.get("enabled") is not False
        by_human = item.get(CHECKSUM_KEY) != keyframe_checksum(frame, enabled, box)
        keyframes.append(VideoKeyframe(frame, enabled, box, by_human))
    return tuple(sorted(keyframes, key=lambda keyframe: keyframe.frame))


def keyframe_checksum(frame: int, enabled: bool, box: FractionBox) -> int:
    """Return what `CHECKSUM_KEY` holds for a keyframe that we send; rounded, so that JSON's digits do not matter."""
    numbers = (box.x, box.y, box.width, box.height, box.rotation_deg / 100)
    return zlib.crc32(f"{frame}:{enabled:d}:{','.join(f'{100 * number:.3f}' for number in numbers)}".encode())
