"""A Label Studio task, read with what we remember of it: objects with lasting ids, and all prompts for the session."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from tam_backend.errors import InvalidInputError, LabelConfigError, RegionError, TamError
from tam_backend.export.outlines import LEAST_IOU
from tam_backend.labelstudio.attributes import SentSource, brought_along
from tam_backend.labelstudio.config import ControlKind, LabelingConfig, Media
from tam_backend.labelstudio.edits import frames_by_object, is_edit, mask_digest, value_digest
from tam_backend.labelstudio.identity import NOTHING_SAID, without_swaps
from tam_backend.labelstudio.ids import parse_result_id
from tam_backend.labelstudio.objects import TaskObject
from tam_backend.labelstudio.outputs import mask_output
from tam_backend.labelstudio.polygons import TOLERANCE_PX, decode_polygon, encode_polygon
from tam_backend.labelstudio.prompts import TaskPrompts, read_task
from tam_backend.labelstudio.prompts_in_pixels import resized, to_prompts
from tam_backend.labelstudio.regions import Region, mask_bounds, read_regions
from tam_backend.labelstudio.results import mask_results
from tam_backend.labelstudio.scores import task_score, worst_by_frame
from tam_backend.labelstudio.starting_objects import StartReport, with_starting_regions
from tam_backend.labelstudio.starting_regions import starting_regions, wrong_source
from tam_backend.store.task_memory import TaskMemories, TaskMemory
from tam_backend.types import BoolMask, Box, DrawnOrder, EncodedMask, FrameResult, LastingId, Prompt, Source

# A chain's next task begins with what the task before ended with.
_SEEDED_FRAME = 0

SizeOf = Callable[[int], tuple[int, int]]


@dataclass(frozen=True, eq=False)
class ReadTask:
    """What a task wants.

    Args:
        prompts: of the task, its objects with their lasting ids.
        memory: what was known when it was read.
        whose: the annotator who sees it so (`annotators.author_of`); None: several, or it is not known who.
        started: how what was there already became prompts; None where none was looked for.
    """

    prompts: TaskPrompts[LastingId]
    memory: TaskMemory
    whose: str | None = None
    started: StartReport | None = None

    @property
    def followed(self) -> tuple[TaskObject[LastingId], ...]:
        """All objects to be tracked, those that only the task before in the chain knows included."""
        own = self.prompts.objects
        keys = {each.key for each in own}
        return (
            *own,
            *(
                TaskObject(key, self.memory.object_ids[key], label, ())
                for key, (label, _) in self.memory.seeds.items()
                if key not in keys
            ),
        )

    def begins_chains(self, config: LabelingConfig) -> bool:
        """Whether the next task of a chain begins with this media's masks: it is the page's first that takes masks."""
        return _begins_chains(self.prompts.media, config)

    def _erased(self) -> dict[str, set[int]]:
        """Return where objects cannot be seen, by the objects' own keys."""
        identity = next((each.identity for each in self.prompts.objects), NOTHING_SAID)
        found: dict[str, set[int]] = {}
        for key, frames in self.memory.erased_for(self.whose).items():
            for frame in frames:
                found.setdefault(identity.owner(key, frame), set()).add(frame)
        return found

    def wanted(self, size_hw: tuple[int, int]) -> list[Prompt]:
        """Return all prompts of all objects, for frames of (height, width)."""
        prompts = [prompt for each in self.prompts.objects for prompt in to_prompts(each, size_hw)]
        said = {(prompt.object_id, prompt.frame) for prompt in prompts}
        nothing = EncodedMask.of(np.zeros(size_hw, np.bool_))
        erased = self._erased()
        for each in self.followed:
            seed = self.memory.seeds.get(each.key)
            if seed is not None and (each.object_id, _SEEDED_FRAME) not in said:
                mask = EncodedMask(seed[1].encode(), size_hw).array
                prompts.append(Prompt(each.object_id, _SEEDED_FRAME, mask=mask, label=each.label))
                said.add((each.object_id, _SEEDED_FRAME))
            prompts += [
                Prompt(each.object_id, frame, mask=nothing, label=each.label)
                for frame in sorted(erased.get(each.key, ()))
                if (each.object_id, frame) not in said
            ]
        return prompts


@dataclass(frozen=True)
class MaskAnswer:
    """Masks as Label Studio takes them.

    Args:
        results: JSON.
        score: of the task, by its worst stretches (labelstudio/scores.py); None without masks.
        digests: (object key, frame) -> digests of the mask, for `TaskMemory.with_sent`.
        left_out: why masks are not here: no tag has the object's label, or they would replace one in a relation.
    """

    results: Sequence[Mapping[str, Any]]
    score: float | None
    digests: Mapping[tuple[str, int], tuple[str, ...]]
    left_out: Sequence[TamError] = ()


def in_relation(frames: Sequence[int]) -> TamError:
    """Return the error for masks that the editor cannot replace.

    It holds the answer beside the region of the same id until the answer is accepted, and cannot tell then which of the
    two a relation speaks of: the whole page goes blank (Label Studio 1.23.2, without Auto-Accept Suggestions).
    """
    where = ", ".join(map(str, frames))
    return InvalidInputError(
        f"On frame {where} the mask is in a relation: Label Studio's editor cannot replace it, and it stays as it is.",
        "Correct it with brush and eraser, which keeps the relation; or delete the relation first.",
    )


def too_coarse(frames: Sequence[int]) -> TamError:
    """Return the error for masks in so many parts that one polygon shows less than 98 % of them."""
    where = ", ".join(map(str, frames))
    return InvalidInputError(
        f"On frame {where} a mask has more parts and holes than its polygon can show: less than 98 % of it is there.",
        "Use BrushLabels or BitmaskLabels for masks like that.",
    )


def read(
    task: Mapping[str, Any],
    context: Mapping[str, Any] | None,
    config: LabelingConfig,
    memories: TaskMemories,
    *,
    project: str,
    propagate_label: str,
    unsaved: Sequence[Mapping[str, Any]] = (),
    medium: Media | None = None,
    annotator: str | None = None,
    prompt_from: str = "",
    usual_prompt_from: str = "",
) -> ReadTask:
    """Read one medium of a task, and give objects that are new their ids.

    Args:
        task, context, config, propagate_label, unsaved: see `read_task`.
        memories: of all tasks.
        project: Label Studio's.
        annotator: who clicked (`annotators.annotator_of`); None: it is not known.
        medium: the one to read; see `read_task`.
        prompt_from: what else is prompted with, see `starting_regions`; "" = as the config says.
        usual_prompt_from: the same where the config does not say.

    Raises:
        PayloadError: see `read_task`.
    """
    number = str(task.get("id"))
    known = memories.get(project, number)
    prompts = read_task(
        task,
        context,
        config,
        propagate_label=propagate_label,
        unsaved=unsaved,
        sent=known.digests,
        medium=medium,
    )
    whose = prompts.whose if context is None else annotator
    started: StartReport | None = None
    source = prompt_from or prompts.media.prompt_from or usual_prompt_from
    if source and prompts.asked is None and (context is None or prompts.propagate):
        prompts, started = with_what_is_there(task, prompts, config, known, source, whose)
    keys = [each.key for each in prompts.objects]
    if not set(keys) <= known.object_ids.keys():
        known = memories.change(project, number, lambda memory: memory.with_objects(keys))
    # Whoever clicks sees their own work; a batch call is answered from the newest annotation, as its author sees it.
    found = ReadTask(prompts.lasting(known.object_ids), known, whose, started)
    return found if found.begins_chains(config) else replace(found, memory=replace(known, seeds={}))


def with_what_is_there(
    task: Mapping[str, Any],
    prompts: TaskPrompts[DrawnOrder],
    config: LabelingConfig,
    known: TaskMemory,
    source: str,
    whose: str | None,
) -> tuple[TaskPrompts[DrawnOrder], StartReport]:
    """Add to what humans said what is on the frames already, and tell how.

    Args:
        task: as Label Studio sends it.
        prompts: what humans said of one of its media.
        config: of its project.
        known: what is known of it.
        source: see `starting_regions`.
        whose: the annotator who sees it so; None: several.
    """
    starts, unusable = starting_regions(task, prompts.ordinary, config, prompts.media, source)
    size_hw = next((each.region.size_hw for each in starts if each.region.size_hw is not None), None)
    carried = _carried(known, size_hw) if size_hw is not None and _begins_chains(prompts.media, config) else {}
    found, report = with_starting_regions(
        prompts, starts, unusable, source, erased=known.erased_for(whose), dropped=known.dropped, carried=carried
    )
    return found, replace(report, wrong_source=wrong_source(source, config, prompts.media))


def _begins_chains(media: Media, config: LabelingConfig) -> bool:
    return media == next((each for each in config.media if config.mask_outputs(each)), None)


def _carried(known: TaskMemory, size_hw: tuple[int, int]) -> dict[str, tuple[str | None, Box]]:
    """Return where the task before in the chain ended with its objects, in fractions of the frame."""
    height, width = size_hw
    found = {}
    for key, (label, code) in known.seeds.items():
        try:
            box = mask_bounds(EncodedMask(code.encode(), size_hw).array)
        except ValueError:  # of frames of another size: nobody can tell where it lies on these
            box = None
        if box is not None:
            found[key] = (label, (box[0] / width, box[1] / height, box[2] / width, box[3] / height))
    return found


def joined(answers: Sequence[MaskAnswer]) -> MaskAnswer:
    """Return the answers of several media of a task as one; it is as good as the worst of them."""
    return MaskAnswer(
        [result for answer in answers for result in answer.results],
        min((answer.score for answer in answers if answer.score is not None), default=None),
        {key: digests for answer in answers for key, digests in answer.digests.items()},
        [error for answer in answers for error in answer.left_out],
    )


def held_in(results: Sequence[Mapping[str, Any]], config: LabelingConfig) -> dict[str, frozenset[int]]:
    """Return the frames on which our objects have masks in an annotation or a prediction."""
    faults: list[RegionError] = []
    held = frames_by_object(read_regions(results, config, faults))
    # A mask that cannot be read has not been taken away.
    for fault in faults:
        own = parse_result_id(fault.region_id)
        if own is not None:
            held[own[0]] = held.get(own[0], frozenset()) | {own[1]}
    return held


def merged(
    annotations: Sequence[Mapping[str, Any]], sent: Mapping[tuple[str, int], Collection[str]]
) -> list[Mapping[str, Any]]:
    """Return the regions of several people's annotations as one list: of those with one id, the newest edit.

    Our ids name an object on a frame, so the latest edit of each object and frame wins; what somebody left as a model
    said it, this one or another, wins over nobody's.

    Args:
        annotations: JSON, of `edits.as_left`.
        sent: the masks that the task was sent, see `edits.told_apart`.
    """
    regions: dict[tuple[str, ...], tuple[bool, Mapping[str, Any]]] = {}
    for annotation in sorted(annotations, key=lambda each: str(each.get("updated_at") or each.get("created_at") or "")):
        for region in without_swaps(annotation.get("result") or ()):
            if not isinstance(region, Mapping):
                continue
            # A relation has no id, but two ends.
            named = tuple(str(region.get(key)) for key in ("id", "from_name", "from_id", "to_id"))
            edited = is_edit(region, sent)
            if edited or not regions.get(named, (False, {}))[0]:
                regions[named] = (edited, region)
    return [region for _, region in regions.values()]


def as_answer(
    task: ReadTask,
    config: LabelingConfig,
    found: Iterable[FrameResult],
    *,
    size_of: SizeOf,
    whole: bool = True,
    polygon_tolerance_px: float = TOLERANCE_PX,
) -> MaskAnswer:
    """Turn masks into results, those that a human gave left out: they must never be sent back.

    What people hung on a mask of ours comes along with it.

    Args:
        task: what was asked.
        config: of its project.
        found: the masks.
        size_of: frame -> its own (height, width), which the masks are brought to.
        whole: False leaves out what stands in the editor already as it is: to send it again would replace it there,
            with whatever was hung on it since the draft was saved.
        polygon_tolerance_px: see `encode_polygon`.

    Raises:
        LabelConfigError: no object has a label that a tag for masks has.
    """
    results: list[Mapping[str, Any]] = []
    judged: list[tuple[int, float]] = []
    settled: list[tuple[int, float]] = []
    digests: dict[tuple[str, int], tuple[str, ...]] = {}
    by_id: dict[int, TaskObject[LastingId]] = {each.object_id: each for each in task.followed}
    left_out: dict[int, LabelConfigError] = {}
    kept: list[int] = []  # in relations
    coarse: list[int] = []  # polygons that show too little of their masks
    unreadable = {parse_result_id(fault.region_id) for fault in task.prompts.left_out}  # may be a human's: not replaced
    for result in found:
        for object_id, mask in result.masks.items():
            each = by_id.get(object_id)
            if each is None or result.frame in each.human_frames or not mask.any():
                continue
            # A prediction begins an annotation of its own, which has none of the relations that this one may have.
            key = each.key if whole else each.key_on(result.frame)
            if (key, result.frame) in unreadable:
                continue
            own = resized(mask, size_of(result.frame))
            there = task.prompts.ours_on(each, result.frame)
            in_a_relation = there is not None and there.region_id in task.prompts.related
            try:
                output = mask_output(config, task.prompts.media, each, result.frame)
            except LabelConfigError as error:
                left_out[object_id] = error
                continue
            polygon: Mapping[str, Any] | None = None
            if output.control.kind is ControlKind.POLYGON:
                polygon = _as_it_is(there, own)
                if polygon is None:
                    polygon, overlap = encode_polygon(own, polygon_tolerance_px)
                    coarse += [result.frame] if overlap < LEAST_IOU else []
                own = decode_polygon(polygon, size_of(result.frame))  # what the editor shows, and sends back
            digest = mask_digest(own)
            source = _shown_source(each, result.frame, result.source[object_id])
            score = each.score_on(result.frame) if result.source[object_id] == "prompt" else None
            quality = result.quality[object_id] if score is None else score
            (settled if source == "prompt" else judged).append((result.frame, quality))
            if there is not None and not whole and _is_same(there, digest):
                digests[key, result.frame] = (digest, value_digest(there.encoded or {}))
                continue
            if in_a_relation and not whole:
                kept.append(result.frame)
                continue
            made = mask_results(
                output.control,
                task.prompts.media,
                key=key,
                frame=result.frame,
                labels=output.labels,
                mask=own,
                quality=quality,
                source=source,
                polygon=polygon,
            )
            digests[key, result.frame] = (digest, *(value_digest(one["value"]) for one in made))
            results += made if there is None else brought_along(made, there.attributes, notes=there.notes)
    if left_out and not digests:
        raise next(iter(left_out.values()))
    errors: list[TamError] = [*left_out.values(), *([in_relation(sorted(set(kept)))] if kept else [])]
    errors += [too_coarse(sorted(set(coarse)))] if coarse else []
    # What a human settled is not in question, unless there is nothing else.
    return MaskAnswer(results, task_score(worst_by_frame(judged or settled).values()), digests, tuple(errors))


def _as_it_is(there: Region | None, mask: BoolMask) -> Mapping[str, Any] | None:
    """Return the polygon that a mask was read from: simplified again and again it would wear away. None for others."""
    if there is None or there.encoded is None or there.kind is not ControlKind.POLYGON:
        return None
    shape = {key: there.encoded[key] for key in ("points", "closed") if key in there.encoded}
    return shape if _is_same(there, mask_digest(mask)) else None


def _is_same(there: Region, digest: str) -> bool:
    mask = there.mask
    return mask is not None and mask_digest(mask) == digest


def _shown_source(each: TaskObject[LastingId], frame: int, source: Source) -> SentSource:
    """Tell a human's word from what else the session was prompted with, which is never kept nor learnt from as one.

    That is what was there already ("started"), what a chain's task before ended with, and, of an object of which nobody
    said anything, the best of its tracked masks.
    """
    here = each.on_frame(frame)
    if source != "prompt" or any(region.is_humans_word for region in here):
        return source
    return "started" if any(region.source == "started" for region in here) else "propagated"
