"""Label Studio's results (JSON) -> typed regions, in fractions of the frame; masks are decoded when first asked for."""

from __future__ import annotations

import math
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, cast

import numpy as np

from tam_backend.errors import PayloadError
from tam_backend.labelstudio.config import MASK_KINDS, Control, ControlKind, LabelingConfig
from tam_backend.labelstudio.encoding import checked_size, decode_bitmask, decode_brush
from tam_backend.labelstudio.gestures import Gesture
from tam_backend.labelstudio.ids import parse_result_id
from tam_backend.types import BoolMask, Box, Source

Origin = Literal["manual", "prediction", "prediction-changed"]

SOURCE_KEY = "tam_source"
"""Under `meta` of our results: where a mask comes from. The editor keeps meta, and shows only its "text"."""

CHECKSUM_KEY = "tam"
"""In the keyframes of our video boxes: a checksum, by which one that a human moved, or switched off or on, is told."""

_KINDS = {
    "keypoint": ControlKind.POINT,
    "keypointlabels": ControlKind.POINT,
    "rectangle": ControlKind.BOX,
    "rectanglelabels": ControlKind.BOX,
    "brush": ControlKind.BRUSH,
    "brushlabels": ControlKind.BRUSH,
    "bitmask": ControlKind.BITMASK,
    "bitmasklabels": ControlKind.BITMASK,
    "videorectangle": ControlKind.VIDEO_BOX,
}
_PROMPT_KINDS = (ControlKind.POINT, ControlKind.BOX)
_REMEDY = "Delete that region and draw it again."
_MAX_FRAME = 10_000_000


@dataclass(frozen=True)
class FractionPoint:
    """A click in fractions 0..1 of the frame's width and height; positive = on the object."""

    x: float
    y: float
    positive: bool


@dataclass(frozen=True)
class FractionBox:
    """A rectangle in fractions of the frame's width and height, turned clockwise about its top left corner."""

    x: float
    y: float
    width: float
    height: float
    rotation_deg: float = 0.0

    def enclosing(self, size_hw: tuple[int, int]) -> Box:
        """Return the upright box around it, (x0, y0, x1, y1) in pixels of a frame of that size; may leave the frame."""
        height_px, width_px = size_hw
        cos, sin = math.cos(math.radians(self.rotation_deg)), math.sin(math.radians(self.rotation_deg))
        w, h = self.width * width_px, self.height * height_px
        xs = [self.x * width_px + dx * cos - dy * sin for dx, dy in ((0, 0), (w, 0), (0, h), (w, h))]
        ys = [self.y * height_px + dx * sin + dy * cos for dx, dy in ((0, 0), (w, 0), (0, h), (w, h))]
        return min(xs), min(ys), max(xs), max(ys)


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


@dataclass(frozen=True, eq=False)
class Region:
    """One region of an annotation, a draft or a smart click. `point`, `box`, `mask` or `keyframes` is set, by kind.

    Args:
        region_id: Label Studio's id.
        own_key: the object's key if the id is one that we made; None for what a human drew.
        control: the tag it was drawn with.
        label: as results hold it; None without one.
        frame: from 0; always 0 on a single image and for video boxes, which have `keyframes` instead.
        origin: "manual" = a human drew it, "prediction" = as we sent it, "prediction-changed" = a human changed it.
        source: of our own masks: whether it answers a human's prompt, or was propagated or refined.
        score: 0..1 or None.
        size_hw: the frame's (height, width) as Label Studio knows it; None where it does not say.
        point, box, keyframes: the geometry.
        encoded: a mask's `value`, for `mask`.
        gesture: which object a prompt speaks of, by its label.
    """

    region_id: str
    own_key: str | None
    control: Control
    label: str | None
    frame: int
    origin: Origin = "manual"
    source: Source | None = None
    score: float | None = None
    size_hw: tuple[int, int] | None = None
    point: FractionPoint | None = None
    box: FractionBox | None = None
    keyframes: tuple[VideoKeyframe, ...] = ()
    encoded: Mapping[str, Any] | None = None
    gesture: Gesture = Gesture.GUESSED

    @property
    def kind(self) -> ControlKind:
        """What it is."""
        return self.control.kind

    @property
    def is_mask(self) -> bool:
        """Whether it is a brush or bitmask region."""
        return self.kind in MASK_KINDS

    @property
    def is_humans_mask(self) -> bool:
        """Whether it is a mask that a human drew or changed: never to be overwritten, never to be sent back."""
        return self.is_mask and self.origin != "prediction"

    @property
    def is_keyframe(self) -> bool:
        """Whether it is a mask to track from: a human's, or our answer to a human's prompt, which was accepted."""
        return self.is_mask and (self.is_humans_mask or self.source == "prompt")

    @property
    def shown_label(self) -> str | None:
        """The label as the page shows it (its value where results hold an alias)."""
        return self.control.shows(self.label)

    @cached_property
    def mask(self) -> BoolMask | None:
        """The (height, width) mask, strokes of a draft included; None for other kinds.

        Raises:
            PayloadError: it cannot be decoded.
        """
        if self.encoded is None:
            return None
        try:
            if self.kind is ControlKind.BITMASK:
                return decode_bitmask(self.encoded.get("imageDataURL"))
            return self._brush_mask(self.encoded)
        except PayloadError as error:
            raise PayloadError(f'Region "{self.region_id}": {error.message}', error.remedy) from error

    @cached_property
    def bounds(self) -> Box | None:
        """(x0, y0, x1, y1) around a mask or a box in fractions of the frame; None for an empty mask and other kinds.

        Raises:
            PayloadError: the mask cannot be decoded.
        """
        if self.box is not None:
            return self.box.enclosing((1, 1))
        mask = self.mask
        box = None if mask is None else mask_bounds(mask)
        if mask is None or box is None:
            return None
        height, width = mask.shape
        return box[0] / width, box[1] / height, box[2] / width, box[3] / height

    def _brush_mask(self, value: Mapping[str, Any]) -> BoolMask:
        if self.size_hw is None:
            raise PayloadError("It has no original_width and original_height.", _REMEDY)
        mask = decode_brush(_or_empty(value.get("rle")), self.size_hw)
        if value.get("maskDataURL") is not None:  # what the magic wand selected, in a draft
            selected = decode_bitmask(value["maskDataURL"])
            if selected.shape != mask.shape:
                raise PayloadError("Its magic wand selection is of another size.", _REMEDY)
            mask = mask | selected
        touches = _or_empty(value.get("touches"))
        if touches == []:
            return mask
        from tam_backend.labelstudio.strokes import rasterise_touches  # noqa: PLC0415 - OpenCV, needed by drafts only

        return rasterise_touches(mask, touches)


def read_regions(results: Sequence[Mapping[str, Any]], config: LabelingConfig) -> tuple[Region, ...]:
    """Read the `result` list of an annotation, a draft, a prediction or a smart click's context.

    Results of other types (choices, polygons, relations ..) and of tags that are not on the page are left out.

    Raises:
        PayloadError: a region that we should understand but cannot; the message names it. A mask that cannot be decoded
            raises when it is first asked for.
    """
    if not isinstance(results, (list, tuple)):
        raise PayloadError("The results are not a list.", "Send Label Studio's own JSON.")
    shared_labels: dict[str, str] = {}
    masks: set[str] = set()
    for result in results:
        if not isinstance(result, Mapping):
            raise PayloadError("A result is not an object.", "Send Label Studio's own JSON.")
        region_id, kind_name = result.get("id"), result.get("type")
        if not isinstance(region_id, str) or not isinstance(kind_name, str):
            continue
        if kind_name == "labels" and (label := _first_label(region_id, result.get("value"), "labels")) is not None:
            shared_labels[region_id] = label
        elif _KINDS.get(kind_name) in MASK_KINDS:
            masks.add(region_id)
    regions = []
    for index, result in enumerate(results):
        # A mask that was accepted while a point label was active comes back twice: as itself, and as a "point" with the
        # mask's value and that label.
        echo = _KINDS.get(str(result.get("type"))) in _PROMPT_KINDS and str(result.get("id")) in masks
        if not echo and (region := _read(result, index, config, shared_labels)) is not None:
            regions.append(region)
    return tuple(regions)


def _read(
    result: Mapping[str, Any], index: int, config: LabelingConfig, shared_labels: Mapping[str, str]
) -> Region | None:
    kind_name, from_name, to_name = (result.get(key) for key in ("type", "from_name", "to_name"))
    if not (isinstance(kind_name, str) and isinstance(from_name, str) and isinstance(to_name, str)):
        return None
    control = config.control(from_name, to_name)
    if control is None or _KINDS.get(kind_name) is not control.kind:
        return None
    region_id = result.get("id")
    if not isinstance(region_id, str) or not region_id:
        region_id = f"unnamed-{index}"  # imported predictions may lack ids
    value = result.get("value")
    if not isinstance(value, Mapping):
        raise _malformed(region_id, "has no value")
    if result.get("image_rotation") not in (0, None):
        raise PayloadError(
            f'Region "{region_id}" was drawn on an image turned in the editor.',
            "Turn the image back to 0 degrees, delete the region and draw it again.",
        )
    label = _first_label(region_id, value, kind_name) or _first_label(region_id, value, "labels")
    own = parse_result_id(region_id)
    origin = result.get("origin")
    meta = result.get("meta")
    source = meta.get(SOURCE_KEY) if own and isinstance(meta, Mapping) else None
    score = result.get("score")
    return Region(
        region_id=region_id,
        own_key=own[0] if own else None,
        control=control,
        label=label or shared_labels.get(region_id),
        frame=_whole(region_id, "item_index", result.get("item_index"), default=0),
        origin=cast(Origin, origin) if origin in ("prediction", "prediction-changed") else "manual",
        source=cast(Source, source) if source in ("prompt", "propagated", "refined") else None,
        score=_number(region_id, "score", score) if _is_number(score) else None,
        size_hw=_size(region_id, result, needed=control.kind is ControlKind.BRUSH),
        point=_point(region_id, result, value) if control.kind is ControlKind.POINT else None,
        box=_box(region_id, value) if control.kind is ControlKind.BOX else None,
        keyframes=_keyframes(region_id, value) if control.kind is ControlKind.VIDEO_BOX else (),
        encoded=_encoded(region_id, value, control.kind) if control.kind in MASK_KINDS else None,
    )


def _malformed(region_id: str, what: str) -> PayloadError:
    return PayloadError(f'Region "{region_id}" {what}.', _REMEDY)


def _first_label(region_id: str, value: Any, key: str) -> str | None:
    labels = value.get(key) if isinstance(value, Mapping) else None
    if labels is None or labels == []:
        return None
    if not isinstance(labels, (list, tuple)) or not all(isinstance(label, str) for label in labels):
        raise _malformed(region_id, f"has {key} that are not a list of texts")
    return cast(str, labels[0])


def _is_number(value: Any) -> bool:
    # An integer of a thousand digits is valid JSON, and no float.
    return isinstance(value, (int, float)) and not isinstance(value, bool) and -1e9 <= value <= 1e9


def _number(region_id: str, name: str, value: Any) -> float:
    if not _is_number(value):
        raise _malformed(region_id, f"has the {name} {_short(value)}, which is not a number")
    return float(value)


def _whole(region_id: str, name: str, value: Any, default: int | None = None) -> int:
    if value is None and default is not None:
        return default
    if not _is_number(value) or value != int(value) or not 0 <= value <= _MAX_FRAME:
        raise _malformed(region_id, f"has the {name} {_short(value)}, which is not a frame's number")
    return int(value)


def _short(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:40] + ".."


def _size(region_id: str, result: Mapping[str, Any], *, needed: bool) -> tuple[int, int] | None:
    size = (result.get("original_height"), result.get("original_width"))
    if size == (None, None) and not needed:
        return None
    try:
        return checked_size(size)
    except PayloadError as error:
        if not needed:
            return None
        raise _malformed(region_id, "has no original_width and original_height that a frame can have") from error


def _point(region_id: str, result: Mapping[str, Any], value: Mapping[str, Any]) -> FractionPoint:
    positive = result.get("is_positive", value.get("is_positive"))
    if positive not in (True, False, None):
        raise _malformed(region_id, f"has is_positive {_short(positive)}, which is neither true nor false")
    x, y = (_number(region_id, name, value.get(name)) / 100 for name in ("x", "y"))
    return FractionPoint(x, y, positive is None or bool(positive))


def _box(region_id: str, value: Mapping[str, Any]) -> FractionBox:
    x, y, width, height = (_number(region_id, name, value.get(name)) / 100 for name in ("x", "y", "width", "height"))
    rotation = value.get("rotation")
    return FractionBox(x, y, width, height, 0.0 if rotation is None else _number(region_id, "rotation", rotation))


def _keyframes(region_id: str, value: Mapping[str, Any]) -> tuple[VideoKeyframe, ...]:
    sequence = value.get("sequence")
    if not isinstance(sequence, (list, tuple)):
        raise _malformed(region_id, "has no sequence of boxes")
    keyframes = []
    for item in sequence:
        if not isinstance(item, Mapping):
            raise _malformed(region_id, "has a keyframe that is not an object")
        frame = _whole(region_id, "frame", item.get("frame"))
        box = _box(region_id, item)
        enabled = item.get("enabled") is not False
        by_human = item.get(CHECKSUM_KEY) != keyframe_checksum(frame, enabled, box)
        keyframes.append(VideoKeyframe(frame, enabled, box, by_human))
    return tuple(sorted(keyframes, key=lambda keyframe: keyframe.frame))


def keyframe_checksum(frame: int, enabled: bool, box: FractionBox) -> int:
    """Return what `CHECKSUM_KEY` holds for a keyframe that we send; rounded, so that JSON's digits do not matter."""
    numbers = (box.x, box.y, box.width, box.height, box.rotation_deg / 100)
    return zlib.crc32(f"{frame}:{enabled:d}:{','.join(f'{100 * number:.3f}' for number in numbers)}".encode())


def _encoded(region_id: str, value: Mapping[str, Any], kind: ControlKind) -> Mapping[str, Any]:
    if kind is ControlKind.BITMASK:
        if not isinstance(value.get("imageDataURL"), str):
            raise _malformed(region_id, "has no imageDataURL")
        return value
    has_content = any(isinstance(value.get(key), (list, tuple)) for key in ("rle", "touches"))
    if value.get("format", "rle") != "rle" or not (has_content or "maskDataURL" in value):
        raise _malformed(region_id, "has no run lengths (rle)")
    return value


def _or_empty(value: Any) -> Any:
    return [] if value is None else value


def mask_bounds(mask: BoolMask) -> Box | None:
    """Return the tight box (x0, y0, x1, y1) around a mask, in its pixels, x1 and y1 exclusive; None if it is empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if columns.size == 0:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
