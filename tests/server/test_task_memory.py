"""What is remembered of a task: lasting ids, the masks that were sent, what an annotator erased."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from tam_backend.pipeline.database import Database, sqlite_url
from tam_backend.server.job_store import Intent, JobStore, UnfinishedJob
from tam_backend.server.task_memory import TaskMemories, TaskMemory

KEYS = st.lists(st.text("abcdef", min_size=1, max_size=3), max_size=5)


@given(KEYS, KEYS)
def test_an_object_keeps_its_id_and_no_other_gets_it(first: list[str], second: list[str]) -> None:
    before = TaskMemory().with_objects(first)
    after = before.with_objects(second)
    assert before.object_ids.items() <= after.object_ids.items()
    assert len(set(after.object_ids.values())) == len(after.object_ids) == len({*first, *second})


def test_the_last_few_masks_that_were_sent_are_known() -> None:
    memory = TaskMemory()
    for number in range(12):
        memory = memory.with_sent({("a", 3): (f"{number}", f"v{number}"), ("b", 0): ("same", "vsame")})
    assert memory.digests[("a", 3)] == tuple(each for number in range(4, 12) for each in (f"{number}", f"v{number}"))
    assert memory.digests[("b", 0)] == ("same", "vsame")


def test_what_is_gone_from_an_annotation_was_erased_unless_a_human_had_put_it_there() -> None:
    seen = TaskMemory().with_annotation(5, {"a": frozenset({1, 2, 3})}, None, {})
    assert seen.erased == {}
    after = seen.with_annotation(5, {"a": frozenset({1})}, None, {"a": {3}})
    assert after.erased_for(None) == {"a": frozenset({2})}
    again = after.with_annotation(5, {"a": frozenset({1, 2})}, None, {})
    assert again.erased == {}, "it was drawn again"


def test_an_annotation_made_from_a_prediction_is_compared_with_that() -> None:
    pushed = TaskMemory().with_pushed(9, "digest", {"a": frozenset({1, 2})})
    made = pushed.with_annotation(5, {"a": frozenset({2})}, 9, {})
    assert made.erased_for(None) == {"a": frozenset({1})}
    assert made.parents == {9}
    assert pushed.with_annotation(5, {"a": frozenset({2})}, None, {}).erased == {}


def test_everything_comes_back_from_the_database(tmp_path: Path) -> None:
    memories = TaskMemories(Database(sqlite_url(tmp_path / "tam.sqlite")))
    assert memories.get("7", "1") == TaskMemory()
    whole = (
        TaskMemory()
        .with_objects(["a", "b"])
        .with_sent({("a", 3): ("d", "vd")})
        .with_pushed(9, "digest", {"a": frozenset({1, 2})})
        .with_annotation(5, {"a": frozenset({2})}, 9, {})
        .with_seeds({"b": ("Bird", "code"), "c": (None, "other")})
    )
    memories.change("7", "1", lambda _: whole)
    assert memories.get("7", "1") == whole
    assert memories.get("7", "2") == TaskMemory()


def test_unfinished_jobs_come_back_oldest_first_until_they_are_dropped(tmp_path: Path) -> None:
    store = JobStore(Database(sqlite_url(tmp_path / "tam.sqlite")))
    intent = Intent("7", 1, {"id": 1, "data": {"frames": ["ä"]}}, None, "<View/>", [{"id": "r"}])
    jobs = [UnfinishedJob("b", intent, None, 10), UnfinishedJob("a", intent, {"result": []}, 10)]
    for job in jobs:
        store.put(job)
    assert store.all() == jobs
    found = UnfinishedJob("b", intent, {"result": [1]}, 10)
    store.put(found)
    assert store.all() == [found, jobs[1]], "what was found later does not make it younger"
    store.drop("b")
    assert store.all() == [jobs[1]]
