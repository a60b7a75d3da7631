"""Prompts that are there already -> objects: which of them show one thing, and which give way to a human's.

1. What an id ties is one object (`starting_regions.track_of`), within its label.
2. Without an id: where a label never stands twice on one frame, all of it is one object, as with clicks. Else the
   regions of neighbouring frames are one object where they overlap: the nearest frames first, then the most overlap.
3. What lies on an object of its label that a human has begun, on any frame, goes on with that one. Where the human has
   clicked or drawn, or accepted a mask, that stands, and the region is left out; on other frames it is a keyframe.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import PayloadError
from tam_backend.labelstudio.ids import object_key
from tam_backend.labelstudio.objects import TaskObject
from tam_backend.labelstudio.prompts import TaskPrompts
from tam_backend.labelstudio.regions import Region
from tam_backend.labelstudio.shapes import FractionPoint
from tam_backend.labelstudio.starting_regions import NotStarted, StartingRegion
from tam_backend.types import Box, DrawnOrder

SAME_PLACE_IOU = 0.5
"""So much must two regions of one label on one frame overlap to be one thing."""
OVERLAP_IOU = 0.3
"""So much on neighbouring frames, between which things move."""
MOST_FRAMES_MISSED = 5
"""So many frames that show the label may lie between two regions that are neighbours: detectors miss some."""

TiedBy = Literal["id", "label", "overlap", "nothing"]
"""What made a region an object's: an id; that its label stands once a frame; that it overlaps with one of a
neighbouring frame; "nothing": it is alone."""


@dataclass(frozen=True)
class StartedObject:
    """An object that begins with, or goes on with, what was there already.

    Args:
        key: see `TaskObject`.
        label: as the page shows it.
        is_known: whether a human, an earlier Propagate or the task before in the chain had begun it.
        used: (frame, region id, what tied it) of what became prompts, by frame; none: all of it was left out.
    """

    key: str
    label: str | None
    is_known: bool
    used: tuple[tuple[int, str, TiedBy], ...]


@dataclass(frozen=True)
class StartReport:
    """How what was there already became prompts.

    Args:
        source: see `starting_regions`.
        objects: in the order of their first regions.
        unusable: what could not become one.
        gave_way: what did not, since something better is there: a human's word, or another region.
        wrong_source: why nothing can come from there, whatever the task holds; "" where it can.
    """

    source: str
    objects: tuple[StartedObject, ...]
    unusable: tuple[NotStarted, ...]
    gave_way: tuple[NotStarted, ...]
    wrong_source: str = ""

    @property
    def left_out(self) -> tuple[NotStarted, ...]:
        """All that became no prompt."""
        return (*self.unusable, *self.gave_way)

    def complaints(self) -> list[str]:
        """Return a sentence on each reason why something could not become a prompt."""
        if self.wrong_source:
            return [f"Nothing begins with what was asked for: {self.wrong_source}"]
        reasons = Counter(each.why for each in self.unusable)
        return [f'{count} of the regions of "{self.source}" begin nothing, {why}.' for why, count in reasons.items()]

    def sentences(self) -> list[str]:
        """Return what people want to know of it."""
        if self.wrong_source:
            return self.complaints()
        used = [each for made in self.objects for each in made.used]
        tied = Counter(how for _, _, how in used)
        by = ", ".join(f"{count} {_HOW[how]}" for how, count in tied.items())
        said = [
            f'{len(used)} of {len(used) + len(self.left_out)} regions of "{self.source}" are prompts of '
            f"{sum(bool(each.used) for each in self.objects)} objects{f' ({by})' if by else ''}."
        ]
        for each in self.objects:
            if each.used:
                frames = ", ".join(f"{frame} ({region_id})" for frame, region_id, _ in each.used)
                known = ", which was there," if each.is_known else ""
                said.append(f'Object {each.key} "{each.label or ""}"{known} begins on frames {frames}.')
        return [*said, *(f'Region "{each.region_id}" is left out, {each.why}.' for each in self.left_out)]


_HOW: Mapping[TiedBy, str] = {
    "id": "tied by an id",
    "label": "tied by a label that stands once a frame",
    "overlap": "tied by overlap (IoU)",
    "nothing": "tied to nothing",
}

_CARRIED_FRAME = 0
"""A chain's next task begins with what the task before ended with."""


@dataclass(eq=False)
class _Group:
    """Regions of one label that show one thing; `is_all`: they are all that have the label, once a frame."""

    key: str
    tied_by: TiedBy
    starts: list[StartingRegion]
    is_all: bool = False

    @property
    def frames(self) -> set[int]:
        return {start.region.frame for start in self.starts}


@dataclass(eq=False)
class _Begun:
    """An object that was begun already: by a human, or by the task before in the chain.

    Args:
        key, label: its own; the label as the page shows it.
        drawn: None where only the task before knows it.
        carried: where that ended with it, in fractions of the frame.
    """

    key: str
    label: str | None
    drawn: TaskObject[DrawnOrder] | None = None
    carried: Box | None = None
    added: list[tuple[StartingRegion, TiedBy]] = field(default_factory=list)

    def is_under(self, region: Region) -> bool:
        """Whether a region lies on it, on the region's frame."""
        bounds = _bounds(region)
        if bounds is None or region.shown_label != self.label:
            return False
        there = () if self.drawn is None else self.drawn.on_frame(region.frame)
        places = [place for each in there if (place := _bounds(each)) is not None]
        if self.carried is not None and region.frame == _CARRIED_FRAME:
            places.append(self.carried)
        if places:
            return max(_iou(bounds, place) for place in places) >= SAME_PLACE_IOU
        return any(each.point.positive and _holds(bounds, each.point) for each in there if each.point is not None)

    def can_go_on_on(self, frames: Collection[int]) -> bool:
        """Whether it has nothing on these frames, and was not looked for there."""
        if self.drawn is None:
            return _CARRIED_FRAME not in frames
        has = {region.frame for region in self.drawn.regions}
        return has.isdisjoint(frames) and all(
            region.source in (None, "prompt", "started") for region in self.drawn.regions
        )


def with_starting_regions(
    prompts: TaskPrompts[DrawnOrder],
    starts: Sequence[StartingRegion],
    unusable: Sequence[NotStarted],
    source: str,
    *,
    erased: Mapping[str, Collection[int]],
    dropped: Collection[str] = (),
    carried: Mapping[str, tuple[str | None, Box]] | None = None,
) -> tuple[TaskPrompts[DrawnOrder], StartReport]:
    """Add what was there already to the prompts of a task.

    Args:
        prompts: what humans said.
        starts, unusable: of `starting_regions`.
        source: for the report.
        erased: object key -> frames on which a human took its mask away.
        dropped: the keys of objects that a human took away wholly.
        carried: key -> (label, box in fractions) of the objects that the task before in the chain ended with.
    """
    begun = [_Begun(each.key, each.regions[0].shown_label, each) for each in prompts.objects]
    own = {each.key for each in begun}
    begun += [_Begun(key, label, None, box) for key, (label, box) in (carried or {}).items() if key not in own]
    new = [made for group in _groups(starts) if (made := _gone_on(group, begun)) is not None]
    objects: list[TaskObject[DrawnOrder]] = []
    told: list[StartedObject] = []
    gave_way: list[NotStarted] = []
    for each in (*begun, *new):
        used, not_used = _chosen(each, erased.get(each.key, ()), is_dropped=each.key in dropped)
        gave_way += not_used
        objects += _object(each, [start.region for start, _ in used], len(objects) + 1)
        if each.added:
            is_known = each.drawn is not None or each.carried is not None
            frames = tuple((start.region.frame, start.region.region_id, how) for start, how in used)
            told.append(StartedObject(each.key, each.label, is_known, frames))
    return replace(prompts, objects=tuple(objects)), StartReport(source, tuple(told), tuple(unusable), tuple(gave_way))


def _object(each: _Begun, added: list[Region], number: int) -> list[TaskObject[DrawnOrder]]:
    if each.drawn is not None:
        drawn = each.drawn
        return [TaskObject(each.key, DrawnOrder(number), drawn.label, (*drawn.regions, *added), drawn.identity)]
    return [TaskObject(each.key, DrawnOrder(number), added[0].label, tuple(added))] if added else []


def _groups(starts: Sequence[StartingRegion]) -> list[_Group]:
    """Tie regions to each other."""
    groups: dict[str, _Group] = {}
    untied: dict[str | None, list[StartingRegion]] = {}
    for start in starts:
        if start.track_key is None:
            untied.setdefault(start.region.shown_label, []).append(start)
        else:
            groups.setdefault(start.track_key, _Group(start.track_key, "id", [])).starts.append(start)
    found = list(groups.values())
    for of_label in untied.values():
        stands_once = max(Counter(start.region.frame for start in of_label).values()) == 1
        found += [replace(_named(of_label, "label"), is_all=True)] if stands_once else _overlapping(of_label)
    return found


def _named(starts: Sequence[StartingRegion], tied_by: TiedBy) -> _Group:
    """Return a group with the key of its first region."""
    ordered = sorted(starts, key=lambda start: start.region.frame)
    return _Group(object_key(ordered[0].region.region_id), tied_by if len(ordered) > 1 else "nothing", ordered)


def _overlapping(starts: Sequence[StartingRegion]) -> list[_Group]:
    """Tie regions of one label where they overlap from frame to frame."""
    ordered = sorted(starts, key=lambda start: start.region.frame)
    by_frame: dict[int, list[int]] = {}
    for index, start in enumerate(ordered):
        by_frame.setdefault(start.region.frame, []).append(index)
    frames = list(by_frame.values())
    boxes = np.array([_bounds(start.region) or (0.0, 0.0, 0.0, 0.0) for start in ordered])
    pairs = []
    for here, of_frame in enumerate(frames):
        for later in range(here + 1, min(here + 2 + MOST_FRAMES_MISSED, len(frames))):
            ious = _ious(boxes[of_frame], boxes[frames[later]])
            for row, column in zip(*np.nonzero(ious >= OVERLAP_IOU), strict=True):
                pairs.append((later - here, -float(ious[row, column]), of_frame[row], frames[later][column]))
    group_of = {index: [index] for index in range(len(ordered))}
    frames_of = {index: {start.region.frame} for index, start in enumerate(ordered)}  # of the group of that first index
    for _, _, one, other in sorted(pairs):
        a, b = sorted((group_of[one], group_of[other]), key=len, reverse=True)
        if frames_of[a[0]].isdisjoint(frames_of[b[0]]):
            frames_of[a[0]] |= frames_of[b[0]]
            a += b
            group_of.update(dict.fromkeys(b, a))
    distinct = {id(group): group for group in group_of.values()}
    return [_named([ordered[each] for each in sorted(group)], "overlap") for group in distinct.values()]


def _gone_on(group: _Group, begun: Sequence[_Begun]) -> _Begun | None:
    """Give regions of one thing to the objects that were begun; or return a new one, which has them."""
    keys = {group.key, *(object_key(start.region.region_id) for start in group.starts)}
    under = [(start, next((each for each in begun if each.is_under(start.region)), None)) for start in group.starts]
    found = [(start.region.frame, each) for start, each in under if each is not None]
    owner = next((each for each in begun if each.key in keys), None)
    new: _Begun | None = None
    if owner is None and not found:
        label = group.starts[0].region.shown_label
        of_label = [each for each in begun if each.label == label]
        goes_on = group.is_all and len(of_label) == 1 and of_label[0].can_go_on_on(group.frames)
        owner = of_label[0] if goes_on else (new := _Begun(group.key, label))
    for start, on_the_spot in under:
        frame = start.region.frame
        each = owner or on_the_spot or min(found, key=lambda item: abs(item[0] - frame))[1]
        each.added.append((start, group.tied_by))
    return new


def _chosen(
    each: _Begun, erased: Collection[int], *, is_dropped: bool
) -> tuple[list[tuple[StartingRegion, TiedBy]], list[NotStarted]]:
    """Return which of an object's added regions become prompts, by frame, and which do not."""
    chosen: dict[int, tuple[StartingRegion, TiedBy]] = {}
    left_out = []
    for start, how in sorted(each.added, key=lambda item: (item[0].region.frame, -(item[0].region.score or 0.0))):
        frame = start.region.frame
        there = () if each.drawn is None else each.drawn.on_frame(frame)
        if is_dropped and each.drawn is None:
            why = "because a human deleted all masks of its object"
        elif frame in erased:
            why = f"because a human deleted the object's mask on frame {frame}"
        elif any(region.is_keyframe or not region.is_mask for region in there):
            why = f"because on frame {frame} the object has a human's prompt or mask, or an accepted one"
        elif each.carried is not None and frame == _CARRIED_FRAME:
            why = "because the task before in the chain ends with its object"
        elif frame in chosen:
            why = f"because its object has another one on frame {frame}"
        else:
            chosen[frame] = (start, how)
            continue
        left_out.append(NotStarted(start.region.region_id, why))
    return list(chosen.values()), left_out


def _bounds(region: Region) -> Box | None:
    try:
        return region.bounds
    except PayloadError:  # it is named where it is read
        return None


def _iou(a: Box, b: Box) -> float:
    return float(_ious(np.array([a]), np.array([b]))[0, 0])


def _ious(ones: NDArray[np.float64], others: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return the IoU of each box with each of the others: (n, 4) and (m, 4) -> (n, m)."""
    low = np.maximum(ones[:, None, :2], others[None, :, :2])
    high = np.minimum(ones[:, None, 2:], others[None, :, 2:])
    both = np.prod(np.maximum(high - low, 0), axis=2)
    areas = [np.prod(boxes[:, 2:] - boxes[:, :2], axis=1) for boxes in (ones, others)]
    union = areas[0][:, None] + areas[1][None, :] - both
    found: NDArray[np.float64] = np.divide(both, union, out=np.zeros_like(both), where=union > 0)
    return found


def _holds(box: Box, point: FractionPoint) -> bool:
    return box[0] <= point.x <= box[2] and box[1] <= point.y <= box[3]
