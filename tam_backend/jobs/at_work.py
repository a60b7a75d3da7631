"""Which stage each job is at here, and for what more there is time: none is taken that others could begin sooner."""

from __future__ import annotations

import threading
import time
from collections.abc import Collection, Mapping
from dataclasses import dataclass

from tam_backend.jobs.executor import Executor
from tam_backend.jobs.records import Stage

# Who has been asking Label Studio for longer may do so for long, and keeps nobody from tracking meanwhile.
_QUICK_S = 2.0


@dataclass(frozen=True)
class _Place:
    stage: Stage
    project: str
    since_s: float


class AtWork:
    """The jobs that this process took and that are not over. Thread-safe.

    Args:
        executors: stage -> what runs it, so many jobs at once, maybe none; Label Studio is asked, and told, of
            one of each project.
    """

    def __init__(self, executors: Mapping[Stage, Executor]) -> None:
        self._executors = executors
        self._places: dict[str, _Place] = {}
        self._lock = threading.Lock()

    def enter(self, job_id: str, project: str, stage: Stage) -> None:
        """Say that a job is at a stage, or waits for its turn there, and not at the stage before any more."""
        with self._lock:
            self._places[job_id] = _Place(stage, project, time.monotonic())

    def leave(self, job_id: str) -> None:
        """Say that a job is over."""
        with self._lock:
            self._places.pop(job_id, None)

    @property
    def room(self) -> Mapping[Stage, Collection[str]]:
        """Stage -> projects that have enough there, for the stages at which one more job could begin at once."""
        with self._lock:
            places = list(self._places.values())
        asking, telling = ([each for each in places if each.stage == stage] for stage in ("ask", "tell"))
        tracking = sum(each.stage == "track" for each in places)
        soon_tracking = sum(time.monotonic() - each.since_s < _QUICK_S for each in asking)
        room: dict[Stage, Collection[str]] = {}
        if tracking + soon_tracking < self._executors["track"].threads:
            room["track"] = ()
            if len(asking) < self._executors["ask"].threads:
                room["ask"] = {each.project for each in asking}
        if len(telling) < self._executors["tell"].threads:
            room["tell"] = {each.project for each in telling}
        learning = sum(each.stage == "adapt" for each in places)
        if learning < self._executors["adapt"].threads:
            room["adapt"] = ()
        return room
