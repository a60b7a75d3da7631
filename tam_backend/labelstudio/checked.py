"""Numbers and labels out of a region's JSON; what is not of its kind is refused with the region's name."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tam_backend.errors import RegionError

REMEDY = "Delete that region and draw it again."
_MAX_FRAME = 10_000_000


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
