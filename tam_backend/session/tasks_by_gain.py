"""Which task next: the videos of a project by what one more look is expected to mend."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from dataclasses import dataclass, replace
from typing import Literal

from tam_backend.session.suggestions import Suggestion, suggestions
from tam_backend.store.sessions import SessionView

State = Literal["to correct", "to propagate", "not begun", "nothing in doubt", "submitted"]
"""Submitted: by people, and nothing is stored of it; what was worked on with us says more."""

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


def tasks_by_gain(
    tasks: Iterable[tuple[str, SessionView | None]], submitted: Collection[str] = frozenset()
) -> list[TaskGain]:
    """Order tasks, those first where the next thing done is expected to mend most.

    Where a mask is missing, a Propagate brings one of the quality that the project's have. Of a task that was not begun
    nothing is known: it counts like the others' mean video, unless people submitted it: then it comes last.

    Args:
        tasks: each with what is stored of it, None for one that was not begun. Looked at one by one; equal ones keep
            their order.
        submitted: those that people submitted.
    """
    found: list[tuple[TaskGain, int | None]] = []  # with the masks that it lacks; None: not known
    tally = _Tally()
    for task, view in tasks:
        if view is not None:
            tally.add(view)
            found.append((_in_doubt(task, view), _masks_missing(view)))
        elif task in submitted:
            found.append((TaskGain(task, "submitted", 0.0), 0))
        else:
            found.append((TaskGain(task, "not begun", 0.0), None))
    ordered = (_with_missing(each, lacks, tally) for each, lacks in found)
    return sorted(ordered, key=lambda each: (each.state == "submitted", -each.gain))


def after_looks(gain: float, keyframes: int) -> float:
    """Return what the next correction of an object is expected to mend, the more frames of it were settled the less.

    Where corrections did not take the doubt away, another one is less likely to: each further keyframe counts like one
    more try in vain.

    Args:
        gain: what the doubt in its masks promises.
        keyframes: frames that a human settled; the one that it began with does not count.
    """
    return gain / max(1, keyframes)


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
    look = first[0]
    label = view.summary.labels.get(look.object_id) or f"object {look.object_id}"
    gain = after_looks(look.gain, len(view.keyframes.get(look.object_id, ())))
    return TaskGain(task, "to correct", gain, look, label)


def _masks_missing(view: SessionView) -> int:
    """Return how many masks a Propagate would bring; of a session without an object, as if it had one."""
    if not view.summary.labels:
        return view.summary.frames
    readable = {frame for track in view.quality.values() for frame in track}
    return sum(_missing_of(object_id, view, readable) for object_id in view.summary.labels)


def _missing_of(object_id: int, view: SessionView, readable: Collection[int]) -> int:
    """Return how many masks of one object a Propagate would bring.

    Tracking passes over frames that cannot be read, and the store does not say which these are. They show where masks
    were tracked before and after, and no object has one between; at the ends of a video they count as not yet tracked.
    """
    settled = set(view.keyframes.get(object_id, ()))
    tracked = view.quality.get(object_id, {}).keys() - settled
    first, last = min(tracked, default=0), max(tracked, default=0)
    missing = set(range(view.summary.frames)) - tracked - settled
    return sum(frame in readable or not first < frame < last for frame in missing)


def _with_missing(each: TaskGain, lacks: int | None, tally: _Tally) -> TaskGain:
    if lacks is None:
        return replace(each, gain=tally.quality * tally.masks_a_video)
    return replace(each, state="to propagate", gain=each.gain + tally.quality * lacks) if lacks else each
