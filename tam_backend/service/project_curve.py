"""What the backend knows of whether a project's videos take less of people, once networks learnt from it."""

from __future__ import annotations

from collections.abc import Sequence

from tam_backend.effort.learning_curve import LearningCurve, Turn, WorkedVideo, has_learnt_from, learning_curve
from tam_backend.effort.mask_records import WorkRecord
from tam_backend.store.adapted_networks import AdaptedVersion


def turns_of(versions: Sequence[AdaptedVersion]) -> list[Turn]:
    """Return when versions of a project, newest first, came to serve it, and when they were taken back."""
    turns = []
    for each in reversed(versions):
        if each.state != "refused":
            turns.append(Turn(each.made_at, each.short_name))
        if each.taken_back_at is not None:
            turns.append(Turn(each.taken_back_at, f"{each.short_name} taken back"))
    return turns


def curve_of(project: str, work: Sequence[WorkRecord], versions: Sequence[AdaptedVersion]) -> LearningCurve:
    """Return a project's curve of clicks, of the tasks in which anything was clicked.

    Args:
        project: Label Studio's id.
        work: on its tasks.
        versions: of its networks.
    """
    worked = [
        WorkedVideo(each.task, each.begun_at, each.clicks, by_own=has_learnt_from(project, each.networks))
        for each in work
        if each.clicks
    ]
    return learning_curve(worked, turns_of(versions))
