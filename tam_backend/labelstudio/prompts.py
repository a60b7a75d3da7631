"""A task and what was just clicked on it -> objects with prompts.

The editor tells what was clicked in `context`: all prompts of one type and one label that have not been accepted yet,
on all pages, the newest last. Everything else stands in the newest draft or annotation, which may be up to 5 s old.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Container, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, cast

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import InvalidPromptError, PayloadError, PromptOffFrameError, RegionError
from tam_backend.labelstudio.annotators import annotator_of, author_of
from tam_backend.labelstudio.attributes import related
from tam_backend.labelstudio.config import ControlKind, LabelingConfig, Media, MediaKind
from tam_backend.labelstudio.gestures import Gesture, object_labels, read_gesture
from tam_backend.labelstudio.identity import read_identity
from tam_backend.labelstudio.objects import TaskObject
from tam_backend.labelstudio.regions import Region, read_regions
from tam_backend.labelstudio.usable import group_usable, read_click, refuse_ordinary, told_apart_if_usable
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.types import BoolMask, Box, EncodedMask, Prompt

_PROMPT_KINDS = (ControlKind.POINT, ControlKind.BOX)
_OFF_FRAME_TOLERANCE = 0.01  # of the frame: what the editor's rounding may put outside
_EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True, eq=False)
class Asked:
    """What a smart click wants: one object.

    Args:
        object: its prompts are those of the click and, on the same frame, of the other type.
        frame: the page of the newest prompt, from 0; None for a video box (the whole track is wanted).
    """

    object: TaskObject
    frame: int | None


@dataclass(frozen=True, eq=False)
class TaskPrompts:
    """What is known of one media of a task.

    Args:
        media: what the prompts lie on.
        objects: in the order of drawing; their ids are 1, 2, ..
        asked: the object that was just clicked; None in a batch call, for a propagate click, and after the last prompt
            was deleted.
        propagate: the click wants masks of all objects on all frames.
        whose: the author of the draft or annotation that was read (`annotators.author_of`); None where it is not known.
        held: the ids of the regions that stand in the editor, as far as the draft tells.
        related: the ids of those that a relation speaks of.
        left_out: what is wrong with regions that cannot be used; the others can.
    """

    media: Media
    objects: tuple[TaskObject, ...]
    asked: Asked | None
    propagate: bool
    whose: str | None = None
    held: frozenset[str] = frozenset()
    related: frozenset[str] = frozenset()
    left_out: tuple[RegionError, ...] = ()

    def ours_on(self, each: TaskObject, frame: int) -> Region | None:
        """Return our mask of an object on a frame that stands in the editor: what an answer there would replace."""
        key = each.key_on(frame)
        ours = [r for r in each.on_frame(frame) if r.is_mask and r.own_key == key and r.region_id in self.held]
        return ours[-1] if ours else None


@dataclass(frozen=True)
class Saved:
    """What a smart click tells of the saving of its draft or annotation.

    Args:
        stamp: changes whenever it is saved anew; "" where nothing was ever saved.
        at: when, by Label Studio's clock: to be compared with times of that clock only.
        ids: of the regions in it.
    """

    stamp: str
    at: datetime
    ids: frozenset[str]


def read_task(
    task: Mapping[str, Any],
    context: Mapping[str, Any] | None,
    config: LabelingConfig,
    *,
    propagate_label: str,
    unsaved: Sequence[Mapping[str, Any]] = (),
    sent: Mapping[tuple[str, int], Collection[str]] | None = None,
    medium: Media | None = None,
) -> TaskPrompts:
    """Read one task of a /predict call.

    Args:
        task: as Label Studio sends it: data, drafts, annotations.
        context: `params.context` of the call; None in a batch call.
        config: of the task's project. What was saved of points and boxes counts where their tag is smart="true"; a
            click counts whatever the tag says, unless it says smart="false": only a smart tool sends one.
        propagate_label: a prompt with this label (in any case) means: all objects, all frames.
        unsaved: results that this annotator was answered with, newest last: they may have been accepted but not be in
            the draft yet. Those that the draft has are ignored.
        sent: the masks that this task was sent, for `edits.told_apart`.
        medium: the one to read; default: what was clicked, without a click the first of `drawn_media`.

    Raises:
        PayloadError: malformed JSON, or a click that cannot be understood. Other regions that cannot are left out.
        LabelConfigError: the click was made with a tag of smart="false".
    """
    if not isinstance(task, Mapping):
        raise PayloadError("The task is not an object.", "Send Label Studio's own JSON.")
    faults: list[RegionError] = []
    clicked = read_click(_context_results(context), config, faults)
    entry = _newest(task, prefer_drafts=context is not None)
    saved = read_regions(_results(entry), config, faults)
    media = medium or _media(config, clicked, saved)
    clicked = tuple(region for region in clicked if region.control.to_name == media.name)
    refuse_ordinary(clicked)
    known = {region.region_id for region in saved}
    fresh = {region.region_id: region for region in read_regions(unsaved, config) if region.region_id not in known}
    saved = tuple(
        region
        for region in (*saved, *fresh.values())
        if region.control.to_name == media.name and (region.is_mask or region.control.smart)
    )

    def wants_propagation(region: Region) -> bool:
        shown = (*region.labels, *map(region.control.shows, region.labels))
        return any(text is not None and text.casefold() == propagate_label.casefold() for text in shown)

    newest = clicked[-1] if clicked else None
    propagate = newest is not None and wants_propagation(newest)
    if newest is None or propagate:
        # A click needs none of this: where it lies, a mask is its hint whoever made it.
        saved = tuple(
            told for region in saved if (told := told_apart_if_usable(region, sent or {}, faults)) is not None
        )
    known_labels = object_labels(config, media)
    identity = read_identity(_results(entry), saved, faults)
    regions = [
        _with_gesture(identity.told(region), known_labels)
        for region in (*_without_stale(saved, clicked), *clicked)
        if not wants_propagation(region)
    ]
    objects = group_usable(regions, None if newest is None or propagate else regions[-1], faults, identity)
    asked = None
    if newest is not None and not propagate:
        owner = next(obj for obj in objects if regions[-1] in obj.regions)
        asked = Asked(owner, None if media.kind is MediaKind.VIDEO else newest.frame)
    whose = None if entry is None else author_of(entry)
    related_ids = related(_results(entry))
    return TaskPrompts(media, objects, asked, propagate, whose, frozenset(known), related_ids, tuple(faults))


def drawn_media(
    task: Mapping[str, Any], config: LabelingConfig, context: Mapping[str, Any] | None = None
) -> tuple[Media, ...]:
    """Return what has to be looked at for all masks of a task: the media that are drawn on, in the page's order.

    Args:
        task, config: see `read_task`.
        context: of the click that asks for it, on what was clicked too; None in a batch call.

    Raises:
        PayloadError: malformed JSON.
    """
    if not isinstance(task, Mapping):
        raise PayloadError("The task is not an object.", "Send Label Studio's own JSON.")
    saved = _results(_newest(task, prefer_drafts=context is not None))
    drawn = (*read_regions(saved, config, []), *read_regions(_context_results(context), config, []))
    drawn_on = {region.control.to_name for region in drawn}
    return tuple(media for media in config.media if media.name in drawn_on)


def _with_gesture(region: Region, known_labels: Collection[str]) -> Region:
    """Return a prompt with the label of the object that it speaks of."""
    if region.kind not in _PROMPT_KINDS:
        return region
    for label in (region.label, region.shown_label):
        gesture, of_object = read_gesture(label, known_labels)
        if gesture is not Gesture.GUESSED and of_object is not None:
            return replace(region, gesture=gesture, labels=(of_object,))
    return region


def how_saved(task: Mapping[str, Any]) -> Saved:
    """Return how the draft or annotation that a smart click is read with was saved."""
    entry = _newest(task, prefer_drafts=True)
    if entry is None:
        return Saved("", _EPOCH, frozenset())
    results = entry.get("result")
    listed = results if isinstance(results, (list, tuple)) else ()
    ids = frozenset(str(result["id"]) for result in listed if isinstance(result, Mapping) and "id" in result)
    stamp = f"{entry.get('id')} {entry.get('updated_at') or entry.get('created_at')}".encode("utf-8", "surrogatepass")
    return Saved(hashlib.blake2b(stamp, digest_size=16).hexdigest(), _time(entry), ids)


def _context_results(context: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    if context is None:
        return ()
    if not isinstance(context, Mapping):
        raise PayloadError("The context is not an object.", "Send Label Studio's own JSON.")
    results = context.get("result")
    return () if results is None else cast(Sequence[Mapping[str, Any]], results)


def _newest(task: Mapping[str, Any], *, prefer_drafts: bool) -> Mapping[str, Any] | None:
    """Return the newest draft or annotation that can be on the screen; None where there is none.

    A draft stands for its annotation: Label Studio deletes it when the annotation is saved. Drafts are those of the
    human who clicks, so where there are some, other people's annotations are not what is on the screen.
    """
    drafts = _entries(task, "drafts") if prefer_drafts else []
    annotations = [entry for entry in _entries(task, "annotations") if not entry.get("was_cancelled")]
    redrafted = [draft["annotation"] for draft in drafts if draft.get("annotation") is not None]
    annotator = annotator_of(task) if prefer_drafts else None
    annotations = [
        entry
        for entry in annotations
        if entry.get("id") not in redrafted and (annotator is None or author_of(entry) in (None, annotator))
    ]
    # max() takes the first of equals: a draft before an annotation.
    return max((*drafts, *annotations), key=_time, default=None)


def _results(entry: Mapping[str, Any] | None) -> Sequence[Mapping[str, Any]]:
    results = None if entry is None else entry.get("result")
    return () if results is None else cast(Sequence[Mapping[str, Any]], results)


def _entries(task: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
    entries = task.get(key)
    if entries is None:
        return []
    if not isinstance(entries, (list, tuple)) or not all(isinstance(entry, Mapping) for entry in entries):
        raise PayloadError(f"The task's {key} are not a list of objects.", "Send Label Studio's own JSON.")
    return list(entries)


def _time(entry: Mapping[str, Any]) -> datetime:
    for key in ("updated_at", "created_at"):
        value = entry.get(key)
        if isinstance(value, str):
            try:
                time = datetime.fromisoformat(value.replace("Z", "+00:00"))
            except ValueError:
                continue
            return time if time.tzinfo else time.replace(tzinfo=timezone.utc)
    return _EPOCH


def _media(config: LabelingConfig, clicked: Sequence[Region], saved: Sequence[Region]) -> Media:
    """Return what was clicked; without a click the first media that holds regions, or that takes an answer."""
    if clicked:
        names = [clicked[-1].control.to_name]
    else:
        drawn_on = {region.control.to_name for region in saved}
        names = [media.name for media in config.media if media.name in drawn_on]
        names += [m.name for m in config.media if config.mask_output(m) or config.box_output(m)]
    return next(media for media in config.media if media.name == names[0])


def _without_stale(saved: Sequence[Region], clicked: Sequence[Region]) -> list[Region]:
    """Return the saved regions without those that the click shows to be outdated.

    The context is complete for its type and label. A saved prompt of that type and label which it lacks has been
    accepted or deleted since, and accepting deletes the prompts of all types: then none of that label can be relied on.
    A saved box that a clicked point of the label lies outside of (or the other way round) speaks of something else.
    """
    ids = {region.region_id for region in clicked}
    kept = [region for region in saved if region.region_id not in ids]
    if not clicked or clicked[-1].kind not in _PROMPT_KINDS:
        return kept
    shape, label = clicked[-1].control.shape, clicked[-1].shown_label
    same_label = [region for region in kept if region.shown_label == label and region.kind in _PROMPT_KINDS]
    stale = {region.region_id for region in same_label if region.control.shape == shape}
    for other in same_label:
        here = [region for region in clicked if region.frame == other.frame]
        if stale or any(_contradict(other, region) for region in here):
            stale.add(other.region_id)
    return [region for region in kept if region.region_id not in stale]


def _contradict(one: Region, other: Region) -> bool:
    """Whether a positive point lies outside a box."""
    box, point = one.box or other.box, one.point or other.point
    if box is None or point is None or not point.positive:
        return False
    x0, y0, x1, y1 = box.enclosing((1, 1))
    return not (x0 <= point.x <= x1 and y0 <= point.y <= y1)


def to_prompts(
    task_object: TaskObject,
    size_hw: tuple[int, int],
    *,
    frames: Container[int] | None = None,
    clock: VideoClock | None = None,
) -> list[Prompt]:
    """Return an object's prompts, one per frame, by frame, in pixels of a frame of that size.

    On frames and images: all points, the newest box, and the masks to track from (a human's, or our accepted answer to
    a human's prompt); several masks on one frame are united. Where there are points or a box, any mask of the object on
    that frame goes with them as a hint. An object of which nothing but propagated masks is left speaks through the best
    of them. On a video: the boxes that a human drew.

    Args:
        task_object: of `read_task`.
        size_hw: (height, width) of the frames as decoded.
        frames: only these (from 0); None = all.
        clock: needed for video boxes: their frames -> the file's.

    Raises:
        PromptOffFrameError: a point lies more than 1 % of the frame outside of it, or a box wholly.
        InvalidPromptError: a box without area.
        PayloadError: a mask that cannot be decoded.
    """
    if any(region.kind is ControlKind.VIDEO_BOX for region in task_object.regions):
        if clock is None:
            raise InvalidPromptError("Boxes on a video cannot be read without the video's frame rate and length.")
        prompts = _video_prompts(task_object, size_hw, clock)
    else:
        prompts = _frame_prompts(task_object, size_hw, frames)
    return [prompt for prompt in prompts if frames is None or prompt.frame in frames]


def with_what_it_adds_to(found: BoolMask, prompt: Prompt) -> BoolMask:
    """Return the mask that a prompt was answered with, with all of the object's mask that the prompt only adds to.

    That is so where all its points are positive and lie outside of that mask: that they speak of its object was
    guessed, and a guess takes nothing away.
    """
    there = prompt.mask
    if there is None or prompt.box is not None:
        return found
    height, width = there.shape
    if any(not positive or there[min(int(y), height - 1), min(int(x), width - 1)] for x, y, positive in prompt.points):
        return found
    both: BoolMask = found | there
    return both


def _frame_prompts(task_object: TaskObject, size_hw: tuple[int, int], frames: Container[int] | None) -> list[Prompt]:
    prompts = []
    for frame in sorted({region.frame for region in task_object.regions}):
        if frames is not None and frame not in frames:
            continue
        here = task_object.on_frame(frame)
        points = [_point_xy(region, size_hw) for region in here if region.point is not None]
        boxes = [_box_xyxy(region, size_hw) for region in here if region.box is not None]
        masks = [region for region in here if region.is_keyframe or (region.is_mask and (points or boxes))]
        if points or boxes or masks:
            prompts.append(
                Prompt(
                    task_object.object_id,
                    frame,
                    points,
                    boxes[-1] if boxes else None,
                    _union(masks, size_hw),
                    task_object.label,
                )
            )
    if prompts or frames is not None:
        return prompts
    best = max((r for r in task_object.regions if r.is_mask), key=lambda r: r.score or 0.0)
    mask = _union([best], size_hw)
    return [Prompt(task_object.object_id, best.frame, mask=mask, label=task_object.label)]


def _video_prompts(task_object: TaskObject, size_hw: tuple[int, int], clock: VideoClock) -> list[Prompt]:
    keyframes = [(region, keyframe) for region in task_object.regions for keyframe in region.keyframes]
    by_human = [item for item in keyframes if item[1].by_human] or keyframes[:1]
    boxes = {
        clock.index_of_video_frame(keyframe.frame): _clip(keyframe.box.enclosing(size_hw), size_hw, region)
        for region, keyframe in by_human
    }
    return [
        Prompt(task_object.object_id, index, box=box, label=task_object.label) for index, box in sorted(boxes.items())
    ]


def _point_xy(region: Region, size_hw: tuple[int, int]) -> tuple[float, float, bool]:
    point = region.point
    if point is None:
        raise InvalidPromptError(f'Region "{region.region_id}" has no point.')
    if not all(-_OFF_FRAME_TOLERANCE <= value <= 1 + _OFF_FRAME_TOLERANCE for value in (point.x, point.y)):
        raise PromptOffFrameError(
            f'The point "{region.region_id}" lies outside frame {region.frame} '
            f"({100 * point.x:.1f} % of the width, {100 * point.y:.1f} % of the height).",
            "Delete it and click on the image.",
        )
    height, width = size_hw
    x, y = (min(max(v * size, 0.0), size - 1.0) for v, size in ((point.x, width), (point.y, height)))
    return x, y, point.positive


def _box_xyxy(region: Region, size_hw: tuple[int, int]) -> Box:
    if region.box is None:
        raise InvalidPromptError(f'Region "{region.region_id}" has no box.')
    return _clip(region.box.enclosing(size_hw), size_hw, region)


def _clip(box: Box, size_hw: tuple[int, int], region: Region) -> Box:
    """Return the part of a box that lies on the frame: an object that leaves the frame has a box that does."""
    height, width = (float(size) for size in size_hw)
    x0, x1 = (min(max(value, 0.0), width) for value in (box[0], box[2]))
    y0, y1 = (min(max(value, 0.0), height) for value in (box[1], box[3]))
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
        raise PromptOffFrameError(
            f'The box "{region.region_id}" lies outside the frame.', "Delete it and draw it on the image."
        )
    if x1 <= x0 or y1 <= y0:
        raise InvalidPromptError(f'The box "{region.region_id}" has no area.', "Delete it and draw a larger one.")
    return x0, y0, x1, y1


def _union(regions: Sequence[Region], size_hw: tuple[int, int]) -> BoolMask | EncodedMask | None:
    encoded = [region.encoded_mask for region in regions if region.encoded_mask is not None]
    if len(encoded) == 1 and encoded[0].size_hw == tuple(size_hw):
        return encoded[0]  # as nearly always: nothing has to be decoded
    masks = [resized(mask.array, size_hw) for mask in encoded]
    return np.logical_or.reduce(masks) if masks else None


def resized(mask: BoolMask, size_hw: tuple[int, int]) -> BoolMask:
    """Return a mask at another (height, width), by the nearest pixel: as it was drawn on a scaled copy of the frame."""
    if mask.shape == tuple(size_hw):
        return mask
    rows, columns = (_nearest(new, old) for new, old in zip(size_hw, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def _nearest(new: int, old: int) -> NDArray[np.int64]:
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)
