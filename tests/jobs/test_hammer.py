"""Four processes do everything at once to one database; one is killed, one stands still. Nothing is lost or doubled."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from databases import KINDS, empty_database
from hammer import KEEP, LEASE_S, TAKING, TASKS
from sqlalchemy import text

from tam_backend.jobs.records import Progress
from tam_backend.jobs.store import JobStore
from tam_backend.store.database import Database
from tam_backend.store.sessions import SessionStore
from tam_backend.store.task_memory import TaskMemories

PROGRAM = Path(__file__).with_name("hammer.py")
LASTS_S = 8.0
ROOM: dict[Any, tuple[str, ...]] = {"ask": (), "track": (), "tell": ()}
TWO_OF_ONE_PERSON = (
    "SELECT project, task, whose, count(*) FROM jobs WHERE ended_at IS NULL AND NOT waited_for "
    "GROUP BY project, task, whose HAVING count(*) > 1"
)

Hammering = subprocess.Popen[str]


def hammering(url: str, number: int, log: Path) -> Hammering:
    return subprocess.Popen(
        [sys.executable, str(PROGRAM), url, str(number), str(log)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )


def begin(process: Hammering) -> None:
    assert process.stdout is not None and process.stdin is not None
    assert process.stdout.readline() == "ready\n"
    process.stdin.write("go\n")
    process.stdin.flush()


class Watch:
    """Looks at the jobs again and again while they are hammered on."""

    def __init__(self, url: str) -> None:
        self._database = Database(url)
        self._ended: dict[str, str] = {}

    def look(self) -> None:
        with self._database.reading() as connection:
            assert connection.execute(text(TWO_OF_ONE_PERSON)).all() == [], "one person's work is done once at a time"
            rows = connection.execute(text("SELECT id, state FROM jobs WHERE ended_at IS NOT NULL")).all()
        ended = {row.id: row.state for row in rows}
        assert self._ended.items() <= ended.items(), "what ended stays as it ended"
        self._ended = ended


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_lost_doubled_revived_or_written_late(kind: str, tmp_path: Path) -> None:
    url = empty_database(kind, tmp_path)
    Database(url).close()
    logs = [tmp_path / f"log-{number}" for number in range(5)]
    processes = [hammering(url, number, log) for number, log in enumerate(logs)]
    *first, replacement = processes
    try:
        for process in processes:
            if process is not replacement:
                begin(process)
        watch, started_s = Watch(url), time.monotonic()
        events = {LASTS_S * 0.3: "stop", LASTS_S * 0.3 + 3 * LEASE_S: "continue", LASTS_S * 0.5: "kill"}
        while (passed_s := time.monotonic() - started_s) < LASTS_S:
            for at_s in [each for each in events if each <= passed_s]:
                what = events.pop(at_s)
                if what == "kill":
                    first[0].kill()
                    begin(replacement)
                else:
                    first[1].send_signal(signal.SIGSTOP if what == "stop" else signal.SIGCONT)
            watch.look()
            time.sleep(0.05)
    finally:
        for process in processes:
            process.send_signal(signal.SIGCONT)
            if process.stdin is not None:
                process.stdin.close()
        codes = [process.wait(30) for process in processes]
    assert codes == [-signal.SIGKILL, 0, 0, 0, 0]
    watch.look()
    done = [json.loads(line) for log in logs for line in log.read_text().splitlines()]
    told = Counter(each["what"] for each in done)
    kinds = ("enqueued", "claimed", "ended", "found", "remembered", "answered", "labelled", "had a turn")
    assert min(told[each] for each in kinds) > 3, told
    check_jobs(url, done)
    check_memories(url, done)
    check_answers(url, done)
    check_sessions(url, done)
    check_turns(done)


def check_jobs(url: str, done: list[dict[str, Any]]) -> None:
    """See that every job ends exactly once, was taken by one at a time, and by nobody after its end."""
    time.sleep(LEASE_S)
    store = JobStore(Database(url), keep=KEEP)
    while store.look().due or store.unfinished:
        job = store.claim(ROOM)
        if job is None:
            time.sleep(0.02)
            continue
        done.append({"what": "claimed", "id": job.id, "taking": job.taking})
        assert store.end(job, Progress("done", "", None, job.taking * TAKING, 10))
        done.append({"what": "ended", "id": job.id, "taking": job.taking})
    with Database(url).reading() as connection:
        rows = {row.id: row for row in connection.execute(text("SELECT * FROM jobs")).all()}
    assert all(row.ended_at is not None and row.owner == "" and row.intent is None for row in rows.values())
    assert {each["id"] for each in done if each["what"] == "enqueued"} <= rows.keys(), "none is lost"
    takings = Counter((each["id"], each["taking"]) for each in done if each["what"] == "claimed")
    assert set(takings.values()) == {1}, "no job is taken twice at once"
    assert all(taking <= rows[job_id].taking for job_id, taking in takings)
    ends = {each["id"]: each["taking"] for each in done if each["what"] == "ended"}
    assert len(ends) == sum(each["what"] == "ended" for each in done), "no job ends twice"
    for job_id, taking in ends.items():
        row = rows[job_id]
        assert row.taking == taking, "it ended by its last owner"
        assert row.frames_done // TAKING == taking, "nobody wrote to it after that, or before for the wrong taking"
        assert row.state == "done"


def check_memories(url: str, done: list[dict[str, Any]]) -> None:
    """See that every object has an id of its own for good."""
    memories = TaskMemories(Database(url))
    ids = [memories.get("7", str(task)).object_ids for task in TASKS]
    assert all(sorted(each.values()) == list(range(1, len(each) + 1)) for each in ids)
    assert {each["key"] for each in done if each["what"] == "remembered"} <= {key for each in ids for key in each}


def check_answers(url: str, done: list[dict[str, Any]]) -> None:
    """See that no two answers have one place, and that the last ones are there."""
    with Database(url).reading() as connection:
        rows = connection.execute(text("SELECT task, place, region FROM unsaved_answers")).all()
    assert len({(row.task, row.place) for row in rows}) == len(rows)
    newest = {each["region"] for each in done if each["what"] == "answered"} & {row.region for row in rows}
    assert newest
    for task in TASKS:
        places = sorted(row.place for row in rows if row.task == str(task))
        assert places == list(range(places[0], places[0] + len(places))), "none is missing between two others"


def check_sessions(url: str, done: list[dict[str, Any]]) -> None:
    """See that each change was made to the one before it; the killed process may not have told of its last."""
    store = SessionStore(Database(url))
    for task in TASKS:
        labels = [each["label"] for each in done if each["what"] == "labelled" and each["task"] == str(task)]
        [summary] = store.summaries_of("7", str(task))
        last = int(summary.labels[1])
        assert len(set(labels)) == len(labels), "no change is lost under another"
        assert set(range(1, last + 1)) - set(labels) <= {min(set(range(1, last + 2)) - set(labels))}


def check_turns(done: list[dict[str, Any]]) -> None:
    """See that no two had the turn at once."""
    turns = sorted((each["since"], each["until"]) for each in done if each["what"] == "had a turn")
    assert all(until < since for (_, until), (since, _) in pairwise(turns))
