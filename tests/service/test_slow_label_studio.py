"""A Label Studio that does not answer keeps nobody from tracking: others talk to it, a bounded number at a time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

import pytest
from databases import KINDS, empty_database

from tam_backend.jobs.executor import Executor, InProcessExecutor
from tam_backend.jobs.records import Intent, Stage
from tam_backend.jobs.registry import Job, JobRegistry
from tam_backend.jobs.store import JobStore
from tam_backend.problems import ProblemLog
from tam_backend.service.background import Annotations, Found, Loop
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.task_memory import TaskMemories

CONFIG = (
    '<View><Image name="i" valueList="$f"/><BrushLabels name="b" toName="i"><Label value="A"/></BrushLabels></View>'
)


class SlowLabelStudio:
    """Is its own client; stores nothing until it `answers`."""

    def __init__(self) -> None:
        self.answers = threading.Event()
        self.stored: list[int] = []
        self.at_once = self.most_at_once = 0
        self._lock = threading.Lock()

    @property
    def client(self) -> SlowLabelStudio:
        return self

    def create_prediction(self, task_id: int, _prediction: Any) -> int:
        with self._lock:
            self.at_once += 1
            self.most_at_once = max(self.most_at_once, self.at_once)
        assert self.answers.wait(30)
        with self._lock:
            self.at_once -= 1
            self.stored.append(task_id)
        return task_id


def executors() -> dict[Stage, Executor]:
    return {
        "track": InProcessExecutor(one_a_project=False),
        "ask": InProcessExecutor("ask", one_a_project=True),
        "tell": InProcessExecutor("tell", lambda: 2, one_a_project=True),
        "adapt": InProcessExecutor("adapt", one_a_project=True),
    }


def test_all_is_tracked_while_label_studio_does_not_answer(tmp_path: Path) -> None:
    database, slow = Database(sqlite_url(tmp_path / "tam.sqlite")), SlowLabelStudio()
    jobs, tracked = JobRegistry(JobStore(database)), []

    def carry_out(intent: Intent, _annotations: Annotations, _job: Job) -> Found:
        tracked.append(intent.task_id)
        return Found({"result": [], "score": 0.5, "model_version": "1"})

    loop = Loop(jobs, ProblemLog(), TaskMemories(database), slow, executors(), carry_out, lambda *_: None)  # type: ignore[arg-type]
    loop.begin()
    for task in range(8):
        loop.add(Intent(str(task), task, {"id": task}, None, CONFIG))
    deadline = time.monotonic() + 20
    while len(tracked) < 8:
        assert time.monotonic() < deadline, "tracking waits for Label Studio"
        time.sleep(0.01)
    assert slow.stored == []
    slow.answers.set()
    deadline = time.monotonic() + 20
    while jobs.running:
        assert time.monotonic() < deadline, [job.as_json() for job in jobs.all()]
        time.sleep(0.01)
    assert sorted(tracked) == sorted(slow.stored) == list(range(8))
    assert slow.most_at_once <= 2
    assert {job.state for job in jobs.all()} == {"done"}
    loop.close()


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_that_come_to_one_process_are_begun_by_all_that_have_time(kind: str, tmp_path: Path) -> None:
    url, slow, may_end = empty_database(kind, tmp_path), SlowLabelStudio(), threading.Event()
    slow.answers.set()
    begun: dict[str, list[int]] = {"first": [], "second": []}
    registries, loops = [], []
    for own in begun.values():

        def carry_out(intent: Intent, _annotations: Annotations, _job: Job, own: list[int] = own) -> Found:
            own.append(intent.task_id)
            assert may_end.wait(30)
            return Found()

        database = Database(url)
        registries.append(JobRegistry(JobStore(database)))
        memories, learn = TaskMemories(database), lambda *_: None
        loops.append(Loop(registries[-1], ProblemLog(), memories, slow, executors(), carry_out, learn))  # type: ignore[arg-type]
        loops[-1].begin()
    for task in range(6):
        loops[0].add(Intent("7", task, {"id": task}, None, CONFIG))
    deadline = time.monotonic() + 20
    while not all(begun.values()):
        assert time.monotonic() < deadline, "the second one has time"
        time.sleep(0.01)
    assert sorted(map(len, begun.values())) == [1, 1]
    assert sum(view.started_at is None for view in registries[1].all()) == 4, "nobody has more than can be begun"
    may_end.set()
    deadline = time.monotonic() + 20
    while registries[1].running:
        assert time.monotonic() < deadline, [view.as_json() for view in registries[0].all()]
        time.sleep(0.01)
    assert sorted(begun["first"] + begun["second"]) == list(range(6))
    for loop in loops:
        loop.close()
