"""From what happened to masks to the figures of a report."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Literal

from tam_backend.effort.learning_curve import LearningCurve, Turn, WorkedVideo, has_learnt_from, learning_curve
from tam_backend.effort.mask_records import AnnotationRecord, TaskRecord, WorkRecord
from tam_backend.errors import InvalidInputError

DEFAULT_SECONDS_PER_MASK = 79.0
"""To draw one mask by hand: Microsoft COCO took 22 worker hours for 1,000 segmentations (Lin et al. 2014)."""

SecondsFrom = Literal["given", "measured", "assumed"]


@dataclass(frozen=True)
class Effort:
    """What one task, or all of them, took.

    Args:
        task: Label Studio's id; None for all tasks together.
        video: what to call it.
        annotations: how many were submitted; `by_hand` of them without the model.
        frames: in all.
        frames_touched: on which a human clicked, drew, edited or erased something.
        masks: submitted, of which `kept`, `clicked`, `edited` and `drawn` as `records.Fate` has it.
        erased: masks that we proposed and the human took away.
        agreement: mean IoU between what we proposed and what was submitted, an erased mask counting 0; None where
            nothing was proposed.
        lead_time_s: of all annotations that have one; None where none has.
        saved_s: what drawing the masks of the annotations with the model would have taken, less what those took;
            below 0: the model cost time. None where no such annotation has a lead time.
        clicks: points, boxes and painted masks that the backend keeps of people; None where it knows nothing of it.
        networks: the version that answered, "" where the backend knows nothing of the task.
        begun_at: when people began, seconds since 1970; None where nobody knows, and of all tasks together.
    """

    task: int | None
    video: str
    annotations: int
    by_hand: int
    frames: int
    frames_touched: int
    masks: int
    kept: int
    clicked: int
    edited: int
    drawn: int
    erased: int
    agreement: float | None
    lead_time_s: float | None
    saved_s: float | None
    clicks: int | None = None
    networks: str = ""
    begun_at: float | None = None


@dataclass(frozen=True)
class Pace:
    """How fast masks came about: in so many annotations, so many masks, in so many seconds."""

    annotations: int
    masks: int
    seconds: float

    @property
    def seconds_per_mask(self) -> float | None:
        """None without masks."""
        return self.seconds / self.masks if self.masks else None


@dataclass(frozen=True)
class EffortReport:
    """A project's report.

    Args:
        project, title: Label Studio's.
        tasks: those with annotations, in the order of their ids.
        total: of them all.
        with_model, by_hand: the pace of annotations with lead time that began with, or got, masks of ours, and others.
        seconds_per_mask: what drawing a mask is taken to take.
        seconds_from: where that comes from: the caller, the annotations by hand, or `DEFAULT_SECONDS_PER_MASK`.
        unread: sentences on what could not be read.
        learnt: sentences on networks that learnt from the project.
        curve: of the tasks of which it is known when they were begun.
    """

    project: int
    title: str
    tasks: tuple[Effort, ...]
    total: Effort
    with_model: Pace
    by_hand: Pace
    seconds_per_mask: float
    seconds_from: SecondsFrom
    unread: tuple[str, ...] = ()
    learnt: tuple[str, ...] = ()
    curve: LearningCurve = field(default_factory=lambda: LearningCurve((), ()))

    @property
    def faster(self) -> float | None:
        """How many times faster a mask came about with the model than by hand; None where that is not known."""
        pace = self.with_model.seconds_per_mask
        return self.seconds_per_mask / pace if pace else None


def summarise(
    project: int,
    title: str,
    records: Iterable[TaskRecord],
    *,
    seconds_per_mask: float | None = None,
    unread: Sequence[str] = (),
    learnt: Sequence[str] = (),
    work: Mapping[int, WorkRecord] | None = None,
    turns: Sequence[Turn] = (),
) -> EffortReport:
    """Make the report.

    Args:
        project, title: Label Studio's.
        records: of its tasks; those without annotations are left out.
        seconds_per_mask: to draw one by hand; None = as measured on annotations by hand, else the default.
        unread, learnt: passed on.
        work: task -> what the backend keeps of the work on it.
        turns: when other networks came to serve the project.

    Raises:
        InvalidInputError: `seconds_per_mask` is not above 0, or there is no annotation at all.
    """
    if seconds_per_mask is not None and not 0 < seconds_per_mask < float("inf"):
        raise InvalidInputError(f"{seconds_per_mask} seconds to draw a mask is not above 0.", "Give for instance 60.")
    tasks = sorted((record for record in records if record.annotations), key=lambda record: record.task)
    if not tasks:
        why = f" {unread[0]}" if unread else ""
        raise InvalidInputError(
            f"Nothing that could be reported was submitted in project {project} yet.{why}",
            "Submit an annotation, or give the number of another project: the one in its address.",
        )
    annotations = [annotation for record in tasks for annotation in record.annotations]
    by_hand = _pace(annotation for annotation in annotations if not annotation.with_model)
    seconds, seconds_from = _seconds(seconds_per_mask, by_hand)
    kept = work or {}
    efforts = tuple(
        _with_work(_effort(record.task, record.video, [record], seconds), record, kept.get(record.task))
        for record in tasks
    )
    clicks = [each.clicks for each in efforts if each.clicks is not None]
    return EffortReport(
        project=project,
        title=title,
        tasks=efforts,
        total=replace(_effort(None, "all", tasks, seconds), clicks=sum(clicks) if clicks else None),
        with_model=_pace(annotation for annotation in annotations if annotation.with_model),
        by_hand=by_hand,
        seconds_per_mask=seconds,
        seconds_from=seconds_from,
        unread=tuple(unread),
        learnt=tuple(learnt),
        curve=learning_curve([_worked(each, project) for each in efforts if each.begun_at is not None], turns),
    )


def _with_work(effort: Effort, record: TaskRecord, kept: WorkRecord | None) -> Effort:
    """Add what the backend keeps of a task; what it does not know of, Label Studio may."""
    if kept is not None:
        return replace(effort, clicks=kept.clicks, networks=kept.networks, begun_at=kept.begun_at)
    begun = [annotation.begun_at for annotation in record.annotations if annotation.begun_at is not None]
    return replace(effort, begun_at=min(begun, default=None))


def _worked(effort: Effort, project: int) -> WorkedVideo:
    own = has_learnt_from(project, effort.networks)
    return WorkedVideo(effort.video, effort.begun_at or 0.0, effort.clicks, effort.lead_time_s, own)


def _seconds(given: float | None, by_hand: Pace) -> tuple[float, SecondsFrom]:
    if given is not None:
        return given, "given"
    if by_hand.seconds_per_mask:
        return by_hand.seconds_per_mask, "measured"
    return DEFAULT_SECONDS_PER_MASK, "assumed"


def _pace(annotations: Iterable[AnnotationRecord]) -> Pace:
    timed = [(each, each.lead_time_s) for each in annotations if each.lead_time_s is not None and each.masks]
    return Pace(len(timed), sum(len(each.masks) for each, _ in timed), sum(seconds for _, seconds in timed))


def _effort(task: int | None, video: str, records: Sequence[TaskRecord], seconds_per_mask: float) -> Effort:
    annotations = [annotation for record in records for annotation in record.annotations]
    masks = [mask for annotation in annotations for mask in annotation.masks]
    touched = sum(
        len(
            {mask.frame for annotation in record.annotations for mask in annotation.masks if mask.fate != "kept"}
            | {frame for annotation in record.annotations for frame in annotation.erased}
        )
        for record in records
    )
    overlaps = [mask.iou for mask in masks if mask.iou is not None]
    erased = sum(len(annotation.erased) for annotation in annotations)
    lead_times = [annotation.lead_time_s for annotation in annotations if annotation.lead_time_s is not None]
    with_model = _pace(annotation for annotation in annotations if annotation.with_model)
    fates = [mask.fate for mask in masks]
    return Effort(
        task=task,
        video=video,
        annotations=len(annotations),
        by_hand=sum(not annotation.with_model for annotation in annotations),
        frames=sum(record.frames for record in records),
        frames_touched=touched,
        masks=len(masks),
        kept=fates.count("kept"),
        clicked=fates.count("clicked"),
        edited=fates.count("edited"),
        drawn=fates.count("drawn"),
        erased=erased,
        agreement=sum(overlaps) / (len(overlaps) + erased) if overlaps or erased else None,
        lead_time_s=sum(lead_times) if lead_times else None,
        saved_s=with_model.masks * seconds_per_mask - with_model.seconds if with_model.annotations else None,
    )
