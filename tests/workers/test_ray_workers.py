"""What is decided about workers of a Ray cluster before any is asked; the cluster itself is tested in tests/e2e."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from fake_backend import make_settings

from tam_backend.errors import BusyError, InvalidInputError
from tam_backend.store.sessions import SessionKey
from tam_backend.workers.ray_workers import RayWorkers, _Seen, _usable, check_head, namespace_of
from tam_backend.workers.remote import Presence
from tam_backend.workers.workers import View, WorkerState

READY, LOADING = WorkerState("a", 1, "cuda", ready=True), WorkerState("b", 2, "cuda", ready=False)
BROKEN = WorkerState("c", 3, "cuda", ready=False, failure="CUDA out of memory.")


@pytest.mark.parametrize(
    ("states", "usable"),
    [
        ([READY, LOADING, BROKEN], ["a"]),
        ([LOADING, BROKEN], ["b"]),
        ([BROKEN], ["c"]),
        ([], []),
    ],
)
def test_whoever_has_no_networks_is_asked_only_where_nobody_has(states: list[WorkerState], usable: list[str]) -> None:
    assert _usable({each.name: each for each in states}) == usable


def presence(waiting: int, number: int = 1) -> Presence:
    return Presence(replace(READY, name=f"w{number}", waiting=waiting), f"process {number}")


def test_a_worker_that_is_done_for_this_process_is_free_though_it_said_before_that_it_is_not() -> None:
    seen = _Seen(None, presence(0), 0.0)
    seen.lent = 1
    seen.answered(presence(1), 1.0)
    assert seen.waiting == 1
    seen.lent = 0
    assert seen.waiting == 0
    seen.answered(presence(2), 2.0)
    assert seen.waiting == 2, "others have two calls there"


class NobodyHolds:
    def holder_of(self, _key: SessionKey) -> None: ...


def test_jobs_that_begin_in_one_moment_go_to_different_workers(tmp_path: Path) -> None:
    crew = RayWorkers(make_settings(tmp_path, workers="ray:4"), lambda _settings: None, NobodyHolds())  # type: ignore[arg-type,return-value]
    crew._seen = {f"w{number}": _Seen(None, presence(0, number), time.monotonic()) for number in range(4)}
    together = threading.Barrier(4)

    def lend(task: int) -> str:
        together.wait(timeout=20)
        name, _ = crew._one_for(View(SessionKey("1", str(task), "m"), "a.mp4"), "background", 1.0)
        return name

    for turn in range(1, 20):
        with ThreadPoolExecutor(4) as pool:
            assert sorted(pool.map(lend, range(4))) == ["w0", "w1", "w2", "w3"]
        assert {seen.lent for seen in crew._seen.values()} == {turn}


def name(folder: Path, **settings: Any) -> str:
    return namespace_of(make_settings(folder, **settings))


def test_workers_are_found_only_by_those_of_the_same_networks_and_database(tmp_path: Path) -> None:
    one = {"database_url": "postgresql://a:secret@db/tam", "profile": "compact"}
    assert name(tmp_path / "x", **one) == name(
        tmp_path / "y", **one | {"database_url": "postgresql+psycopg://b@db/tam"}
    )
    others = [
        name(tmp_path, **one | {"database_url": "postgresql://a:secret@db/staging"}),
        name(tmp_path, **one | {"tracker_side": 240}),
        name(tmp_path, **one | {"secret": "another one, of another team"}),
        name(tmp_path),
        name(tmp_path / "another"),
    ]
    assert len({name(tmp_path, **one), *others}) == 6


def test_a_head_that_is_not_there_is_told_at_once() -> None:
    with pytest.raises(BusyError, match="Nothing answers at 127"):
        check_head("127.0.0.1:1")
    for address in ("127.0.0.1", ":6379", "head:http"):
        with pytest.raises(InvalidInputError, match="no address of a Ray cluster"):
            check_head(address)
