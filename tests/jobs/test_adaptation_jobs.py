"""An adaptation is a job of its own kind: one a project, and no request takes its place."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import KINDS, empty_database

from tam_backend.errors import BusyError
from tam_backend.jobs.records import Intent
from tam_backend.jobs.store import JobStore
from tam_backend.store.database import Database

ADAPT = Intent.to_adapt("3", 60, only_if_new=True)


@pytest.fixture(params=KINDS)
def store(request: pytest.FixtureRequest, tmp_path: Path) -> JobStore:
    return JobStore(Database(empty_database(request.param, tmp_path)))


def test_there_is_one_at_a_time_for_a_project(store: JobStore) -> None:
    first, _ = store.enqueue(ADAPT, 100, "adapt")
    for add in (lambda: store.enqueue(ADAPT, 100, "adapt"), lambda: store.begin(None, "3", ADAPT, 100, 0)):
        with pytest.raises(BusyError, match=first):
            add()
    store.enqueue(Intent.to_adapt("4", 60, only_if_new=True), 100, "adapt")
    store.cancel(first, "")
    assert store.enqueue(ADAPT, 100, "adapt")[0] != first


def test_it_comes_back_as_it_was_and_only_to_who_lets_networks_learn(store: JobStore) -> None:
    name, _ = store.enqueue(ADAPT, 100, "adapt")
    assert store.claim({"ask": (), "track": (), "tell": ()}) is None
    taken = store.claim({"adapt": ()})
    assert taken is not None
    assert (taken.id, taken.task_id, taken.intent, taken.stage) == (name, None, ADAPT, "adapt")


def test_what_a_stopped_process_leaves_goes_on_though_requests_came_since(store: JobStore) -> None:
    name, _ = store.enqueue(ADAPT, 100, "adapt")
    assert store.claim({"adapt": ()}) is not None
    request, _ = store.begin(None, "3", None, 10, 0)
    store.release([request.id])
    assert store.get(name).state == "queued"
    assert store.claim({"adapt": ()}) is not None
