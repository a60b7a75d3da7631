"""What is remembered of a task: lasting ids, the masks that were sent, what an annotator erased."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import KINDS, empty_database
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.store.database import Database
from tam_backend.store.task_memory import TaskMemories, TaskMemory

KEYS = st.lists(st.text("abcdef", min_size=1, max_size=3), max_size=5)


@pytest.fixture(params=KINDS)
def memories(request: pytest.FixtureRequest, tmp_path: Path) -> TaskMemories:
    return TaskMemories(Database(empty_database(request.param, tmp_path)))


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


def test_an_object_of_which_no_annotation_has_a_mask_any_more_was_dropped() -> None:
    both = {"a": frozenset({1}), "b": frozenset({1})}
    one = {"a": frozenset({1})}
    made = TaskMemory().with_pushed(9, "digest", both).with_annotation(5, one, 9, {})
    assert made.dropped == {"b"}
    assert made.with_annotation(6, both, 9, {}).dropped == frozenset(), "somebody else has it"
    assert made.with_annotation(5, {}, 9, {}).dropped == {"a", "b"}
    assert made.with_annotation(5, {}, 9, {}).with_annotation(5, both, 9, {}).dropped == frozenset()
    assert made.with_deleted([5]).dropped == frozenset(), "nobody says so any more"


def test_everything_comes_back_from_the_database(memories: TaskMemories) -> None:
    assert memories.get("7", "1") == TaskMemory()
    whole = (
        TaskMemory()
        .with_objects(["a", "b"])
        .with_sent({("a", 3): ("d", "vd")})
        .with_pushed(9, "digest", {"a": frozenset({1, 2})})
        .with_annotation(5, {"a": frozenset({2})}, 9, {})
        .with_annotation(6, {"d": frozenset({2})}, None, {})
        .with_annotation(6, {"a": frozenset({2})}, None, {})
        .with_seeds({"b": ("Bird", "code"), "c": (None, "other")})
    )
    memories.change("7", "1", lambda _: whole)
    assert memories.get("7", "1") == whole
    assert memories.get("7", "2") == TaskMemory()


def test_of_predictions_the_last_few_and_those_that_annotations_were_made_from_are_kept() -> None:
    held = {"a": frozenset(range(3000))}
    memory = TaskMemory().with_pushed(100, "d", held).with_annotation(5, held, 100, {})
    for number in range(101, 151):
        memory = memory.with_pushed(number, "d", held)
    assert sorted(memory.predictions) == [100, *range(143, 151)]
    size = len(memory.to_json())
    assert len(memory.with_pushed(151, "d", held).to_json()) == size, "it grows no more"
    assert memory.with_annotation(6, {"a": frozenset(range(2999))}, 145, {}).erased, "what was erased of them is seen"


def test_a_deleted_annotation_is_forgotten_and_with_the_last_one_what_was_erased() -> None:
    memory = TaskMemory().with_annotation(5, {"a": frozenset({1, 2})}, None, {})
    memory = memory.with_annotation(5, {"a": frozenset({1})}, None, {}).with_annotation(6, {}, None, {})
    assert memory.erased
    assert memory.with_deleted([5]).annotations.keys() == {6}
    assert memory.with_deleted([5]).erased == memory.erased
    assert memory.with_deleted([6, 5, 99]).erased == {}


def test_tasks_are_found_by_their_annotations(memories: TaskMemories) -> None:
    for project, task, number in (("7", "1", 5), ("7", "2", 55), ("7", "3", 500), ("8", "4", 5)):
        memories.change(
            project,
            task,
            lambda memory, number=number: memory.with_annotation(number, {}, None, {}).with_pushed(5000, "", {}),
        )
    assert memories.with_any_of("7", [5]) == ["1"]
    assert memories.with_any_of("7", [500, 55, *range(1000, 1300)]) == ["2", "3"]
    assert memories.with_any_of("7", [5000, 50]) == []
