"""Jobs in the database: seen and cancelled anywhere, taken by one process at a time, ended once, never revived."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from databases import KINDS, empty_database
from sqlalchemy import create_engine, text

from tam_backend.errors import CancelledError, NotFoundError, StoreError
from tam_backend.jobs.records import Intent, Progress, TakenJob
from tam_backend.jobs.registry import Job, JobRegistry
from tam_backend.jobs.store import JobStore
from tam_backend.store.database import Database
from tam_backend.store.holder import Holder, Holders
from tam_backend.store.task_memory import TaskMemories

# Of version 1, as `metadata.create_all` made it.
OLD_JOBS = """
CREATE TABLE jobs (id VARCHAR(32) NOT NULL PRIMARY KEY, intent TEXT NOT NULL, prediction TEXT,
                   frames_total INTEGER NOT NULL, created_at FLOAT NOT NULL)
"""
ROOM: dict[Any, tuple[str, ...]] = {"ask": (), "track": (), "tell": ()}
DONE = Progress("done", "", None, 0, 10)


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


def intent(task: int = 1, author: str = "", project: str = "7", **more: Any) -> Intent:
    """Return what an event asks for or, with an author, what somebody's Propagate does."""
    context = {"result": []} if author else None
    return Intent(project, task, {"id": task, "data": {}}, context, "<View/>", annotator=author, **more)


def claimed(store: JobStore) -> list[TakenJob]:
    """Take all that there is to take."""
    found = []
    while store.look().due and (job := store.claim(ROOM)) is not None:
        found.append(job)
    return found


def states(store: JobStore) -> dict[int | str | None, str]:
    return {view.task_id: view.state for view in store.all()}


# --- one owner ---


def test_another_process_leaves_a_live_ones_jobs_alone_and_sees_them(database: Database) -> None:
    first, second = JobStore(database), JobStore(database)
    job_id, _ = first.enqueue(intent(), 10, "track")
    [mine] = claimed(first)
    assert (mine.id, mine.intent, mine.frames_total) == (job_id, intent(), 10)
    assert claimed(second) == []
    foreign = replace(mine)
    assert not second.end(foreign, DONE)
    assert not second.put_back(foreign, DONE, 0, tried=False)
    with pytest.raises(CancelledError):
        second.keep_prediction(foreign, {"result": [1]})
    second.release()
    first.keep_prediction(mine, {"result": [2]})
    assert first.prediction(mine) == {"result": [2]}
    first.exchange([(mine, Progress("running", "", 4, 5, 10))], renew=True)
    view = second.get(job_id)
    assert (view.state, view.frame, view.frames_done, view.frames_total) == ("running", 4, 5, 10)
    assert first.end(mine, replace(DONE, frames_done=10))
    assert not first.end(mine, replace(DONE, state="failed")), "it ends once"
    assert states(second) == {1: "done"}


@pytest.mark.parametrize("end", ["released", "lease over", "dead"])
def test_what_nobody_works_on_is_taken_over_with_all_it_is(database: Database, end: str) -> None:
    first = JobStore(database, lease_s=-1 if end == "lease over" else 30)
    second = JobStore(database, DeadHolders() if end == "dead" else None)
    wanted = intent(3, "ann@x", unsaved=({"id": "r"},))
    waited_for, _ = first.begin(3, "7", wanted, 10, 0)
    first.keep_prediction(waited_for, {"result": []})
    first.enqueue(intent(), 10, "track")
    if end == "released":
        first.release()
    [found, plain] = claimed(second)
    assert (found.id, found.stage, found.frames_total, plain.stage) == (waited_for.id, "tell", 10, "track")
    assert found.intent == wanted
    assert second.prediction(found) == {"result": []}
    assert first.exchange([], renew=True) == {}, "the first one learns of it"
    with pytest.raises(CancelledError):
        first.prediction(waited_for)
    assert claimed(JobStore(database)) == [], "it has an owner again"


def test_who_lost_a_job_writes_nothing_more_of_it_even_when_it_has_the_job_again(database: Database) -> None:
    slow, other = JobStore(database, lease_s=-1), JobStore(database)
    slow.enqueue(intent(), 10, "track")
    [before] = claimed(slow)
    [taken] = claimed(other)
    assert (before.id, before.taking, taken.taking) == (taken.id, 1, 2)
    other.put_back(taken, Progress("queued", "", 3, 4, 10), 0, tried=False)
    [again] = claimed(slow)
    with pytest.raises(CancelledError):
        slow.keep_prediction(before, {"result": ["stale"]})
    slow.exchange([(before, Progress("running", "", 0, 1, 10))], renew=False)
    assert not slow.end(before, DONE)
    assert slow.get(again.id).frames_done == 4
    slow.keep_prediction(again, {"result": ["new"]})


def test_of_many_processes_that_claim_at_once_one_gets_each_job(database: Database) -> None:
    names = {JobStore(database).enqueue(intent(number), 10, "track")[0] for number in range(12)}
    stores = [JobStore(database) for _ in range(4)]
    begin = threading.Barrier(len(stores))
    got: list[str] = []

    def claim(store: JobStore) -> None:
        begin.wait(10)
        got.extend(each.id for each in claimed(store))

    in_threads([lambda store=store: claim(store) for store in stores])  # type: ignore[misc]
    assert sorted(got) == sorted(names)


def test_projects_take_turns_and_those_that_have_enough_wait(database: Database) -> None:
    store = JobStore(database)
    for task in range(4):
        store.enqueue(intent(task, project="many"), 10, "track")
    store.enqueue(intent(10, project="one"), 10, "track")
    store.enqueue(intent(11, project="asks"), 10, "ask")
    taken = []
    for _ in range(2):
        job = store.claim({"track": ()})
        assert job is not None
        taken.append(job.project)
    assert taken == ["many", "one"]
    assert store.claim({"ask": {"asks"}}) is None
    assert store.claim({}) is None
    assert [job.project for job in claimed(store)] == ["asks", "many", "many", "many"]


# --- the newest of a person's counts ---


def test_a_newer_request_replaces_the_same_persons_older_one_wherever_that_runs(database: Database) -> None:
    first, second = JobStore(database), JobStore(database)
    event, _ = first.enqueue(intent(), 10, "ask")
    other_task, _ = first.enqueue(intent(2), 10, "ask")
    waits, _ = first.begin(1, "7", intent(author="ann"), 10, 0)
    ann, _ = first.enqueue(intent(author="ann"), 10, "track")
    bob, _ = first.enqueue(intent(author="bob"), 10, "track")
    assert {each.id for each in claimed(first)} == {event, other_task, ann, bob}
    newer, overtaken = second.enqueue(intent(author="ann"), 10, "track")
    assert overtaken == [ann]
    assert (second.get(ann).state, second.get(ann).message) == (
        "cancelled",
        "A newer request for this task took over.",
    )
    second.enqueue(intent(), 10, "ask")
    assert first.exchange([], renew=True).keys() == {other_task, waits.id, bob}
    assert second.get(newer).state == "queued"


@pytest.mark.parametrize("has_ended", [False, True])
def test_what_a_newer_request_has_overtaken_is_not_taken_up_again(database: Database, has_ended: bool) -> None:
    former, living = JobStore(database), JobStore(database)
    old, _ = former.begin(1, "7", intent(author="ann"), 10, 0)
    living.enqueue(intent(author="ann"), 10, "track")
    [new] = claimed(living)
    if has_ended:
        living.end(new, DONE)
    former.release()
    assert claimed(JobStore(database)) == []
    assert living.get(old.id).state == "cancelled"


def test_of_requests_that_come_at_once_one_goes_on(database: Database) -> None:
    registry, other = JobRegistry(JobStore(database)), JobRegistry(JobStore(database))
    for _ in range(8):
        begin = threading.Barrier(4)

        def enqueue(registry: JobRegistry, begin: threading.Barrier = begin) -> None:
            begin.wait(10)
            registry.enqueue(intent())

        in_threads([lambda: enqueue(registry), lambda: enqueue(other)] * 2)
        assert registry.running == 1
    assert [view.state for view in registry.all()].count("cancelled") == 31


def test_a_frame_that_is_done_once_for_each_object_is_one_frame(database: Database) -> None:
    registry = JobRegistry(JobStore(database))
    with registry.start(1, "7", 10, intent=intent(1, "ann")) as job:
        job.measured(4, 10)
        for frame in (5, 6, 5, 6, 7):
            job.advance(frame)
        assert job.frames_done == 7


# --- what people ask for ---


def test_a_job_is_cancelled_through_any_process(database: Database) -> None:
    owner, other = JobRegistry(JobStore(database)), JobRegistry(JobStore(database))
    queued = owner.enqueue(intent(2))
    with owner.start(1, "7", 10, intent=intent(1, "ann")) as job:
        view = other.cancel(job.id, "Stop it.")
        assert (view.state, view.cancel_requested, view.ended_at) == ("running", True, None)
        assert not job.cancel_requested
        job.advance(3)
        owner.exchange()
        assert (job.cancel_requested, job.message) == (True, "Stop it.")
    view = other.get(job.id)
    assert (view.state, view.message, view.frames_done) == ("cancelled", "Stop it.", 1)
    assert other.cancel(queued).state == "cancelled", "nobody works on it"
    assert other.cancel(job.id, "again").message == "Stop it."
    with pytest.raises(NotFoundError):
        other.cancel("nope")


def test_who_claimed_a_job_that_has_not_begun_hears_of_its_end(database: Database) -> None:
    owner, other = JobRegistry(JobStore(database)), JobRegistry(JobStore(database))
    owner.enqueue(intent())
    job = owner.claim(ROOM)
    assert job is not None
    other.cancel(job.id)
    owner.exchange()
    assert (job.state, job.is_over, owner.at_work) == ("cancelled", True, 0)


def test_what_was_cancelled_while_its_process_died_does_not_go_on(database: Database) -> None:
    former, living = JobStore(database), JobRegistry(JobStore(database, DeadHolders()))
    former.enqueue(intent(), 10, "track")
    [job] = claimed(former)
    former.exchange([(job, Progress("running", "", 4, 5, 10))], renew=False)
    living.cancel(job.id)
    assert not living.look().due or living.claim(ROOM) is None
    assert (living.get(job.id).state, living.running) == ("cancelled", 0)


def test_a_job_that_must_wait_is_anybodys_when_its_time_comes(database: Database) -> None:
    first, second = JobRegistry(JobStore(database)), JobRegistry(JobStore(database))
    first.enqueue(intent())
    job = first.claim(ROOM)
    assert job is not None
    first.put_back(job, "waiting", "Label Studio is away.", 0.3)
    outlook = second.look()
    assert not outlook.due and outlook.next_due_s is not None and 0 < outlook.next_due_s <= 0.3
    assert second.claim(ROOM) is None
    assert (second.get(job.id).state, second.get(job.id).message) == ("waiting", "Label Studio is away.")
    time.sleep(outlook.next_due_s)
    again = second.claim(ROOM)
    assert again is not None and (again.id, again.attempts) == (job.id, 1)
    second.put_back(again, "queued", "", 0)
    third = first.claim(ROOM)
    assert third is not None and third.attempts == 1, "to make room for somebody is no attempt"


def test_a_cancel_that_crosses_with_a_pause_is_heard(database: Database) -> None:
    owner, other = JobRegistry(JobStore(database)), JobRegistry(JobStore(database))
    owner.enqueue(intent())
    job = owner.claim(ROOM)
    assert job is not None
    job.to("running")
    owner.exchange()
    other.cancel(job.id)
    owner.put_back(job, "waiting", "Label Studio is away.", 0)
    assert (other.get(job.id).state, other.running) == ("cancelled", 0)


# --- processes come and go ---


def test_a_job_that_another_process_took_over_stops_here(database: Database) -> None:
    registry, others = JobRegistry(JobStore(database, lease_s=-1)), JobRegistry(JobStore(database))
    registry.enqueue(intent())
    running = registry.claim(ROOM)
    assert running is not None
    running.to("running")
    assert others.look().due
    taken = others.claim(ROOM)
    registry.exchange()
    assert taken is not None and taken.id == running.id
    assert running.cancel_requested
    registry.end(running, CancelledError("x"))
    assert others.get(taken.id).state == "queued", "it was not this process's to end"


def test_a_stopped_process_leaves_its_jobs_to_others_and_its_ended_ones_to_nobody(database: Database) -> None:
    registry, others = JobRegistry(JobStore(database)), JobStore(database)
    for task in (1, 2):
        registry.enqueue(intent(task))
    queued, done = registry.claim(ROOM), registry.claim(ROOM)
    assert queued is not None and done is not None
    registry.end(done)
    with (
        registry.start(3, "7", 10, intent=intent(3, "ann")) as waited_for,
        registry.start(4, "7", 10) as plain,
    ):
        registry.interrupt_all()
        assert waited_for.cancel_requested and plain.cancel_requested
    registry.release()
    assert registry.claim(ROOM) is None
    assert {each.id for each in claimed(others)} == {queued.id, waited_for.id}
    assert states(others) == {1: "queued", 2: "done", 3: "queued", 4: "cancelled"}


def test_of_a_dead_process_what_only_its_request_knew_has_ended(database: Database) -> None:
    former, living = JobStore(database), JobStore(database, DeadHolders())
    lost, _ = former.begin("clip", "7", None, 10, 0)
    assert claimed(living) == []
    view = living.get(lost.id)
    assert (view.task_id, view.state, view.message) == ("clip", "cancelled", "The process that worked on it is gone.")


def test_the_end_of_a_job_is_written_later_where_the_database_refuses(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = JobStore(database)
    registry = JobRegistry(store)

    def refuses(*_: object) -> bool:
        raise StoreError("The disk is full.")

    with monkeypatch.context() as patch, registry.start(1, "7", 10, intent=intent(1, "ann")) as job:
        patch.setattr(store, "end", refuses)
        job.advance(0)
    assert (job.state, store.get(job.id).state, registry.at_work) == ("done", "running", 0)
    registry.exchange()
    assert (store.get(job.id).state, registry.frames_propagated) == ("done", 1)


# --- what is kept ---


@pytest.mark.parametrize("end", [None, CancelledError("x"), ValueError("x")])
def test_ended_jobs_keep_nothing_heavy(database: Database, end: Exception | None) -> None:
    registry = JobRegistry(JobStore(database))
    registry.enqueue(intent(unsaved=({"id": "large"},)))
    ended = registry.claim(ROOM)
    assert ended is not None
    registry.keep_prediction(ended, {"result": ["large"]})
    registry.end(ended, end)
    assert ended.intent is None
    with database.reading() as connection:
        assert "large" not in repr(connection.execute(text("SELECT * FROM jobs")).all())


def test_the_last_that_ended_are_seen_and_none_that_lives_is_forgotten(database: Database) -> None:
    store = JobStore(database, keep=3)
    store.enqueue(intent(99), 10, "ask")
    for task in range(6):
        taken, _ = store.begin(task, "7", None, 10, 0)
        store.end(taken, DONE)
    assert [view.task_id for view in store.all()] == [5, 4, 3, 99]
    assert [view.task_id for view in store.all(2)] == [5, 4]


def test_times_are_the_databases_and_in_order(database: Database) -> None:
    registry = JobRegistry(JobStore(database))
    job_id = registry.enqueue(intent())
    told = registry.get(job_id).as_json()
    assert (told["started_at"], told["ended_at"], told["state"]) == (None, None, "queued")
    job = registry.claim(ROOM)
    assert job is not None
    registry.end(job)
    told = registry.get(job_id).as_json()
    assert told["created_at"] <= told["started_at"] <= told["ended_at"]
    assert told["created_at"].endswith("+00:00")


def test_a_message_that_no_database_takes_is_cleaned(database: Database) -> None:
    registry = JobRegistry(JobStore(database))
    with pytest.raises(StoreError), registry.start(1, "7", 1) as job:
        raise StoreError("a\0b")
    assert registry.get(job.id).message == "ab"


@pytest.mark.parametrize("kind", KINDS)
def test_jobs_of_the_version_without_owners_go_on(kind: str, tmp_path: Path) -> None:
    url = empty_database(kind, tmp_path)
    TaskMemories(Database(url))
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
    found = {each.id: each for each in claimed(store)}
    assert {(each.id, each.task_id, each.stage) for each in found.values()} == {("a", 97, "track"), ("b", 98, "tell")}
    assert store.prediction(found["b"]) == {"result": [5]}
    newer, overtaken = store.enqueue(Intent("7", 97, {}, None, ""), 10, "ask")
    assert overtaken == ["a"], "the old ones' tasks are known"
    assert {view.id for view in store.all() if view.ended_at is None} == {"b", newer}


@pytest.mark.parametrize("damaged", ["{", "{}", "[]"])
def test_a_job_that_cannot_be_read_keeps_no_other(database: Database, damaged: str) -> None:
    store = JobStore(database)
    broken, _ = store.enqueue(intent(1), 10, "track")
    whole, _ = store.enqueue(intent(2), 10, "track")
    with database.transaction() as connection:
        connection.execute(text("UPDATE jobs SET intent = :intent WHERE id = :id"), {"intent": damaged, "id": broken})
    assert store.claim(ROOM) is None
    assert [job.id for job in claimed(store)] == [whole]
    assert (store.get(broken).state, store.get(broken).message) == ("failed", "What it was to do cannot be read.")


@pytest.mark.parametrize("chain", [None, (), (1, 2)])
def test_an_intent_is_read_as_it_was_written(chain: tuple[int, ...] | None) -> None:
    written = intent(author="ann", unsaved=({"id": "r"},), prompt_from="plates", chain=chain)
    assert Intent.from_json(written.to_json()) == written


def test_an_intent_of_a_newer_version_is_read_as_far_as_it_is_known() -> None:
    newer = json.loads(intent(author="ann", unsaved=({"id": "r"},)).to_json()) | {"priority": 3}
    assert Intent.from_json(json.dumps(newer)) == intent(author="ann", unsaved=({"id": "r"},))


def test_a_handle_tells_its_worker_at_once_what_this_process_was_asked(database: Database) -> None:
    registry = JobRegistry(JobStore(database))
    seen: list[Job] = []
    with registry.start(1, "7", 10, intent=intent(1, "ann")) as waits:
        registry.enqueue(intent(1, "ann"))
        first = registry.claim(ROOM)
        assert first is not None
        first.to("running")
        registry.enqueue(intent(1, "ann"))
        assert first.cancel_requested and not waits.cancel_requested
        registry.cancel(waits.id)
        assert waits.cancel_requested
        seen.append(first)
    registry.end(seen[0])
    assert sorted(view.state for view in registry.all()) == ["cancelled", "cancelled", "queued"]


def in_threads(works: list[Callable[[], None]]) -> None:
    threads = [threading.Thread(target=work) for work in works]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
