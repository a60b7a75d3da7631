"""Whether each corrected video makes the next one cheaper: what videos took of people, and when networks changed."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from statistics import median

from tam_backend.effort.durations import duration

LEAST_VIDEOS = 3
"""Of fewer videos no median is told: one long video would decide it."""


@dataclass(frozen=True)
class WorkedVideo:
    """What a video took.

    Args:
        name: what to call it.
        begun_at: when people began, seconds since 1970.
        clicks: points, boxes and painted masks that people gave; None where that is not known.
        seconds: that people had it open; None where that is not known.
        by_own: whether the networks had learnt from the project.
    """

    name: str
    begun_at: float
    clicks: int | None = None
    seconds: float | None = None
    by_own: bool = False


@dataclass(frozen=True)
class Turn:
    """A moment from which on other networks served the project.

    Args:
        at: seconds since 1970.
        what: a few words: which version, and what became of it.
    """

    at: float
    what: str


@dataclass(frozen=True)
class Stage:
    """The videos that were begun between one turn and the next.

    Args:
        turns: what began it; of several without a video in between all, in their order. None began the first.
        videos: how many.
        median_clicks, median_seconds: of those of which it is known; None where these are fewer than `LEAST_VIDEOS`.
    """

    turns: tuple[Turn, ...]
    videos: int
    median_clicks: float | None
    median_seconds: float | None

    @property
    def name(self) -> str:
        """What people call it.

        >>> Stage((Turn(1.0, "p7.1"), Turn(2.0, "p7.2")), 4, 2.0, None).name
        'since p7.2 (and 1 change before it)'
        """
        if not self.turns:
            return "at first"
        more = len(self.turns) - 1
        return f"since {self.turns[-1].what}" + (f" (and {more} change{'s' * (more > 1)} before it)" if more else "")


@dataclass(frozen=True)
class LearningCurve:
    """What there is to draw.

    Args:
        videos: in the order in which they were begun.
        stages: the same, in the same order, between the turns.
    """

    videos: tuple[WorkedVideo, ...]
    stages: tuple[Stage, ...]

    @property
    def turns(self) -> tuple[Turn, ...]:
        """The moments when other networks came to serve."""
        return tuple(turn for stage in self.stages for turn in stage.turns)

    def newest(self, count: int) -> LearningCurve:
        """Return the same of the last videos alone; earlier turns begin its first stage."""
        return learning_curve(self.videos[-count:], self.turns)


def learning_curve(videos: Sequence[WorkedVideo], turns: Sequence[Turn]) -> LearningCurve:
    """Put videos and turns in the order of time. A video belongs to the stage in which it was begun.

    Args:
        videos, turns: in any order.
    """
    ordered = sorted(videos, key=lambda each: each.begun_at)
    moments = sorted(turns, key=lambda each: each.at)
    ends = [float("-inf"), *(each.at for each in moments), float("inf")]
    stages: list[Stage] = []
    waiting: list[Turn] = []
    for place, (start, stop) in enumerate(pairwise(ends)):
        waiting += moments[place - 1 : place] if place else []
        within = [each for each in ordered if start <= each.begun_at < stop]
        if within or (waiting and place == len(moments)):
            stages.append(_stage(waiting, within))
            waiting = []
    return LearningCurve(tuple(ordered), tuple(stages))


STAGE_COLUMNS = ("Videos begun", "how many", "median clicks", "median time")
"""Of the table of stages."""


def stage_rows(curve: LearningCurve) -> list[tuple[str, ...]]:
    """Return the table of stages, as people read it, of what is known of any video."""
    return [
        (
            stage.name,
            str(stage.videos),
            _figure(stage.median_clicks, "{:g}".format, stage.videos),
            _figure(stage.median_seconds, duration, stage.videos),
        )
        for stage in curve.stages
    ]


def _figure(value: float | None, say: Callable[[float], str], videos: int) -> str:
    if value is not None:
        return say(value)
    return "too few videos" if videos < LEAST_VIDEOS else "not known"


def has_learnt_from(project: int | str, networks: str) -> bool:
    """Tell by the name of networks whether they learnt from a project.

    >>> has_learnt_from(7, "compact-0.2-1a2b3c4d+p7.3"), has_learnt_from(7, "compact-0.2-1a2b3c4d+p77.3")
    (True, False)
    """
    return f"+p{project}." in networks


def what_changed(curve: LearningCurve) -> list[str]:
    """Say what videos took with the package's networks and with the project's own, and before and after the last turn.

    Where there are too few to tell, that is said, and no more. Nothing is said where nothing ever changed.
    """
    if not curve.turns:
        return []
    base, own = (_stage((), [each for each in curve.videos if each.by_own == by_own]) for by_own in (False, True))
    said = [_compared(base, "with the package's networks", own, "with the project's own")]
    if len(curve.stages) > 1:
        before, after = curve.stages[-2:]
        said.append(_compared(before, f"before {after.turns[-1].what}", after, "since then"))
    return said


def _compared(before: Stage, then: str, after: Stage, now: str) -> str:
    told = []
    if before.median_clicks is not None and after.median_clicks is not None:
        told.append(f"{before.median_clicks:g} clicks {then}, {after.median_clicks:g} {now}")
    if before.median_seconds is not None and after.median_seconds is not None:
        told.append(f"{duration(before.median_seconds)} {then}, {duration(after.median_seconds)} {now}")
    if not told:
        return (
            f"Too few videos to compare: {before.videos} {then}, {after.videos} {now}; it takes {LEAST_VIDEOS} of each."
        )
    return f"A video took {'; '.join(told)} (medians of {before.videos} and {after.videos} videos)."


def _stage(turns: Sequence[Turn], videos: Sequence[WorkedVideo]) -> Stage:
    clicks = [each.clicks for each in videos if each.clicks is not None]
    seconds = [each.seconds for each in videos if each.seconds is not None]
    return Stage(tuple(turns), len(videos), _enough(clicks), _enough(seconds))


def _enough(values: Sequence[float]) -> float | None:
    return float(median(values)) if len(values) >= LEAST_VIDEOS else None
