"""Jobs in the database: each has one owner, a dead one's are taken over once, and the newest of a person's stays."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import KINDS, empty_database
from sqlalchemy import create_engine, text

from tam_backend.errors import CancelledError
from tam_backend.jobs.registry import JobRegistry
from tam_backend.jobs.store import Intent, JobStore, UnfinishedJob
from tam_backend.store.database import Database
from tam_backend.store.holder import Holder, Holders

# Of version 1, as `metadata.create_all` made it.
OLD_JOBS = """
CREATE TABLE jobs (id VARCHAR(32) NOT NULL PRIMARY KEY, intent TEXT NOT NULL, prediction TEXT,
                   frames_total INTEGER NOT NULL, created_at FLOAT NOT NULL)
"""


class DeadHolders(Holders):
    """Everybody else is dead."""

    def lives(self, holder: Holder) -> bool:
        return False


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_database(request.param, tmp_path)


@pytest.fixture
def database(url: str) -> Database:
    return Database(url)


def intent(task: int = 1, author: str = "", **more: Any) -> Intent:
    """Return what an event asks for or, with an author, what somebody's Propagate does."""
    context = {"result": []} if author else None
    return Intent("7", task, {"id": task, "data": {}}, context, "<View/>", annotator=author, **more)


def job(name: str, wanted: Intent | None = None) -> UnfinishedJob:
    return UnfinishedJob(name, wanted or intent(), 10)


def kept(database: Database) -> set[str]:
    with database.reading() as connection:
        return set(connection.execute(text("SELECT id FROM jobs")).scalars())


def test_another_process_leaves_a_live_ones_jobs_alone(database: Database) -> None:
    first, second = JobStore(database), JobStore(database)
    first.add(job("a"), waited_for=False)
    assert second.claim() == []
    second.drop("a")
    with pytest.raises(CancelledError):
        second.keep_prediction("a", {"result": [1]})
    second.release()
    assert first.renew() == {"a"}
    first.keep_prediction("a", {"result": [2]})
    assert first.prediction("a") == {"result": [2]}
    first.drop("a")
    assert kept(database) == set()


@pytest.mark.parametrize("end", ["released", "lease over", "dead"])
def test_what_nobody_works_on_is_taken_over_with_all_it_is(database: Database, end: str) -> None:
    first = JobStore(database, lease_s=-1 if end == "lease over" else 30)
    second = JobStore(database, DeadHolders() if end == "dead" else None)
    wanted = intent(3, "ann@x", unsaved=({"id": "r"},))
    first.add(job("a", wanted), waited_for=True)
    first.keep_prediction("a", {"result": []})
    first.add(job("b"), waited_for=False)
    if end == "released":
        first.release()
    claimed = second.claim()
    assert [(each.id, each.frames_total, each.found) for each in claimed] == [("a", 10, True), ("b", 10, False)]
    assert claimed[0].intent == replace(wanted, unsaved=[{"id": "r"}])
    assert second.prediction("a") == {"result": []}
    assert first.renew() == frozenset(), "the first one learns of it"
    with pytest.raises(CancelledError):
        first.prediction("a")
    assert JobStore(database).claim() == [], "it has an owner again"


def test_of_many_processes_that_claim_at_once_one_gets_each_job(database: Database) -> None:
    former = JobStore(database)
    names = {f"job-{number}" for number in range(12)}
    for number, name in enumerate(sorted(names)):
        former.add(job(name, intent(number)), waited_for=False)
    former.release()
    stores = [JobStore(database) for _ in range(4)]
    begin = threading.Barrier(len(stores))
    got: list[str] = []

    def claim(store: JobStore) -> None:
        begin.wait(10)
        got.extend(each.id for each in store.claim())

    in_threads([lambda store=store: claim(store) for store in stores])  # type: ignore[misc]
    assert sorted(got) == sorted(names)


def test_a_newer_request_replaces_the_same_persons_older_one_wherever_that_runs(database: Database) -> None:
    first, second = JobStore(database), JobStore(database)
    for name, wanted, waited_for in (
        ("event", intent(), False),
        ("other task", intent(2), False),
        ("ann waits", intent(author="ann"), True),
        ("ann", intent(author="ann"), False),
        ("bob", intent(author="bob"), False),
    ):
        first.add(job(name, wanted), waited_for=waited_for)
    second.add(job("newer ann", intent(author="ann")), waited_for=False)
    assert kept(database) == {"event", "other task", "ann waits", "bob", "newer ann"}
    second.add(job("newer event"), waited_for=False)
    assert first.renew() == {"other task", "ann waits", "bob"}


def test_what_a_newer_request_has_overtaken_is_not_taken_up_again(database: Database) -> None:
    former, living = JobStore(database), JobStore(database)
    former.add(job("old", intent(author="ann")), waited_for=True)
    living.add(job("new", intent(author="ann")), waited_for=False)
    former.release()
    assert JobStore(database).claim() == []
    assert kept(database) == {"new"}


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_of_the_version_without_owners_go_on(kind: str, tmp_path: Path) -> None:
    url = empty_database(kind, tmp_path)
    Database(url).close()
    engine = create_engine(url)
    content = {"project": "7", "task_id": 4, "task": {"id": 4}, "context": None, "label_config": "<View/>"}
    with engine.begin() as connection:
        connection.execute(text("DROP TABLE jobs"))
        connection.execute(text(OLD_JOBS))
        connection.execute(text("ALTER TABLE task_memories DROP COLUMN used_at"))
        connection.execute(text("UPDATE schema_version SET version = 1"))
        for name, prediction in (("a", None), ("b", json.dumps({"result": [5]}))):
            row = {"id": name, "intent": json.dumps({**content, "task_id": ord(name)}), "prediction": prediction}
            connection.execute(text("INSERT INTO jobs VALUES (:id, :intent, :prediction, 9, 1.5)"), row)
    engine.dispose()
    store = JobStore(Database(url))
    assert {(each.id, each.intent.task_id, each.found) for each in store.claim()} == {
        ("a", 97, False),
        ("b", 98, True),
    }
    assert store.prediction("b") == {"result": [5]}
    store.add(job("newer", Intent("7", 97, {}, None, "")), waited_for=False)
    assert store.renew() == {"b", "newer"}, "the old ones' tasks are known"


def test_of_requests_that_come_at_once_the_one_that_goes_on_is_the_one_that_is_kept(database: Database) -> None:
    """Four threads ask for one task: whatever a restart would revive is what runs, and nothing else."""
    registry = JobRegistry(store=JobStore(database))
    for _ in range(15):
        begin = threading.Barrier(4)

        def enqueue(begin: threading.Barrier = begin) -> None:
            begin.wait(10)
            registry.enqueue(intent())

        in_threads([enqueue] * 4)
        living = [each for each in registry.all() if each.ended_at is None]
        assert {each.id for each in living} == kept(database)
        assert len(living) == 1


def test_a_job_can_be_seen_only_once_it_is_stored(database: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    store = JobStore(database)
    registry = JobRegistry(store=store)
    seen = []
    add = store.add

    def adding(kept_job: UnfinishedJob, *, waited_for: bool) -> None:
        seen.append([each.id for each in registry.all()])
        add(kept_job, waited_for=waited_for)

    monkeypatch.setattr(store, "add", adding)
    first = registry.enqueue(intent())
    with registry.start(1, "7", 10, intent=intent(author="ann")) as second:
        assert seen == [[], [first.id]]
        assert kept(database) == {first.id, second.id}
    assert kept(database) == {first.id}


def test_a_job_that_another_process_took_over_stops_here(database: Database) -> None:
    store = JobStore(database, lease_s=-1)
    registry, others = JobRegistry(store=store), JobRegistry(store=JobStore(database))
    waiting = registry.enqueue(intent())
    [taken] = others.claim()
    registry.renew()
    others.renew()
    assert (waiting.state, taken.state, taken.id) == ("cancelled", "queued", waiting.id)
    assert kept(database) == {waiting.id}, "it was not this process's to drop"


def test_a_stopped_process_leaves_its_jobs_to_others_and_its_ended_ones_to_nobody(database: Database) -> None:
    registry = JobRegistry(store=JobStore(database))
    queued, done = registry.enqueue(intent(1)), registry.enqueue(intent(2))
    registry.end(done)
    with registry.start(3, "7", 10, intent=intent(3, "ann")) as waited_for:
        registry.interrupt_all()
    registry.release()
    assert {each.id for each in JobRegistry(store=JobStore(database)).claim()} == {queued.id, waited_for.id}


@pytest.mark.parametrize("end", [None, CancelledError("x"), ValueError("x")])
def test_ended_jobs_keep_nothing_heavy(database: Database, end: Exception | None) -> None:
    registry = JobRegistry(store=JobStore(database))
    ended = registry.enqueue(intent())
    registry.keep_prediction(ended, {"result": ["large"]})
    assert registry.prediction(ended) == {"result": ["large"]}
    registry.end(ended, end)
    assert "large" not in repr(vars(ended))
    assert ended.intent is None
    cancelled = registry.enqueue(intent(2))
    registry.cancel(cancelled.id)
    assert cancelled.intent is None


def in_threads(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
