"""What happened to the masks of a project: what was proposed, what was submitted, and how long it took."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Fate = Literal["kept", "clicked", "edited", "drawn"]
"""Of a submitted mask: a model's as proposed; our answer to a human's click or box; a model's, changed by hand; a
human's."""


@dataclass(frozen=True)
class SubmittedMask:
    """A mask that somebody submitted.

    Args:
        frame: 0-based page of the task.
        fate: how it came about.
        iou: with the mask that we had proposed in its place, 0..1; None where nothing comparable is stored.
    """

    frame: int
    fate: Fate
    iou: float | None = None


@dataclass(frozen=True)
class AnnotationRecord:
    """One submitted annotation.

    Args:
        annotation: Label Studio's id.
        masks: what was submitted.
        erased: the frame of each mask that we proposed and the human took away.
        lead_time_s: how long the task was open, as Label Studio measured it; None where it did not.
        with_model: a model's mask is in it, or one of ours was before the human began. False: all by hand.
        begun_at: seconds since 1970; None where Label Studio does not tell.
    """

    annotation: int
    masks: tuple[SubmittedMask, ...]
    erased: tuple[int, ...]
    lead_time_s: float | None
    with_model: bool
    begun_at: float | None = None


@dataclass(frozen=True)
class WorkRecord:
    """What the backend keeps of the work on a task.

    Args:
        task: Label Studio's id.
        clicks: points, boxes and painted masks that people gave, on all frames.
        networks: the version that answers.
        begun_at: when the task was first worked on, seconds since 1970.
    """

    task: str
    clicks: int
    networks: str
    begun_at: float


@dataclass(frozen=True)
class TaskRecord:
    """One task.

    Args:
        task: Label Studio's id.
        video: what to call it.
        frames: how many pages it has; 0 where that is not known (a <Video>).
        annotations: those that were submitted and not skipped.
    """

    task: int
    video: str
    frames: int
    annotations: tuple[AnnotationRecord, ...]
