"""A job whose process is killed, or stands still beyond its lease, goes on elsewhere; its owner writes no more."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
from databases import KINDS, empty_database

from tam_backend.jobs.executor import InProcessExecutor
from tam_backend.jobs.records import Intent
from tam_backend.jobs.registry import Job, JobRegistry
from tam_backend.jobs.store import JobStore
from tam_backend.problems import ProblemLog
from tam_backend.service.background import Annotations, CarryOut, Found, Loop
from tam_backend.store.database import Database
from tam_backend.store.task_memory import TaskMemories

LEASE_S = 2.0
# Begins a job, says so, and goes on with it when its input says so; then says what became of it.
OWNER = """
import sys, time
from test_lost_owner import LEASE_S, looped
from tam_backend.service.background import Found

def carry_out(intent, annotations, job):
    job.advance(0)
    time.sleep(0.5)  # between two turns: who stands still in the middle of writing to SQLite keeps everybody waiting
    print("begun", flush=True)
    sys.stdin.readline()
    return Found({"result": ["stale"], "score": 0.5, "model_version": "1"})

with looped(sys.argv[1], carry_out) as (jobs, label_studio):
    while not jobs.frames_propagated or jobs.at_work:
        time.sleep(0.05)
    print("stored", label_studio.stored, flush=True)
"""
CONFIG = (
    '<View><Image name="i" valueList="$f"/><BrushLabels name="b" toName="i"><Label value="A"/></BrushLabels></View>'
)


class LabelStudio:
    """Is its own client, and takes everything."""

    def __init__(self) -> None:
        self.stored: list[Any] = []

    @property
    def client(self) -> LabelStudio:
        return self

    def create_prediction(self, task_id: int, prediction: Any) -> int:
        self.stored.append((task_id, prediction["result"]))
        return 1

    def predictions(self, task_id: int) -> list[Any]:
        return []


@contextmanager
def looped(url: str, carry_out: CarryOut) -> Iterator[tuple[JobRegistry, LabelStudio]]:
    """Take the jobs of a database for as long as the block lasts."""
    database, label_studio = Database(url), LabelStudio()
    jobs = JobRegistry(JobStore(database, lease_s=LEASE_S))
    executors = {stage: InProcessExecutor(stage, one_a_project=True) for stage in ("track", "ask", "tell", "adapt")}
    loop = Loop(jobs, ProblemLog(), TaskMemories(database), label_studio, executors, carry_out, lambda *_: None)  # type: ignore[arg-type]
    loop.begin()
    try:
        yield jobs, label_studio
    finally:
        loop.close()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("fate", [signal.SIGKILL, signal.SIGSTOP])
def test_a_job_goes_on_elsewhere_and_is_stored_once(kind: str, fate: signal.Signals, tmp_path: Path) -> None:
    url, carried_out = empty_database(kind, tmp_path), []

    def carry_out(intent: Intent, _annotations: Annotations, job: Job) -> Found:
        carried_out.append(job.id)
        return Found({"result": [], "score": 0.5, "model_version": "1"})

    job_id, _ = JobStore(Database(url)).enqueue(Intent("7", 1, {"id": 1}, None, CONFIG), 10, "track")
    paths = [str(Path(__file__).parent), str(Path(__file__).parents[1]), os.environ.get("PYTHONPATH", "")]
    owner = subprocess.Popen(
        [sys.executable, "-c", OWNER, url],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(paths)},
    )
    with owner, ExitStack() as ending:
        ending.callback(owner.kill)
        assert owner.stdout is not None and owner.stdin is not None
        assert owner.stdout.readline() == "begun\n"
        owner.send_signal(fate)
        with looped(url, carry_out) as (jobs, label_studio):
            deadline = time.monotonic() + 30
            while jobs.running:
                assert time.monotonic() < deadline, [view.as_json() for view in jobs.all()]
                time.sleep(0.02)
            owner.send_signal(signal.SIGCONT)
            said, _ = owner.communicate("go on\n", timeout=30)
            assert said == ("" if fate is signal.SIGKILL else "stored []\n")
            [view] = jobs.all()
    assert (view.id, view.state, carried_out) == (job_id, "done", [job_id])
    assert label_studio.stored == [(1, [])]
