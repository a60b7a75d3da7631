"""Regions -> objects: which regions of a task are the same thing.

Label Studio knows regions, not objects. Regions that we made carry their object's key in their id, boxes of a dataset
in their meta. What a human drew
is grouped within its label:

1. A mask or a box on a frame where the object has none yet continues that object; of several, the nearest one (two
   regions of one label on one frame are two objects). A box over an object's mask or box on the same frame joins it.
2. The points of one label on one frame are one prompt. It belongs to the object whose mask or box on that frame its
   first point lies in, or just beside; a negative first point to the nearest one, since nothing begins with "not here".
   Otherwise it continues the one object of that label that has nothing on that frame. Otherwise a new object begins.
3. An object that was tracked, and has nothing on a frame, is not there: it left, or its masks were deleted. No point
   continues it there, and no mask or box that is drawn far from where it was last.
4. What was drawn with the gesture "new object" (labelstudio/gestures.py) is a new one, whatever it lies in; what was
   drawn with "same object" continues the nearest one of the label.

5. Objects of which people said that they are one are one, and a mask is the object's that they said
   (labelstudio/identity.py).

A new object's key comes from its first region, in the order of drawing, so it stays while prompts are added.
"""

from __future__ import annotations

import math
from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np

from tam_backend.labelstudio.config import ControlKind
from tam_backend.labelstudio.gestures import Gesture
from tam_backend.labelstudio.identity import NOTHING_SAID, Identity
from tam_backend.labelstudio.ids import object_key
from tam_backend.labelstudio.regions import Region
from tam_backend.labelstudio.shapes import FractionPoint
from tam_backend.types import BoolMask, Box, DrawnOrder

_SAME_BOX_IOU = 0.5
_TRACKED = ("propagated", "refined")
_NEAR = 0.15
"""How far outside an object's mask a point may lie and still speak of it, as a part of the larger side of the mask's
bounds: a missing ear lies outside the mask that it is missing from."""
_NEAR_ON_FRAME = 0.025
"""The same, as a part of the frame's larger side: beside something large there may lie another thing."""
_SAME_PLACE = 1.0
"""How far from its nearest mask in time a tracked object may be drawn again, in parts of that mask's larger side."""


ObjectId_co = TypeVar("ObjectId_co", bound=int, covariant=True)
OtherId = TypeVar("OtherId", bound=int)


@dataclass(frozen=True, eq=False)
class TaskObject(Generic[ObjectId_co]):
    """One object of a task.

    Args:
        key: names it in Label Studio's ids; the same in every call.
        object_id: its `DrawnOrder` where the task was only read; its `LastingId` where what we remember was looked up.
        label: of its first region.
        regions: its regions in the order of drawing.
        identity: what people said of the task's objects.
    """

    key: str
    object_id: ObjectId_co
    label: str | None
    regions: tuple[Region, ...]
    identity: Identity = NOTHING_SAID

    def known_as(self, object_id: OtherId) -> TaskObject[OtherId]:
        """Return it under another id."""
        return TaskObject(self.key, object_id, self.label, self.regions, self.identity)

    def key_on(self, frame: int) -> str:
        """Return the key in the id of its mask on a frame (from 0): its own, unless people said otherwise."""
        there = [region.own_key for region in self.on_frame(frame) if region.is_mask and region.own_key is not None]
        return there[-1] if there else self.identity.key_on(self.key, frame)

    def on_frame(self, frame: int) -> tuple[Region, ...]:
        """Return its regions on a frame (from 0)."""
        return tuple(region for region in self.regions if region.frame == frame)

    def score_on(self, frame: int) -> float | None:
        """Return the score that its mask on a frame has: what we said of it when it answered a click."""
        scores = [region.score for region in self.on_frame(frame) if region.is_mask and region.score is not None]
        return scores[-1] if scores else None

    @property
    def human_frames(self) -> frozenset[int]:
        """The frames (from 0) whose mask a human drew or changed: leave them out of answers."""
        return frozenset(region.frame for region in self.regions if region.is_humans_mask)

    @property
    def region_id(self) -> str:
        """The id of its first region; of a video box: the id to answer with."""
        return self.regions[0].region_id


class _Group:
    """An object while it is being put together."""

    def __init__(self, first: Region, key: str | None = None) -> None:
        self.label = first.label
        self.shown_label = first.shown_label
        self.key = key
        self.members: list[tuple[int, Region]] = []
        self.by_frame: dict[int, list[Region]] = {}
        self.was_tracked = False
        """Whether masks that were tracked are left of it: it was looked for on all frames."""
        self._frames: list[int] = []

    def add(self, place: int, region: Region) -> None:
        self.members.append((place, region))
        if region.frame not in self.by_frame:
            insort(self._frames, region.frame)
        self.by_frame.setdefault(region.frame, []).append(region)
        self.was_tracked = self.was_tracked or region.source in _TRACKED

    def shapes(self, frame: int) -> list[Region]:
        return [region for region in self.by_frame.get(frame, ()) if region.kind is not ControlKind.POINT]

    def nearest_in_time(self, frame: int) -> Region:
        after = bisect_left(self._frames, frame)
        near = self._frames[max(after - 1, 0) : after + 1]
        return self.by_frame[min(near, key=lambda other: abs(other - frame))][0]


def group_objects(regions: Sequence[Region], identity: Identity = NOTHING_SAID) -> tuple[TaskObject[DrawnOrder], ...]:
    """Return the objects that these regions of one media make, in the order of drawing.

    Args:
        regions: of one media.
        identity: what people said of their objects.

    Raises:
        PayloadError: a mask that has to be looked at cannot be decoded.
    """
    groups: list[_Group] = []
    by_key: dict[str, _Group] = {}
    drawn: dict[str | None, list[tuple[int, Region]]] = {}
    for place, region in enumerate(regions):
        has_key = region.own_key is not None or region.belongs_to is not None
        if not has_key and region.kind is not ControlKind.VIDEO_BOX:
            drawn.setdefault(region.shown_label, []).append((place, region))
            continue
        key = region.belongs_to or object_key(region.region_id)
        if key not in by_key:
            by_key[key] = _Group(region, key)
            groups.append(by_key[key])
        by_key[key].add(place, region)
    groups = _united(groups, identity)
    for label, items in drawn.items():
        groups += _group_label(items, [group for group in groups if group.shown_label == label])
    groups = _united(groups, identity)  # what was drawn by hand is in a group now
    for group in groups:
        group.members.sort(key=lambda member: member[0])
    groups.sort(key=lambda group: group.members[0][0])
    return tuple(
        TaskObject(
            group.key or object_key(group.members[0][1].region_id),
            DrawnOrder(number),
            group.label,
            tuple(region for _, region in group.members),
            identity,
        )
        for number, group in enumerate(groups, start=1)
    )


def _united(groups: list[_Group], identity: Identity) -> list[_Group]:
    """Return the groups with those put into one of which people said that they are one object."""
    for pair in identity.same:
        one = [group for group in groups if any(region.region_id in pair for _, region in group.members)]
        one.sort(key=lambda group: min(place for place, _ in group.members))
        for other in one[1:]:
            for place, region in other.members:
                one[0].add(place, region)
            groups = [group for group in groups if group is not other]
    return groups


def _group_label(drawn: list[tuple[int, Region]], known: list[_Group]) -> list[_Group]:
    """Put what a human drew with one label into the known groups of that label; return the new ones."""
    groups = list(known)
    frames: dict[int, list[tuple[int, Region]]] = {}
    for item in _without_gestures(drawn, groups):
        frames.setdefault(item[1].frame, []).append(item)
    for frame, items in frames.items():
        _match([item for item in items if item[1].is_mask], frame, groups)
        boxes: list[tuple[int, Region]] = []
        over: list[tuple[int, Region]] = []
        for place, region in items:
            if region.kind is ControlKind.BOX:
                drawn_over = _covered_by(region, frame, groups) or any(_same_place(region, box) for _, box in boxes)
                (over if drawn_over else boxes).append((place, region))
        _match(boxes, frame, groups)
        for place, region in over:
            covered = _covered_by(region, frame, groups)
            if covered is not None:
                covered.add(place, region)
    # Points last, so that a frame's shapes are known whichever was drawn first.
    for frame, items in frames.items():
        points = [item for item in items if item[1].kind is ControlKind.POINT]
        if points:
            group = _group_of_points(points[0][1], frame, [each for each in groups if not _is_begun(each)])
            if group is None:
                group = _Group(points[0][1])
                groups.append(group)
            for place, region in points:
                group.add(place, region)
    return groups[len(known) :]


def _without_gestures(drawn: list[tuple[int, Region]], groups: list[_Group]) -> list[tuple[int, Region]]:
    """Put what says itself which object it speaks of into the groups, and return the rest."""
    begun = [item for item in drawn if item[1].gesture is Gesture.NEW]
    continued = [item for item in drawn if item[1].gesture is Gesture.SAME and groups]
    for place, region in continued:
        _nearest_of(region, groups).add(place, region)
    if begun:
        # Accepting an answer takes its prompts away; so what there is of them speaks of one object. Its mask may be
        # there already, with the key that the first prompt gave it.
        key = object_key(begun[0][1].region_id)
        group = next((each for each in groups if each.key == key), None)
        if group is None:
            group = _Group(begun[0][1])
            groups.append(group)
        for place, region in begun:
            group.add(place, region)
    return [item for item in drawn if item not in begun and item not in continued]


def _match(drawn: list[tuple[int, Region]], frame: int, groups: list[_Group]) -> None:
    """Give each region to the nearest object that has nothing on the frame; the rest begin new ones."""
    free = [group for group in groups if frame not in group.by_frame and not _is_begun(group)]
    rest = dict(enumerate(drawn))
    for row, column in _pairs([region for _, region in drawn], [group.nearest_in_time(frame) for group in free]):
        if not free[column].was_tracked or _is_near(rest[row][1], free[column].nearest_in_time(frame)):
            free[column].add(*rest.pop(row))
    for item in rest.values():
        groups.append(_Group(item[1]))
        groups[-1].add(*item)


def _pairs(drawn: list[Region], there: list[Region]) -> list[tuple[int, int]]:
    """Return indices of pairs, each region in one at most, the nearest centres first."""
    if not drawn or not there:
        return []
    if len(drawn) == len(there) == 1:
        return [(0, 0)]  # no need to decode masks
    distances = np.linalg.norm(
        np.array([_centre(region) for region in drawn])[:, None] - np.array([_centre(region) for region in there]),
        axis=2,
    )
    pairs: list[tuple[int, int]] = []
    rows: set[int] = set()
    columns: set[int] = set()
    for flat in np.argsort(distances, axis=None, kind="stable"):
        row, column = divmod(int(flat), len(there))
        if row not in rows and column not in columns:
            pairs.append((row, column))
            rows.add(row)
            columns.add(column)
            if len(pairs) == min(len(drawn), len(there)):
                break
    return pairs


def _centre(region: Region) -> tuple[float, float]:
    if region.point is not None:
        return region.point.x, region.point.y
    bounds = region.bounds
    return ((bounds[0] + bounds[2]) / 2, (bounds[1] + bounds[3]) / 2) if bounds else (0.5, 0.5)


def _covered_by(box: Region, frame: int, groups: list[_Group]) -> _Group | None:
    """Return the object that this box is drawn over on its frame."""
    return next((group for group in groups if any(_same_place(box, region) for region in group.shapes(frame))), None)


def _same_place(one: Region, other: Region) -> bool:
    a, b = one.bounds, other.bounds
    if a is None or b is None:
        return False
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return False
    union = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height >= _SAME_BOX_IOU * union


def _is_begun(group: _Group) -> bool:
    return group.key is None and group.members[0][1].gesture is Gesture.NEW


def _nearest_of(region: Region, groups: list[_Group]) -> _Group:
    """Return the object that was nearest in time to a region's frame; of several, the one nearest in place."""

    def distance(group: _Group) -> tuple[int, float]:
        there = group.nearest_in_time(region.frame)
        (x, y), (other_x, other_y) = _centre(region), _centre(there)
        return abs(there.frame - region.frame), math.hypot(x - other_x, y - other_y)

    return min(groups, key=distance)


def _is_near(drawn: Region, there: Region) -> bool:
    """Whether a drawn shape can be what was there on another frame, by where their bounds lie."""
    a, b = drawn.bounds, there.bounds
    if a is None or b is None:
        return False
    apart = max(a[0] - b[2], b[0] - a[2], a[1] - b[3], b[1] - a[3], 0.0)
    return apart <= _SAME_PLACE * max(b[2] - b[0], b[3] - b[1])


def _group_of_points(first: Region, frame: int, groups: list[_Group]) -> _Group | None:
    point = first.point
    here = [(_gap(point, shapes), group) for group in groups if (shapes := group.shapes(frame))]
    if here and point is not None:
        gap, group = min(here, key=lambda item: item[0])
        if gap <= 1 or not point.positive:
            return group
    free = [group for group in groups if frame not in group.by_frame and not group.was_tracked]
    return free[0] if len(free) == 1 else None


def _gap(point: FractionPoint | None, shapes: list[Region]) -> float:
    """Return how far a point lies from an object's shapes: -1 within, up to 1 so near that it speaks of it."""
    return min((math.inf if point is None else _gap_to(point, region) for region in shapes), default=math.inf)


def _gap_to(point: FractionPoint, region: Region) -> float:
    bounds = region.bounds
    if bounds is None:
        return math.inf
    if region.is_mask and point.positive and region.size_hw is not None:
        # Whoever is too far from the bounds is too far from the mask: no need to decode it.
        gap = _gap_in_pixels(point, bounds, region.size_hw, None)
        if gap > 1:
            return gap
    mask = region.mask
    # In pixels of the mask; a box knows no pixels, and its frame is taken for a square one.
    return _gap_in_pixels(point, bounds, (1, 1) if mask is None else mask.shape, mask)


def _gap_in_pixels(point: FractionPoint, bounds: Box, size_hw: tuple[int, ...], mask: BoolMask | None) -> float:
    """Return `_gap` to a mask or, without it, to the bounds."""
    height, width = size_hw
    x, y = point.x * width, point.y * height
    left, top, right, bottom = (bounds[0] * width, bounds[1] * height, bounds[2] * width, bounds[3] * height)
    side = max(right - left, bottom - top)
    if mask is None:
        outside = max(left - x, x - right, top - y, y - bottom, 0.0)
    else:
        at = [round(edge) for edge in (left, top, right, bottom)]
        rows, columns = np.nonzero(mask[at[1] : at[3], at[0] : at[2]])
        rows, columns = rows + at[1], columns + at[0]
        outside = float(np.hypot(np.clip(x, columns, columns + 1) - x, np.clip(y, rows, rows + 1) - y).min())
    if outside == 0:
        return -1.0
    return outside / min(_NEAR * side, _NEAR_ON_FRAME * max(height, width)) if side > 0 else math.inf
