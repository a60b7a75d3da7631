"""Label Studio's results (JSON) -> typed regions, in fractions of the frame; masks are decoded when first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, lru_cache
from typing import Any, Literal, TypeVar, cast, get_args

import numpy as np

from tam_backend.errors import PayloadError, RegionError
from tam_backend.labelstudio.attributes import OBJECT_KEY, SOURCE_KEY, SentSource, attributes_by_region, human_notes
from tam_backend.labelstudio.checked import (
    REMEDY,
    VideoKeyframe,
    frame_number,
    is_number,
    label_texts,
    malformed,
    number,
    read_keyframes,
    read_outline,
    read_point,
)
from tam_backend.labelstudio.config import KINDS, MASK_KINDS, Control, ControlKind, LabelingConfig
from tam_backend.labelstudio.encoding import checked_size, decode_bitmask, decode_brush
from tam_backend.labelstudio.gestures import Gesture
from tam_backend.labelstudio.ids import is_object_key, parse_result_id
from tam_backend.labelstudio.polygons import polygon_bounds, polygon_runs
from tam_backend.labelstudio.shapes import FractionPoint, Outline
from tam_backend.types import BoolMask, Box, EncodedMask

Origin = Literal["manual", "prediction", "prediction-changed"]

_PROMPT_KINDS = (ControlKind.POINT, ControlKind.BOX)


@dataclass(frozen=True, eq=False)
class Region:
    """One region of an annotation, a draft or a smart click. `point`, `box`, `mask` or `keyframes` is set, by kind.

    Args:
        region_id: Label Studio's id.
        own_key: the object's key if the id is one that we made; None for what a human drew.
        control: the tag it was drawn with.
        labels: as results hold them, in their order.
        frame: from 0; always 0 on a single image and for video boxes, which have `keyframes` instead.
        origin: "manual" = a human drew it, "prediction" = as we sent it, "prediction-changed" = a human changed it.
        source: of our own masks: where they come from; "started" also of what is no mask but was let begin one.
        score: 0..1 or None.
        size_hw: the frame's (height, width) as Label Studio knows it; None where it does not say.
        point, box, keyframes: the geometry.
        encoded: a mask's `value`, for `mask`.
        attributes: results that a human hung on it, see attributes.py.
        notes: what a human wrote beside its shape.
        gesture: which object a prompt speaks of, by its label.
        belongs_to: the key of the object that it shows, where people said that it is not the one of its id, or it came
            with a dataset.
    """

    region_id: str
    own_key: str | None
    control: Control
    labels: tuple[str, ...]
    frame: int
    origin: Origin = "manual"
    source: SentSource | None = None
    score: float | None = None
    size_hw: tuple[int, int] | None = None
    point: FractionPoint | None = None
    box: Outline | None = None
    keyframes: tuple[VideoKeyframe, ...] = ()
    encoded: Mapping[str, Any] | None = None
    attributes: tuple[Mapping[str, Any], ...] = ()
    notes: Mapping[str, Any] = field(default_factory=dict)
    gesture: Gesture = Gesture.GUESSED
    belongs_to: str | None = None

    @property
    def kind(self) -> ControlKind:
        """What it is."""
        return self.control.kind

    @property
    def label(self) -> str | None:
        """The first label, which tells objects apart; None without one."""
        return self.labels[0] if self.labels else None

    @property
    def is_mask(self) -> bool:
        """Whether it is a mask: a brush or bitmask region, or a polygon that counts as one."""
        return self.kind in MASK_KINDS

    @property
    def is_humans_mask(self) -> bool:
        """Whether it is a mask that a human drew or changed: never to be overwritten, never to be sent back."""
        return self.is_mask and self.origin != "prediction"

    @property
    def is_keyframe(self) -> bool:
        """Whether it is a mask to track from: a human's, or our answer to a prompt, a human's or another's."""
        return self.is_mask and (self.is_humans_mask or self.source in ("prompt", "started"))

    @property
    def is_humans_word(self) -> bool:
        """Whether a human said where its object is: by a prompt, a mask, or by accepting our answer to a prompt."""
        return self.is_humans_mask or (self.source != "started" and (self.is_keyframe or not self.is_mask))

    @property
    def shown_label(self) -> str | None:
        """The label as the page shows it (its value where results hold an alias)."""
        return self.control.shows(self.label)

    @property
    def mask(self) -> BoolMask | None:
        """The (height, width) mask, strokes of a draft included, decoded anew each time; None for other kinds.

        Raises:
            RegionError: it cannot be decoded.
        """
        return None if self.encoded_mask is None else self.encoded_mask.array

    @cached_property
    def encoded_mask(self) -> EncodedMask | None:
        """What `mask` gives, as we keep it: a request may bring hundreds, and what Label Studio writes is slow to read.

        Raises:
            RegionError: it cannot be decoded.
        """
        if self.encoded is None:
            return None
        try:
            if self.kind is ControlKind.BITMASK:
                return EncodedMask.of(decode_bitmask(self.encoded.get("imageDataURL")))
            if self.kind is ControlKind.POLYGON:
                return polygon_runs(self.encoded, self._known_size_hw)
            return EncodedMask.of(self._brush_mask(self.encoded))
        except PayloadError as error:
            raise self._named(error) from error

    @cached_property
    def bounds(self) -> Box | None:
        """(x0, y0, x1, y1) around a mask or a box in fractions of the frame; None for an empty mask and other kinds.

        Raises:
            PayloadError: the mask cannot be decoded.
        """
        if self.box is not None:
            return self.box.enclosing((1, 1))
        try:
            if self.kind is ControlKind.POLYGON and self.encoded is not None:
                return polygon_bounds(self.encoded)
            if self._plain_brush is not None:
                return _bounds_of_brush(*self._plain_brush)
            if self.kind is ControlKind.BITMASK and self.encoded is not None:
                return _bounds_of_bitmask(self.encoded["imageDataURL"])
        except PayloadError as error:
            raise self._named(error) from error
        mask = self.mask
        return None if mask is None else _bounds_in_fractions(mask)

    @property
    def _plain_brush(self) -> tuple[bytes, tuple[int, int]] | None:
        """(run lengths, (height, width)) of a brush mask that is nothing else; None for others, and for bad ones."""
        value = self.encoded
        if self.kind is not ControlKind.BRUSH or value is None or self.size_hw is None:
            return None
        if value.get("maskDataURL") is not None or value.get("touches") not in (None, []):
            return None
        try:
            return bytes(value["rle"]), self.size_hw
        except (KeyError, TypeError, ValueError):
            return None

    def _named(self, error: PayloadError) -> RegionError:
        return RegionError(self.region_id, f'Region "{self.region_id}": {error.message}', error.remedy)

    @property
    def _known_size_hw(self) -> tuple[int, int]:
        if self.size_hw is None:
            raise PayloadError("It has no original_width and original_height.", REMEDY)
        return self.size_hw

    def _brush_mask(self, value: Mapping[str, Any]) -> BoolMask:
        mask = decode_brush(_or_empty(value.get("rle")), self._known_size_hw)
        if value.get("maskDataURL") is not None:  # what the magic wand selected, in a draft
            selected = decode_bitmask(value["maskDataURL"])
            if selected.shape != mask.shape:
                raise PayloadError("Its magic wand selection is of another size.", REMEDY)
            mask = mask | selected
        touches = _or_empty(value.get("touches"))
        if touches == []:
            return mask
        from tam_backend.labelstudio.strokes import rasterise_touches  # noqa: PLC0415 - OpenCV, needed by drafts only

        return rasterise_touches(mask, touches)


# Every click brings all masks of its draft again, and to decode them takes longest.
@lru_cache(maxsize=2048)
def _bounds_of_brush(rle: bytes, size_hw: tuple[int, int]) -> Box | None:
    return _bounds_in_fractions(decode_brush(list(rle), size_hw))


@lru_cache(maxsize=2048)
def _bounds_of_bitmask(data_url: str) -> Box | None:
    return _bounds_in_fractions(decode_bitmask(data_url))


def _bounds_in_fractions(mask: BoolMask) -> Box | None:
    box = mask_bounds(mask)
    if box is None:
        return None
    height, width = mask.shape
    return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def read_regions(
    results: Sequence[Mapping[str, Any]], config: LabelingConfig, faults: list[RegionError] | None = None
) -> tuple[Region, ...]:
    """Read the `result` list of an annotation, a draft, a prediction or a smart click's context.

    Results of other types (relations, text ..) and of tags that are not on the page are left out, and polygons that are
    half drawn; choices and the like become attributes of their regions.

    Args:
        results: JSON.
        config: of the task's project.
        faults: takes what is wrong with regions that we should understand but cannot; they are left out then.

    Raises:
        PayloadError: no list of objects.
        RegionError: without `faults`, a region that cannot be understood. A mask that cannot be decoded raises when it
            is first asked for.
    """
    if not isinstance(results, (list, tuple)):
        raise PayloadError("The results are not a list.", "Send Label Studio's own JSON.")
    shared_labels: dict[str, tuple[str, ...]] = {}
    masks: set[str] = set()
    for result in results:
        if not isinstance(result, Mapping):
            raise PayloadError("A result is not an object.", "Send Label Studio's own JSON.")
        region_id, kind_name = result.get("id"), result.get("type")
        if not isinstance(region_id, str) or not isinstance(kind_name, str):
            continue
        if kind_name == "labels":
            # A page may have several <Labels>, each with a result of its own.
            more = _forgiven(faults, label_texts, region_id, result.get("value"), "labels") or ()
            shared_labels[region_id] = tuple(dict.fromkeys((*shared_labels.get(region_id, ()), *more)))
        elif _kind_of(kind_name) in MASK_KINDS or _is_polygon_mask(result, config):
            masks.add(region_id)
    attributes = attributes_by_region(results)
    regions = []
    for index, result in enumerate(results):
        # A mask that was accepted while a point label was active comes back twice: as itself, and as a "point" with the
        # mask's value and that label.
        may_echo = _kind_of(str(result.get("type"))) in _PROMPT_KINDS and not _is_polygon_mask(result, config)
        echo = may_echo and str(result.get("id")) in masks
        region = None if echo else _forgiven(faults, _read, result, index, config, shared_labels)
        if region is not None:
            hung = attributes.get(region.region_id)
            regions.append(replace(region, attributes=hung) if hung else region)
    return tuple(regions)


_Made = TypeVar("_Made")


def _forgiven(faults: list[RegionError] | None, make: Callable[..., _Made], *arguments: Any) -> _Made | None:
    try:
        return make(*arguments)
    except RegionError as error:
        if faults is None:
            raise
        faults.append(error)
        return None


def _read(
    result: Mapping[str, Any], index: int, config: LabelingConfig, shared_labels: Mapping[str, tuple[str, ...]]
) -> Region | None:
    kind_name, from_name, to_name = (result.get(key) for key in ("type", "from_name", "to_name"))
    if not (isinstance(kind_name, str) and isinstance(from_name, str) and isinstance(to_name, str)):
        return None
    control = config.control(from_name, to_name)
    if control is None or kind_name.removesuffix("labels") != control.shape:
        return None
    region_id = result.get("id")
    if not isinstance(region_id, str) or not region_id:
        region_id = f"unnamed-{index}"  # imported predictions may lack ids
    value = result.get("value")
    if not isinstance(value, Mapping):
        raise malformed(region_id, "has no value")
    if control.shape == "polygon" and value.get("closed") is False:
        return None  # somebody is still drawing it
    if result.get("image_rotation") not in (0, None):
        raise RegionError(
            region_id,
            f'Region "{region_id}" was drawn on an image turned in the editor.',
            "Turn the image back to 0 degrees, delete the region and draw it again.",
        )
    labels = label_texts(region_id, value, kind_name) or label_texts(region_id, value, "labels")
    own = parse_result_id(region_id)
    origin = result.get("origin")
    meta = result.get("meta")
    source = meta.get(SOURCE_KEY) if own and isinstance(meta, Mapping) else None
    told = meta.get(OBJECT_KEY) if isinstance(meta, Mapping) else None
    score = result.get("score")
    return Region(
        region_id=region_id,
        own_key=own[0] if own else None,
        control=control,
        labels=labels or shared_labels.get(region_id, ()),
        frame=_frame(region_id, result, control),
        origin=cast(Origin, origin) if origin in ("prediction", "prediction-changed") else "manual",
        source=cast(SentSource, source) if source in get_args(SentSource) else None,
        score=number(region_id, "score", score) if is_number(score) else None,
        size_hw=_size(region_id, result, needed=control.kind in (ControlKind.BRUSH, ControlKind.POLYGON)),
        point=read_point(region_id, result, value) if control.kind is ControlKind.POINT else None,
        box=read_outline(region_id, value, control.shape) if control.kind is ControlKind.BOX else None,
        keyframes=read_keyframes(region_id, value) if control.kind is ControlKind.VIDEO_BOX else (),
        encoded=_encoded(region_id, value, control.kind) if control.kind in MASK_KINDS else None,
        notes=human_notes(result),
        belongs_to=told if isinstance(told, str) and is_object_key(told) else None,
    )


def _is_polygon_mask(result: Mapping[str, Any], config: LabelingConfig) -> bool:
    control = config.control(str(result.get("from_name")), str(result.get("to_name")))
    is_polygon = str(result.get("type")).removesuffix("labels") == "polygon"
    return is_polygon and control is not None and control.kind is ControlKind.POLYGON


def _kind_of(result_type: str) -> ControlKind | None:
    return KINDS.get(result_type.removesuffix("labels"))


def _frame(region_id: str, result: Mapping[str, Any], control: Control) -> int:
    if control.page_flag:
        return control.page(str(result.get("from_name")), str(result.get("to_name"))) or 0
    return frame_number(region_id, "item_index", result.get("item_index"), default=0)


def _size(region_id: str, result: Mapping[str, Any], *, needed: bool) -> tuple[int, int] | None:
    size = (result.get("original_height"), result.get("original_width"))
    if size == (None, None) and not needed:
        return None
    try:
        return checked_size(size)
    except PayloadError as error:
        if not needed:
            return None
        raise malformed(region_id, "has no original_width and original_height that a frame can have") from error


def _encoded(region_id: str, value: Mapping[str, Any], kind: ControlKind) -> Mapping[str, Any]:
    if kind is ControlKind.BITMASK:
        if not isinstance(value.get("imageDataURL"), str):
            raise malformed(region_id, "has no imageDataURL")
        return value
    if kind is ControlKind.POLYGON:
        read_outline(region_id, value, "polygon")
        return value
    has_content = any(isinstance(value.get(key), (list, tuple)) for key in ("rle", "touches"))
    if value.get("format", "rle") != "rle" or not (has_content or "maskDataURL" in value):
        raise malformed(region_id, "has no run lengths (rle)")
    return value


def _or_empty(value: Any) -> Any:
    return [] if value is None else value


def mask_bounds(mask: BoolMask) -> Box | None:
    """Return the tight box (x0, y0, x1, y1) around a mask, in its pixels, x1 and y1 exclusive; None if it is empty."""
    columns, rows = np.flatnonzero(mask.any(axis=0)), np.flatnonzero(mask.any(axis=1))
    if columns.size == 0:
        return None
    return float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1)
