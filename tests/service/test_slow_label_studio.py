"""A Label Studio that does not answer keeps nobody from tracking: others talk to it, a bounded number at a time."""

from __future__ import annotations

import threading
import time
from pathlib import Path
from typing import Any

from tam_backend.jobs.executor import InProcessExecutor
from tam_backend.jobs.records import Intent
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


def test_all_is_tracked_while_label_studio_does_not_answer(tmp_path: Path) -> None:
    database, slow = Database(sqlite_url(tmp_path / "tam.sqlite")), SlowLabelStudio()
    jobs, tracked = JobRegistry(JobStore(database)), []

    def carry_out(intent: Intent, _annotations: Annotations, _job: Job) -> Found:
        tracked.append(intent.task_id)
        return Found({"result": [], "score": 0.5, "model_version": "1"})

    executors = (
        InProcessExecutor(one_a_project=False),
        InProcessExecutor("ask", one_a_project=True),
        InProcessExecutor("tell", lambda: 2, one_a_project=True),
    )
    loop = Loop(jobs, ProblemLog(), TaskMemories(database), slow, *executors, carry_out)  # type: ignore[arg-type]
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
