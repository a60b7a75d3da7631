"""Which task next: the videos of a project by what one more look is expected to mend."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Literal

from tam_backend.session.suggestions import Suggestion, suggestions
from tam_backend.store.sessions import SessionView

State = Literal["to correct", "to propagate", "not begun", "nothing in doubt"]

# What tracked masks are worth where nothing was tracked yet.
_TYPICAL_QUALITY = 0.75


@dataclass(frozen=True)
class TaskGain:
    """A task, and what the next thing done there is expected to mend.

    Args:
        task: Label Studio's id.
        state: what is to be done.
        gain: wrong and missing masks, in wholly wrong ones.
        look: where to correct; None where there is nothing tracked that is in doubt.
        label: of the object that is in doubt there; "" without one.
    """

    task: str
    state: State
    gain: float
    look: Suggestion | None = None
    label: str = ""


def tasks_by_gain(tasks: Iterable[tuple[str, SessionView | None]]) -> list[TaskGain]:
    """Order tasks, those first where the next thing done is expected to mend most.

    A frame that was not tracked lacks a mask of every object, and a Propagate brings masks of the quality that the
    project's have. Of a task that was not begun nothing is known: it counts like the others' mean video.

    Args:
        tasks: each with what is stored of it, None for one that was not begun. Looked at one by one; equal ones keep
            their order.
    """
    found: list[tuple[TaskGain, int | None]] = []  # with the masks that it lacks; None: not known
    tally = _Tally()
    for task, view in tasks:
        if view is None:
            found.append((TaskGain(task, "not begun", 0.0), None))
        else:
            tally.add(view)
            objects = max(1, len(view.summary.labels))
            found.append((_in_doubt(task, view), objects * (view.summary.frames - view.summary.frames_done)))
    return sorted((_with_missing(each, lacks, tally) for each, lacks in found), key=lambda each: -each.gain)


@dataclass
class _Tally:
    """What the project's videos are like, as far as they were begun."""

    videos: int = 0
    masks_wanted: int = 0
    masks: int = 0
    quality_sum: float = 0.0

    def add(self, view: SessionView) -> None:
        self.videos += 1
        self.masks_wanted += view.summary.frames * max(1, len(view.summary.labels))
        self.masks += sum(len(track) for track in view.quality.values())
        self.quality_sum += sum(sum(track.values()) for track in view.quality.values())

    @property
    def quality(self) -> float:
        return self.quality_sum / self.masks if self.masks else _TYPICAL_QUALITY

    @property
    def masks_a_video(self) -> float:
        return self.masks_wanted / self.videos if self.videos else 1.0


def _in_doubt(task: str, view: SessionView) -> TaskGain:
    first = suggestions(view.quality, view.keyframes, 1)
    if not first:
        return TaskGain(task, "nothing in doubt", 0.0)
    label = view.summary.labels.get(first[0].object_id) or f"object {first[0].object_id}"
    return TaskGain(task, "to correct", first[0].gain, first[0], label)


def _with_missing(each: TaskGain, lacks: int | None, tally: _Tally) -> TaskGain:
    if lacks is None:
        return replace(each, gain=tally.quality * tally.masks_a_video)
    return replace(each, state="to propagate", gain=each.gain + tally.quality * lacks) if lacks else each
