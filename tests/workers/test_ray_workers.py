"""What is decided about workers of a Ray cluster before any is asked; the cluster itself is tested in tests/e2e."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_backend import make_settings

from tam_backend.errors import BusyError, InvalidInputError
from tam_backend.workers.ray_workers import _usable, check_head, namespace_of
from tam_backend.workers.workers import WorkerState

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
