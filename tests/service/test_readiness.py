"""Whether a process can do what it is there for."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tam_backend.errors import StoreError
from tam_backend.service.readiness import Readiness
from tam_backend.store.database import Database, sqlite_url
from tam_backend.workers.workers import WorkerState


class Some:
    """Workers that only tell how they are."""

    def __init__(self, *states: WorkerState) -> None:
        self._states = states

    def states(self) -> Sequence[WorkerState]:
        return self._states


READY, LOADING = WorkerState("a", 1, "cpu", ready=True), WorkerState("b", 2, "cpu", ready=False)
BROKEN = WorkerState("c", 3, "cuda", ready=False, failure="There is no cuda here.")


def hindrance(database: Any, *states: WorkerState) -> str:
    return Readiness(database, Some(*states)).hindrance()  # type: ignore[arg-type]  # all that is asked of workers


def test_one_worker_with_networks_is_enough(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "tam.sqlite"))
    assert hindrance(database, LOADING, READY, BROKEN) == ""
    assert "No worker" in hindrance(database, LOADING)
    assert "No worker" in hindrance(database)
    assert hindrance(database, LOADING, BROKEN) == "There is no cuda here."


class Hanging:
    """A database server that has gone without a word."""

    def __init__(self) -> None:
        self.comes_back = threading.Event()
        self.asked = 0

    @contextmanager
    def reading(self) -> Iterator[Any]:
        self.asked += 1
        self.comes_back.wait(20)
        raise StoreError("The database refuses: gone.")
        yield


def test_a_database_that_hangs_is_told_at_once_and_asked_once() -> None:
    database = Hanging()
    readiness = Readiness(database, Some(READY))  # type: ignore[arg-type]  # as above
    for _ in range(3):
        assert readiness.hindrance() == "The database does not answer."
    assert database.asked == 1
    database.comes_back.set()
    until_s = time.monotonic() + 20
    while "refuses" not in readiness.hindrance() and time.monotonic() < until_s:
        time.sleep(0.01)
    assert readiness.hindrance() == "The database refuses: gone."
