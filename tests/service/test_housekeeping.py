"""What a backend that runs for months drops by itself, and what it keeps."""

from __future__ import annotations

import hashlib
import json
import threading
import time
from pathlib import Path
from typing import Any

import pytest
from databases import KINDS, empty_database
from sqlalchemy import create_engine, text
from synthetic import MovingDiscs

from tam_backend.errors import StoreError
from tam_backend.problems import ProblemLog
from tam_backend.service.housekeeping import Housekeeping
from tam_backend.service.page_frames import TaskMedia
from tam_backend.store.database import Database
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.store.task_memory import TaskMemories, TaskMemory
from tam_backend.store.turns import Turns


def no_media(*_: object) -> None:
    raise AssertionError


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_database(request.param, tmp_path)


def aged(url: str, table: str, task: str, days: float, column: str = "used_at") -> None:
    engine = create_engine(url)
    with engine.begin() as connection:
        statement = f"UPDATE {table} SET {column} = {column} - {days * 86_400} WHERE task = :task"
        connection.execute(text(statement), {"task": task})
    engine.dispose()


def test_tasks_without_a_session_that_nobody_changed_for_long_are_forgotten(url: str) -> None:
    database = Database(url)
    memories, media, store = TaskMemories(database), TaskMedia(database, no_media), SessionStore(database)  # type: ignore[arg-type]
    for task in ("old", "new", "old with a session", "old but changed"):
        memories.change("7", task, lambda memory: memory.with_objects(["a"]))
        media.remember(SessionKey("7", task, "m"), ["http://x"], None)
        if task != "new":
            aged(url, "task_memories", task, 91)
            aged(url, "shown_media", task, 91)
    store.open(SessionKey("7", "old with a session", "m"), frames=3, size_hw=(8, 8), weights="w").close()
    memories.change("7", "old but changed", lambda memory: memory.with_objects(["b"]))
    media.remember(SessionKey("7", "old but changed", "m"), ["http://y"], None)
    assert (memories.prune(90), media.prune(90)) == (1, 1)
    assert memories.get("7", "old") == TaskMemory()
    for task in ("new", "old with a session", "old but changed"):
        assert memories.get("7", task).object_ids["a"] == 1
    aged(url, "sessions", "old with a session", 91, "updated_at")
    assert store.prune(90) == 1
    assert (memories.prune(90), media.prune(90)) == (1, 1), "with its session its memory is old too"
    assert (memories.prune(90), media.prune(90)) == (0, 0)


def test_what_an_older_version_knew_of_tasks_counts_as_used_just_now(url: str) -> None:
    memories = TaskMemories(Database(url))
    memories.change("7", "1", lambda memory: memory.with_objects(["a"]))
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.execute(text("ALTER TABLE task_memories DROP COLUMN used_at"))
        connection.execute(text("UPDATE schema_version SET version = 2"))
    engine.dispose()
    newer = TaskMemories(Database(url))
    assert newer.prune(0.01) == 0
    assert newer.get("7", "1").object_ids == {"a": 1}


@pytest.mark.parametrize("has_used_at", [False, True])
def test_what_tasks_showed_to_an_older_version_is_known(url: str, has_used_at: bool) -> None:
    Database(url).close()
    engine = create_engine(url)
    used_at = ", used_at DOUBLE PRECISION NOT NULL DEFAULT 0" if has_used_at else ""
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE shown_media"))
        key = "project VARCHAR(64), task VARCHAR(64), number INTEGER, value TEXT NOT NULL"
        connection.execute(text(f"CREATE TABLE task_media ({key}{used_at}, PRIMARY KEY (project, task))"))
        row = {"value": json.dumps(["http://x", "http://y"])}
        connection.execute(
            text("INSERT INTO task_media (project, task, number, value) VALUES ('7', '1', 1, :value)"), row
        )
        connection.execute(text(f"UPDATE schema_version SET version = {3 if has_used_at else 2}"))
    engine.dispose()
    fingerprint = hashlib.sha256(b"['http://x', 'http://y']").hexdigest()[:32]
    opened: list[Any] = []
    media = TaskMedia(Database(url), lambda value, number: opened.append((value, number)) or MovingDiscs())
    assert media.frame(SessionKey("7", "1", fingerprint, "12"), 0) is not None
    assert opened == [(["http://x", "http://y"], 1)]


def test_of_many_who_change_one_task_at_once_nobody_is_overwritten(url: str) -> None:
    """Two objects must never get one id, whatever the database."""
    memories = TaskMemories(Database(url))
    begin = threading.Barrier(6)

    def add(name: str) -> None:
        begin.wait(10)
        for number in range(8):
            memories.change("7", "1", lambda memory, key=f"{name}{number}": memory.with_objects([key]))  # type: ignore[misc]

    threads = [threading.Thread(target=add, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    ids = memories.get("7", "1").object_ids
    assert len(ids) == 48
    assert sorted(ids.values()) == list(range(1, 49))


def test_of_many_who_open_one_task_at_once_none_is_refused(url: str) -> None:
    media = TaskMedia(Database(url), no_media)  # type: ignore[arg-type]
    begin, refused = threading.Barrier(6), []

    def remember(name: str) -> None:
        begin.wait(10)
        try:
            media.remember(SessionKey("7", "1", "m"), [name], None)
        except StoreError as error:
            refused.append(error)

    threads = [threading.Thread(target=remember, args=(name,)) for name in "abcdef"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert refused == []


def test_chores_are_done_again_and_again_and_one_that_fails_keeps_no_other(url: str) -> None:
    done, problems, enough = [], ProblemLog(), threading.Event()

    def fails() -> None:
        raise StoreError("The disk is full.")

    def works() -> None:
        done.append(1)
        if len(done) == 3:
            enough.set()

    housekeeping = Housekeeping({"broken": fails, "whole": works}, problems, Turns(Database(url)), every_s=0.01)
    assert enough.wait(20)
    housekeeping.close()
    count = len(done)
    assert problems.recent()[0].where == "broken"
    assert len(done) == count


def test_one_process_at_a_time_does_them(url: str) -> None:
    begun, may_end, tried = threading.Event(), threading.Event(), []

    def long() -> None:
        begun.set()
        assert may_end.wait(20)

    first = Housekeeping({"long": long}, ProblemLog(), Turns(Database(url)))
    assert begun.wait(20)
    second = Housekeeping({"quick": lambda: tried.append(1)}, ProblemLog(), Turns(Database(url)), every_s=0.01)
    time.sleep(0.3)
    assert tried == []
    may_end.set()
    first.close()
    deadline = time.monotonic() + 20
    while not tried:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    second.close()
