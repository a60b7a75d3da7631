"""Regions of a whole video -> its objects, and what is to be seen of them on every frame."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tam_backend.errors import PayloadError
from tam_backend.export.dataset import DatasetObject, LabelledFrame, Provenance, Shown
from tam_backend.labelstudio.box_tracks import BoxTrack
from tam_backend.labelstudio.config import ControlKind, LabelingConfig
from tam_backend.labelstudio.identity import Identity
from tam_backend.labelstudio.light_regions import LightRegion
from tam_backend.labelstudio.objects import TaskObject, group_objects
from tam_backend.labelstudio.polygons import filled_outline
from tam_backend.labelstudio.shapes import FractionPolygon
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.types import Box, EncodedMask

NO_LABEL = "object"
"""The class of what has no label."""

CLASS_LEFT_OUT = "regions of classes that are left out"
PROMPTS = "points and boxes that were drawn as prompts"
OTHER_SIZE = "masks of another size than the others on their frame"
NO_SIZE = "polygons and boxes on images whose size Label Studio does not tell"
TOO_RAGGED = "polygons whose outline is too ragged to be filled"


@dataclass(eq=False)
class Labelled:
    """A video's objects and, of each frame, the regions that show them.

    Args:
        objects: by their ids, which go from 1 without gaps.
        by_frame: frame -> (object id, region) of what is not a track of boxes.
        tracks: object id -> its boxes on every frame of a video file.
        size_hw: of the frames, as the regions tell it; None where none does.
        lost: what was left out -> how often.
    """

    objects: tuple[DatasetObject, ...] = ()
    by_frame: dict[int, list[tuple[int, LightRegion]]] = field(default_factory=dict)
    tracks: dict[int, BoxTrack] = field(default_factory=dict)
    size_hw: tuple[int, int] | None = None
    lost: Counter[str] = field(default_factory=Counter)

    def frames(self, indices: Sequence[int], size_hw: tuple[int, int]) -> Iterator[LabelledFrame]:
        """Yield frames, one by one.

        Args:
            indices: which; ascending.
            size_hw: of a frame without a mask.
        """
        for index in indices:
            shown = _shown_on(self.by_frame.get(index, ()), size_hw)
            for object_id, track in self.tracks.items():
                box = track.box_xyxy(index, size_hw)
                if box is not None:
                    by_human: Provenance = "human" if track.by_human(index) else "propagated"
                    shown.append(Shown(object_id, box_xyxy=box, provenance=by_human))
            yield LabelledFrame(index, tuple(sorted(shown, key=lambda each: each.object_id)))


def labelled(
    regions: Sequence[LightRegion],
    class_of: Mapping[str, str],
    clocks: VideoClock | None = None,
    same: tuple[tuple[str, str], ...] = (),
) -> Labelled:
    """Group the regions of one media of a video: of all tasks that it was cut into, on its own frames.

    Args:
        regions: in the order of drawing.
        class_of: label -> the class that it counts as, where that is not the label itself; "" leaves it out.
        clocks: of a <Video>: its frames -> the file's.
        same: see `AnnotatedVideo`.

    Raises:
        PayloadError: a mask that has to be looked at cannot be decoded.
    """
    made = Labelled()
    drawn = [shape for region in regions if (shape := _as_shape(region, made.lost)) is not None]
    objects: list[DatasetObject] = []
    for found in group_objects(drawn, Identity(same)):
        label = _shown_label(found)
        category = class_of.get(label, label)
        if not category:
            made.lost[CLASS_LEFT_OUT] += len(found.regions)
            continue
        object_id = len(objects) + 1
        objects.append(DatasetObject(object_id, category, _all_labels(found)))
        for region in found.regions:
            if region.kind is ControlKind.VIDEO_BOX and clocks is not None:
                made.tracks[object_id] = BoxTrack(region.keyframes, clocks)
            elif isinstance(region, LightRegion):
                made.by_frame.setdefault(region.frame, []).append((object_id, region))
    made.objects = tuple(objects)
    for index, there in made.by_frame.items():
        made.by_frame[index] = _of_one_size(there, made.lost)
    sizes = (region.runs.size_hw for frame in made.by_frame.values() for _, region in frame if region.runs is not None)
    told = (region.size_hw for frame in made.by_frame.values() for _, region in frame if region.size_hw is not None)
    made.size_hw = next(sizes, None) or next(told, None)
    return made


def class_names(config: LabelingConfig, class_of: Mapping[str, str]) -> tuple[str, ...]:
    """Return the classes that a labeling config has for masks and boxes, in the order of the page."""
    names: dict[str, None] = {}
    for control in config.controls:
        if control.kind is ControlKind.POINT or (control.smart and control.kind is ControlKind.BOX):
            continue
        for source in control.sources:
            names.update(dict.fromkeys(name for label in source.shown if (name := class_of.get(label, label))))
    return tuple(names)


def _as_shape(region: LightRegion, lost: Counter[str]) -> LightRegion | None:
    """Return a region as what it shows: a mask, a box or a track; None for prompts. Polygons are filled."""
    if region.is_mask or (region.kind is ControlKind.VIDEO_BOX and region.keyframes):
        return region
    if region.kind is not ControlKind.BOX or region.control.smart:
        lost[PROMPTS] += 1
        return None
    if region.size_hw is None:
        lost[NO_SIZE] += 1
        return None
    if not isinstance(region.box, FractionPolygon):
        return region
    try:
        runs = filled_outline(region.box.corners, region.size_hw)
    except PayloadError:
        lost[TOO_RAGGED] += 1
        return None
    # As a mask: two polygons that overlap are two objects, while a box over a mask means the mask's object.
    return replace(region, control=replace(region.control, kind=ControlKind.BITMASK), box=None, runs=runs)


def _of_one_size(there: list[tuple[int, LightRegion]], lost: Counter[str]) -> list[tuple[int, LightRegion]]:
    sizes = Counter(region.runs.size_hw for _, region in there if region.runs is not None)
    if len(sizes) < 2:
        return there
    usual = sizes.most_common(1)[0][0]
    kept = [(number, each) for number, each in there if each.runs is None or each.runs.size_hw == usual]
    lost[OTHER_SIZE] += len(there) - len(kept)
    return kept


def _shown_on(there: Sequence[tuple[int, LightRegion]], size_hw: tuple[int, int]) -> list[Shown]:
    by_object: dict[int, list[LightRegion]] = {}
    for object_id, region in there:
        by_object.setdefault(object_id, []).append(region)
    shown = []
    for object_id, regions in by_object.items():
        masks = [each for each in regions if each.runs is not None]
        best = (masks or regions)[-1]
        runs = EncodedMask.union([each.runs for each in masks if each.runs is not None]) if masks else None
        if runs is not None and not runs.area:
            continue  # the object is absent
        box = None if runs is not None else _box(best, size_hw)
        if runs is None and box is None:
            continue
        shown.append(
            Shown(
                object_id,
                runs,
                box,
                min((_provenance(each) for each in masks or regions), key=_TRUSTED.index),
                best.score,
                attributes={key: value for each in regions for key, value in _attributes(each).items()},
            )
        )
    return shown


_TRUSTED: tuple[Provenance, ...] = ("human", "prompt", "started", "refined", "propagated")


def _provenance(region: LightRegion) -> Provenance:
    if region.origin != "prediction":
        return "human"
    return region.source or "propagated"


def _box(region: LightRegion, size_hw: tuple[int, int]) -> Box | None:
    if region.box is None:
        return None
    x0, y0, x1, y1 = region.box.enclosing(region.size_hw or size_hw)
    height, width = region.size_hw or size_hw
    x0, y0, x1, y1 = max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None


def _attributes(region: LightRegion) -> dict[str, Any]:
    """Return what hangs on a region: tag -> its content, a single one without its list; and what was noted on it."""
    found: dict[str, Any] = {}
    for result in region.attributes:
        kind, value = str(result.get("type")), result["value"]
        content = value.get("text" if kind == "textarea" else kind)
        if content is not None:
            found[str(result.get("from_name"))] = content
    note = region.notes.get("meta", {}).get("text")
    if note:
        found["note"] = note
    return found


def _shown_label(found: TaskObject[int]) -> str:
    return found.regions[0].control.shows(found.label) or NO_LABEL


def _all_labels(found: TaskObject[int]) -> tuple[str, ...]:
    """Return all labels of an object in the order in which they were first given, as the page shows them."""
    given: dict[str, None] = {}
    for region in found.regions:
        given.update(dict.fromkeys(region.control.shows(label) or label for label in region.labels))
    return tuple(given)
