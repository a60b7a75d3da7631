"""A task and what was just clicked on it -> objects with prompts.

The editor tells what was clicked in `context`: all prompts of one type and one label that have not been accepted yet,
on all pages, the newest last. Everything else stands in the newest draft or annotation, which may be up to 5 s old.
Bad regions of that are left out and named; only a bad click is refused.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Any, Generic, cast

from tam_backend.errors import InvalidPromptError, LabelConfigError, PayloadError, RegionError
from tam_backend.labelstudio.annotators import annotator_of, author_of
from tam_backend.labelstudio.attributes import related
from tam_backend.labelstudio.config import ControlKind, LabelingConfig, Media, MediaKind
from tam_backend.labelstudio.edits import told_apart, with_origins
from tam_backend.labelstudio.gestures import Gesture, object_labels, read_gesture
from tam_backend.labelstudio.identity import Identity, read_identity
from tam_backend.labelstudio.objects import ObjectId_co, TaskObject, group_objects
from tam_backend.labelstudio.regions import Region, read_regions
from tam_backend.labelstudio.starting_regions import PREDICTIONS, others_results
from tam_backend.types import DrawnOrder, LastingId

_PROMPT_KINDS = (ControlKind.POINT, ControlKind.BOX)
_EPOCH = datetime.fromtimestamp(0, timezone.utc)


@dataclass(frozen=True, eq=False)
class Asked(Generic[ObjectId_co]):
    """What a smart click wants: one object.

    Args:
        object: its prompts are those of the click and, on the same frame, of the other type.
        frame: the page of the newest prompt, from 0; None for a video box (the whole track is wanted).
    """

    object: TaskObject[ObjectId_co]
    frame: int | None


@dataclass(frozen=True, eq=False)
class TaskPrompts(Generic[ObjectId_co]):
    """What is known of one media of a task.

    Args:
        media: what the prompts lie on.
        objects: in the order of drawing.
        asked: the object that was just clicked; None in a batch call, for a propagate click, and after the last prompt
            was deleted.
        propagate: the click wants masks of all objects on all frames.
        whose: the author of the draft or annotation that was read (`annotators.author_of`); None where it is not known.
        held: the ids of the regions that stand in the editor, as far as the draft tells.
        related: the ids of those that a relation speaks of.
        left_out: what is wrong with regions that cannot be used; the others can.
        ordinary: what was drawn by tags that neither prompt nor hold masks.
    """

    media: Media
    objects: tuple[TaskObject[ObjectId_co], ...]
    asked: Asked[ObjectId_co] | None
    propagate: bool
    whose: str | None = None
    held: frozenset[str] = frozenset()
    related: frozenset[str] = frozenset()
    left_out: tuple[RegionError, ...] = ()
    ordinary: tuple[Region, ...] = ()

    def lasting(self, ids: Mapping[str, LastingId]) -> TaskPrompts[LastingId]:
        """Translate the order of drawing into lasting ids: the one place where an object gets its.

        Args:
            ids: object key -> id; of all objects.
        """
        objects = tuple(each.known_as(ids[each.key]) for each in self.objects)
        asked = self.asked
        return TaskPrompts(
            self.media,
            objects,
            None if asked is None else Asked(asked.object.known_as(ids[asked.object.key]), asked.frame),
            self.propagate,
            self.whose,
            self.held,
            self.related,
            self.left_out,
            self.ordinary,
        )

    def ours_on(self, each: TaskObject[int], frame: int) -> Region | None:
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
) -> TaskPrompts[DrawnOrder]:
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
    clicked = _read_click(_context_results(context), config, faults)
    entry = _newest(task, prefer_drafts=context is not None)
    results = () if entry is None else with_origins(entry, task) or ()
    saved = read_regions(results, config, faults)
    media = medium or _media(config, clicked, saved)
    clicked = tuple(region for region in clicked if region.control.to_name == media.name)
    _refuse_ordinary(clicked)
    known = {region.region_id for region in saved}
    fresh = {region.region_id: region for region in read_regions(unsaved, config) if region.region_id not in known}
    there = [region for region in (*saved, *fresh.values()) if region.control.to_name == media.name]
    saved = tuple(region for region in there if region.is_mask or region.control.smart)
    ordinary = tuple(region for region in there if not region.is_mask and not region.control.smart)

    def wants_propagation(region: Region) -> bool:
        shown = (*region.labels, *map(region.control.shows, region.labels))
        return any(text is not None and text.casefold() == propagate_label.casefold() for text in shown)

    newest = clicked[-1] if clicked else None
    propagate = newest is not None and wants_propagation(newest)
    if newest is None or propagate:
        # A click needs none of this: where it lies, a mask is its hint whoever made it.
        saved = tuple(
            told for region in saved if (told := _told_apart_if_usable(region, sent or {}, faults)) is not None
        )
    known_labels = object_labels(config, media)
    identity = read_identity(results, saved, faults)
    regions = [
        _with_gesture(identity.told(region), known_labels)
        for region in (*_without_stale(saved, clicked), *clicked)
        if not wants_propagation(region)
    ]
    objects = _group_usable(regions, None if newest is None or propagate else regions[-1], faults, identity)
    asked = None
    if newest is not None and not propagate:
        owner = next(obj for obj in objects if regions[-1] in obj.regions)
        asked = Asked(owner, None if media.kind is MediaKind.VIDEO else newest.frame)
    whose = None if entry is None else author_of(entry)
    related_ids = related(results)
    return TaskPrompts(media, objects, asked, propagate, whose, frozenset(known), related_ids, tuple(faults), ordinary)


def drawn_media(
    task: Mapping[str, Any], config: LabelingConfig, context: Mapping[str, Any] | None = None, prompt_from: str = ""
) -> tuple[Media, ...]:
    """Return what has to be looked at for all masks of a task: the media that are drawn on, in the page's order.

    Args:
        task, config: see `read_task`.
        context: of the click that asks for it, on what was clicked too; None in a batch call.
        prompt_from: see `starting_regions`; where predictions of others are prompts, what they draw on counts.

    Raises:
        PayloadError: malformed JSON.
    """
    if not isinstance(task, Mapping):
        raise PayloadError("The task is not an object.", "Send Label Studio's own JSON.")
    saved = _results(_newest(task, prefer_drafts=context is not None))
    wants_predictions = PREDICTIONS in (prompt_from, *(media.prompt_from for media in config.media))
    others = others_results(task) if wants_predictions else ()
    drawn = [region for each in (saved, others, _context_results(context)) for region in read_regions(each, config, [])]
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


def _read_click(
    results: Sequence[Mapping[str, Any]], config: LabelingConfig, faults: list[RegionError]
) -> tuple[Region, ...]:
    """Return the regions of a smart click.

    Raises:
        RegionError: the newest one cannot be understood; what is wrong with older ones is put into `faults`.
        InvalidPromptError: nothing of it is a prompt that we know.
    """
    clicked = read_regions(results, config, faults)
    if faults and faults[-1].region_id == results[-1].get("id"):
        raise faults[-1]
    if results and not clicked:
        name, kind = (str(results[-1].get(key))[:80] for key in ("from_name", "type"))
        raise InvalidPromptError(
            f'The tag "{name}" drew "{kind}", which is no prompt that can be answered here.',
            "Prompt with KeyPoint, Rectangle, Ellipse or Polygon labels on an <Image>, VideoRectangle on a <Video>.",
        )
    return clicked


def _told_apart_if_usable(
    region: Region, sent: Mapping[tuple[str, int], Collection[str]], faults: list[RegionError]
) -> Region | None:
    """Do what `edits.told_apart` does; None for a mask that cannot be decoded, with the reason put into `faults`."""
    try:
        return told_apart(region, sent)
    except RegionError as error:
        faults.append(error)
        return None


def _group_usable(
    regions: Sequence[Region], asked: Region | None, faults: list[RegionError], identity: Identity
) -> tuple[TaskObject[DrawnOrder], ...]:
    """Return the objects of all regions that can be used: one mask that cannot be decoded must not refuse the others.

    Args:
        regions: of one media.
        asked: the click; None = the masks of all objects will be needed.
        faults: takes what is wrong with the others.
        identity: what people said of the objects.

    Raises:
        RegionError: the click itself cannot be used.
    """
    try:
        objects = group_objects(regions, identity)
        for each in objects:
            if asked is None or asked in each.regions:
                _decode(each, None if asked is None else asked.frame)
    except RegionError as error:
        if asked is not None and asked.region_id == error.region_id:
            raise
        faults.append(error)
        usable = [region for region in regions if region.region_id != error.region_id]
        return _group_usable(usable, asked, faults, identity)
    return objects


def _decode(each: TaskObject[int], frame: int | None) -> None:
    """Look at the masks that `to_prompts` will use, so that it finds no bad one.

    Raises:
        RegionError: one cannot be decoded.
    """
    masks = [region for region in each.regions if region.is_mask and frame in (None, region.frame)]
    for region in [region for region in masks if region.is_keyframe or frame is not None] or masks:
        _ = region.encoded_mask


def _refuse_ordinary(clicked: Sequence[Region]) -> None:
    """Raise LabelConfigError for a click with a tag that the config takes out of prompting."""
    for region in clicked[-1:]:
        if region.control.smart is False and not region.is_mask:
            raise LabelConfigError(
                f'The tag "{region.control.name}" is an ordinary one (smart="false"): it makes no mask.',
                'Set smart="true" on it in the labeling interface to prompt with it.',
            )
