"""One of several processes that do everything at once to one database; what it did stands in its log, line by line.

    python hammer.py URL NUMBER LOG

It says "ready", and begins when its input says so; the end of its input is its end.
"""

from __future__ import annotations

import json
import random
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from tam_backend.errors import BusyError, CancelledError
from tam_backend.jobs.records import Intent, Progress, TakenJob
from tam_backend.jobs.store import JobStore
from tam_backend.store.database import Database
from tam_backend.store.known import Known
from tam_backend.store.sessions import ObjectState, SessionKey, SessionStore
from tam_backend.store.task_memory import TaskMemories
from tam_backend.store.turns import Turns
from tam_backend.store.unsaved_answers import AnswerMemory
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import EncodedMask, Point

LEASE_S = 0.4
KEEP = 1_000_000
TASKS = (1, 2, 3)
MASK = KeptMask(EncodedMask.of(np.ones((2, 3), np.bool_)), 1.0, "prompt")
TAKING = 10_000
"""Frames of a job's n-th taking are counted from n times this on."""


class Hammer:
    """Does one thing after the other, by chance."""

    def __init__(self, url: str, number: int, log: Path) -> None:
        database = Database(url)
        self.number = number
        self.steps = 0
        self.random = random.Random(number)
        self.jobs = JobStore(database, lease_s=LEASE_S, keep=KEEP)
        self.memories = TaskMemories(database)
        self.answers = AnswerMemory(database)
        self.sessions = SessionStore(database, LEASE_S)
        self.turns = Turns(database)
        self.log = log.open("a", buffering=1)

    def step(self) -> None:
        self.steps += 1
        things: tuple[Callable[[], None], ...] = (
            self.enqueue, self.work, self.work, self.wait_for_one, self.remember, self.answer, self.label, self.turn,
        )  # fmt: skip
        self.random.choice(things)()

    def did(self, what: str, **more: Any) -> None:
        self.log.write(json.dumps({"what": what, "by": self.number, **more}) + "\n")

    def intent(self) -> Intent:
        author = self.random.choice(("", "ann", "bob"))
        task = self.random.choice(TASKS)
        return Intent(
            self.random.choice("78"), task, {}, {"result": []} if author else None, "<View/>", annotator=author
        )

    def enqueue(self) -> None:
        job_id, _ = self.jobs.enqueue(self.intent(), 10, self.random.choice(("ask", "track")))
        self.did("enqueued", id=job_id)

    def wait_for_one(self) -> None:
        intent = self.intent()
        job, _ = self.jobs.begin(intent.task_id, intent.project, intent, 10, 0)
        self.did("claimed", id=job.id, taking=job.taking)
        self.finish(job, is_waited_for=True)

    def work(self) -> None:
        if not self.jobs.look().due:
            return
        job = self.jobs.claim({"ask": (), "track": (), "tell": ()})
        if job is not None:
            self.did("claimed", id=job.id, taking=job.taking)
            self.finish(job)

    def finish(self, job: TakenJob, *, is_waited_for: bool = False) -> None:
        """Work on a job, now and then for longer than the lease; then end it, put it back, or leave it lying."""
        frames = 0
        for _ in range(self.random.randrange(3)):
            frames += 1
            progress = Progress("running", "", frames, job.taking * TAKING + frames, 10)
            told = self.jobs.exchange([(job, progress)], renew=self.random.random() < 0.5)
            if self.random.random() < 0.1:
                time.sleep(LEASE_S * 1.5)
            elif self.random.random() < 0.2:
                self.jobs.cancel(job.id, "Enough.")
            if job.id not in told or told[job.id].taking != job.taking:
                return
        last = Progress("done", "", frames, job.taking * TAKING + frames, 10)
        fate = self.random.random()
        if fate < 0.2:
            try:
                self.jobs.keep_prediction(job, {"taking": job.taking})
                self.did("found", id=job.id, taking=job.taking)
            except CancelledError:
                return
        if fate < 0.7:
            if self.jobs.end(job, last):
                self.did("ended", id=job.id, taking=job.taking)
        elif fate < 0.95 and not is_waited_for:
            waits = Progress("waiting", "", frames, job.taking * TAKING + frames, 10)
            self.jobs.put_back(job, waits, 0.05, tried=True)

    def remember(self) -> None:
        key = f"{self.number}-{self.steps}"
        self.memories.change("7", str(self.random.choice(TASKS)), lambda memory: memory.with_objects([key]))
        self.did("remembered", key=key)

    def answer(self) -> None:
        task, region = {"drafts": [{"id": 1, "result": [], "user": "x"}]}, f"tam-{self.number}-{self.steps}"
        self.answers.remember("7", str(self.random.choice(TASKS)), "1", task, [{"id": region}])
        self.did("answered", region=region)

    def label(self) -> None:
        """Add one to the number that is the label of an object of a session."""
        task = str(self.random.choice(TASKS))
        try:
            session = self.sessions.open(SessionKey("7", task, "m"), frames=3, size_hw=(2, 3), weights="w")
        except BusyError:
            return
        try:
            known = session.objects()
            label = int(known[1].label) + 1 if known else 1
            if self.random.random() < 0.1:
                time.sleep(LEASE_S * 1.5)
            state = ObjectState(str(label), {0: Known((Point(1, 1),))}, {0: MASK}, changed=frozenset({0}))
            session.save_object(1, state, (0,))
            self.did("labelled", task=task, label=label)
        except BusyError:
            return
        finally:
            session.close()

    def turn(self) -> None:
        with self.turns.taken("sweep", 60) as is_mine:
            if is_mine:
                began_s = time.monotonic()  # one clock for all processes of a machine
                time.sleep(0.01)
                self.did("had a turn", since=began_s, until=time.monotonic())


def main() -> None:
    url, number, log = sys.argv[1:]
    hammer = Hammer(url, int(number), Path(log))
    print("ready", flush=True)
    sys.stdin.readline()
    over = threading.Event()
    threading.Thread(target=lambda: (sys.stdin.read(), over.set()), daemon=True).start()
    while not over.is_set():
        hammer.step()


if __name__ == "__main__":
    main()
