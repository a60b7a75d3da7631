"""Problems of all processes are seen by each; a database that refuses costs a line in the log, never a request."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path

import pytest
from databases import KINDS, empty_database

from tam_backend.errors import MediaNotFoundError, StoreError
from tam_backend.problems import Problem, ProblemLog
from tam_backend.store.database import Database
from tam_backend.store.problem_store import ProblemStore


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return Database(empty_database(request.param, tmp_path))


def seen(log: ProblemLog) -> list[tuple[str, int]]:
    return [(problem.message, problem.count) for problem in log.recent()]


def test_what_one_process_met_another_shows(database: Database) -> None:
    first, second = (ProblemLog(shelf=ProblemStore(database)) for _ in range(2))
    first.failed("task 7", MediaNotFoundError("No clip \0\ud800.", "Upload it."))
    assert seen(second) == []
    first.write()
    [met] = first.recent()
    assert second.recent() == [met]
    assert met.message == "No clip \N{REPLACEMENT CHARACTER}\\ud800."
    second.note("task 8", "It ran out of time.")
    assert [problem.where for problem in second.recent()] == ["task 8", "task 7"]


def test_the_same_again_is_counted_whoever_met_it(database: Database) -> None:
    first, second = (ProblemLog(shelf=ProblemStore(database)) for _ in range(2))
    for _ in range(3):
        first.note("GET /frames", "The video is gone.")
    first.write()
    for _ in range(2):
        second.note("GET /frames", "The video is gone.")
    assert seen(second) == [("The video is gone.", 5)], "before it is written too"
    second.write()
    assert seen(first) == [("The video is gone.", 5)]
    second.note("GET /frames", "Another.")
    second.write()
    first.note("GET /frames", "The video is gone.")
    first.write()
    assert seen(second) == [("The video is gone.", 1), ("Another.", 1), ("The video is gone.", 5)]


def test_the_last_few_are_kept(database: Database) -> None:
    logs = [ProblemLog(4, ProblemStore(database, limit=4)) for _ in range(2)]
    for number in range(6):
        logs[number % 2].note("test", f"number {number}")
        logs[number % 2].write()
    assert seen(logs[0]) == [(f"number {number}", 1) for number in (5, 4, 3, 2)]
    logs[0].note("test", "number 6")
    assert [message for message, _ in seen(logs[0])] == [f"number {number}" for number in (6, 5, 4, 3)]


class FullDisk:
    """A shelf that refuses until there is room."""

    def __init__(self) -> None:
        self.has_room = False
        self.kept: list[Problem] = []

    def add(self, problems: Sequence[Problem]) -> None:
        if not self.has_room:
            raise StoreError("The disk is full.")
        self.kept += problems

    def recent(self) -> list[Problem]:
        if not self.has_room:
            raise StoreError("The disk is full.")
        return self.kept[::-1]


def test_a_database_that_refuses_keeps_no_problem_from_being_seen(caplog: pytest.LogCaptureFixture) -> None:
    shelf = FullDisk()
    log = ProblemLog(shelf=shelf)
    for number in range(3):
        log.note("test", f"number {number}")
        log.write()
    assert [message for message, _ in seen(log)] == ["number 2", "number 1", "number 0"]
    assert "The disk is full." in caplog.text
    shelf.has_room = True
    log.write()
    assert [problem.message for problem in shelf.kept] == ["number 0", "number 1", "number 2"]
    assert seen(log) == [("number 2", 1), ("number 1", 1), ("number 0", 1)]


def test_of_many_who_write_at_once_no_problem_is_lost(database: Database) -> None:
    begin = threading.Barrier(4)

    def meet(name: str) -> None:
        log = ProblemLog(shelf=ProblemStore(database))
        begin.wait(10)
        for number in range(10):
            log.note("test", f"{name} {number}")
            log.write()

    threads = [threading.Thread(target=meet, args=(name,)) for name in "abcd"]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    found = ProblemStore(database).recent()
    assert sorted(problem.message for problem in found) == sorted(f"{name} {n}" for name in "abcd" for n in range(10))
