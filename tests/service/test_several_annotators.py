# ruff: noqa: F811 - fixtures are imported
"""Several annotators of one task: what is one's own stays one's own, and nobody's work ends another's."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta, timezone
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import update
from synthetic import iou
from test_backend import PROPAGATE, VIDEO, backend, by_frame, data, draft, mask_of, point, predict  # noqa: F401 - fixtures

from tam_backend.errors import InvalidInputError
from tam_backend.service.backend import Backend
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.task_memory import TaskMemory
from tam_backend.store.unsaved_answers import AnswerMemory, _answers

Data = Mapping[str, Any]
LATER = "2999-01-02T00:00:00Z"


def labels(results: list[dict[str, Any]]) -> set[str]:
    return {each["value"]["brushlabels"][0] for each in results}


# --- unsaved answers ---


def test_what_one_has_not_saved_is_never_handed_to_another(backend: Backend, data: Data) -> None:
    [bird] = predict(backend, data, point(0, "Bird", disc=2), drafts=draft(by=2))
    predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    assert labels(predict(backend, data, PROPAGATE, drafts=draft(bird, by=2))) == {"Bird"}
    assert labels(predict(backend, data, PROPAGATE, drafts=draft(by=1))) == {"Rabbit"}
    with pytest.raises(InvalidInputError, match="nothing to propagate"):
        predict(backend, data, PROPAGATE, drafts=draft(by=3))


def test_who_has_no_draft_is_handed_nobodys_unsaved_answer(backend: Backend, data: Data) -> None:
    predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    predict(backend, data, point(0, "Bird", disc=2, name="b"))
    with pytest.raises(InvalidInputError, match="saved your draft"):
        predict(backend, data, PROPAGATE)


def test_who_has_no_draft_sees_what_was_submitted_not_what_its_author_has_unsaved(
    backend: Backend,
    data: Data,
) -> None:
    [rabbit] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    annotation = {"id": 5, "result": [rabbit], "completed_by": 1, "updated_at": "2020-01-01T00:00:00Z"}
    predict(backend, data, point(0, "Bird", disc=2, name="b"), drafts=draft(rabbit, by=1), annotations=[annotation])
    assert labels(predict(backend, data, PROPAGATE, annotations=[annotation])) == {"Rabbit"}


def test_one_person_in_two_tabs_is_one_annotator(backend: Backend, data: Data) -> None:
    predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    other_tab = [{**draft(by=1)[0], "id": 99}]
    assert labels(predict(backend, data, PROPAGATE, drafts=other_tab)) == {"Rabbit"}


def test_what_one_deletes_another_still_has(backend: Backend, data: Data) -> None:
    [rabbit] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    predict(backend, data, PROPAGATE, drafts=draft(rabbit, by=2))
    [bird] = predict(backend, data, point(0, "Bird", disc=2), drafts=draft(rabbit, by=2, updated_at=LATER))
    assert labels(predict(backend, data, PROPAGATE, drafts=draft(bird, by=2))) == {"Bird"}
    assert labels(predict(backend, data, PROPAGATE, drafts=draft(by=1))) == {"Rabbit"}


def test_another_process_on_the_same_database_knows_what_is_unsaved(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "tam.sqlite")
    task = {"drafts": draft(by=1)}
    AnswerMemory(Database(url)).remember("7", "1", "1", task, [{"id": "tam-a-0f"}])
    assert AnswerMemory(Database(url)).unsaved("7", "1", "1", task) == [{"id": "tam-a-0f"}]


# --- no clocks of two machines ---


class Answers:
    """One annotator's answers, of which some were given a while ago by the database's clock."""

    def __init__(self, folder: Path) -> None:
        self._database = Database(sqlite_url(folder / "tam.sqlite"))
        self._memory = AnswerMemory(self._database)

    def remember(self, name: str, drafts: list[dict[str, Any]]) -> None:
        self._memory.remember("7", "1", "1", {"drafts": drafts}, [{"id": name}])

    def wait(self, seconds: float) -> None:
        with self._database.transaction() as connection:
            connection.execute(update(_answers).values(answered_at=_answers.c.answered_at - seconds))

    def unsaved(self, drafts: list[dict[str, Any]]) -> list[str]:
        return [each["id"] for each in self._memory.unsaved("7", "1", "1", {"drafts": drafts})]


@pytest.fixture
def answers(tmp_path: Path) -> Answers:
    return Answers(tmp_path)


SKEWS = [timedelta(0), timedelta(seconds=61), timedelta(minutes=-7), timedelta(hours=9), timedelta(hours=-11)]


@pytest.fixture(params=SKEWS, ids=str)
def stamp(request: pytest.FixtureRequest) -> Callable[[float], str]:
    """Label Studio's time so many seconds from now; its clock goes wrong."""
    return lambda seconds: (datetime.now(timezone.utc) + request.param + timedelta(seconds=seconds)).isoformat()


def test_a_draft_that_was_not_saved_since_the_answer_tells_nothing(answers: Answers, stamp: Callable[..., str]) -> None:
    saved = draft(by=1, updated_at=stamp(-30))
    answers.remember("a", saved)
    assert answers.unsaved(saved) == ["a"]
    answers.wait(60)
    assert answers.unsaved(saved) == ["a"], "the annotator turns pages, and the editor saves nothing"


def test_a_draft_saved_long_after_the_answer_without_it_tells_that_it_is_gone(
    answers: Answers, stamp: Callable[..., str]
) -> None:
    answers.remember("a", draft(by=1, updated_at=stamp(-30)))
    answers.wait(12)
    assert answers.unsaved(draft(by=1, updated_at=stamp(0))) == []


def test_a_draft_saved_right_after_the_click_may_be_older_than_the_acceptance(
    answers: Answers, stamp: Callable[..., str]
) -> None:
    answers.remember("a", draft(by=1, updated_at=stamp(-30)))
    assert answers.unsaved(draft(by=1, updated_at=stamp(2))) == ["a"]
    answers.wait(20)
    assert answers.unsaved(draft(by=1, updated_at=stamp(-26))) == ["a"], "it was accepted after that save"


def test_a_draft_with_a_later_answer_tells_that_an_earlier_one_was_not_accepted(
    answers: Answers, stamp: Callable[..., str]
) -> None:
    saved = draft(by=1, updated_at=stamp(-30))
    for name in ("a", "b", "c"):
        answers.remember(name, saved)
    assert answers.unsaved(draft({"id": "b"}, by=1, updated_at=stamp(0))) == ["b", "c"]


def test_an_answer_is_forgotten_after_ten_minutes(answers: Answers) -> None:
    saved = draft(by=1)
    answers.remember("a", saved)
    answers.wait(601)
    assert answers.unsaved(saved) == []
    answers.remember("b", saved)
    assert answers.unsaved(saved) == ["b"]


def test_the_answers_of_one_task_are_bounded(answers: Answers) -> None:
    for number in range(80):
        answers.remember(str(number), draft(by=1))
    assert answers.unsaved(draft(by=1)) == [str(number) for number in range(16, 80)]


# --- at the same time ---


@pytest.fixture
def three(backend: Backend, data: Data) -> Iterator[dict[int, list[dict[str, Any]]]]:
    """Three annotators' drafts: the rabbit, the bird, both."""
    [rabbit] = predict(backend, data, point(0, "Rabbit", name="r"))
    [bird] = predict(backend, data, point(9, "Bird", disc=2, name="b"))
    yield {1: draft(rabbit, by=1), 2: draft(bird, by=2), 3: draft(rabbit, bird, by=3)}


def test_three_annotators_propagate_at_once_and_each_gets_their_own_track(
    backend: Backend,
    data: Data,
    three: dict[int, list[dict[str, Any]]],
) -> None:
    together = threading.Barrier(3, timeout=30)
    found: dict[int, list[dict[str, Any]]] = {}

    def press(annotator: int) -> None:
        met = iter([True])

        def waits_for_the_others() -> bool:
            if next(met, False):
                together.wait()
            return False

        found[annotator] = predict(backend, data, PROPAGATE, drafts=three[annotator], cancelled=waits_for_the_others)

    threads = [threading.Thread(target=press, args=(annotator,)) for annotator in three]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert {annotator: labels(results) for annotator, results in found.items()} == {
        1: {"Rabbit"},
        2: {"Bird"},
        3: {"Rabbit", "Bird"},
    }
    for results in found.values():
        for label, disc in (("Rabbit", 1), ("Bird", 2)):
            for frame, each in by_frame(results, label).items():
                assert iou(mask_of(each), VIDEO.truth(frame, disc)) > 0.7
    assert [job.state for job in backend.jobs.all()] == ["done"] * 3


def test_one_annotators_own_newer_propagation_still_takes_over(
    backend: Backend,
    data: Data,
    three: dict[int, list[dict[str, Any]]],
) -> None:
    first = predict(backend, data, PROPAGATE, drafts=three[1])
    both = [{**three[3][0], "created_username": three[1][0]["created_username"]}]
    predict(backend, data, PROPAGATE, drafts=both)
    assert labels(first) == {"Rabbit"}
    assert backend.jobs.frames_propagated == 20, "the same session goes on"


# --- what was deleted ---


def test_what_one_annotator_erased_is_there_for_the_others() -> None:
    held = {"a": frozenset({1, 2, 3})}
    memory = TaskMemory()
    for number, annotator in ((5, "1"), (6, "2"), (7, None)):
        memory = memory.with_annotation(number, held, None, {}, annotator)
    memory = memory.with_annotation(5, {"a": frozenset({1, 3})}, None, {}, "1")
    assert memory.erased_for("1") == {"a": frozenset({2})}
    assert memory.erased_for("2") == {}
    assert memory.erased_for(None) == {"a": frozenset({2})}
    memory = memory.with_annotation(6, {"a": frozenset({1, 2})}, None, {}, "2")
    assert (memory.erased_for("1"), memory.erased_for("2")) == ({"a": frozenset({2})}, {"a": frozenset({3})})
    assert memory.erased_for(None) == {"a": frozenset({2, 3})}
    assert TaskMemory.from_json(memory.to_json()) == memory


def test_with_a_persons_last_annotation_goes_what_that_person_erased() -> None:
    held, less = {"a": frozenset({1, 2})}, {"a": frozenset({1})}
    memory = TaskMemory()
    for number, annotator in ((5, "1"), (6, "1"), (7, "2")):
        memory = memory.with_annotation(number, held, None, {}, annotator)
    for number, annotator in ((5, "1"), (7, "2")):
        memory = memory.with_annotation(number, less, None, {}, annotator)
    assert memory.with_deleted([7]).erased_for(None) == {"a": frozenset({2})}
    assert memory.with_deleted([7]).erased_for("2") == {}
    assert memory.with_deleted([5]).erased_for("1") == {"a": frozenset({2})}, "their other annotation is left"
    assert memory.with_deleted([5]).with_deleted([6]).erased_for("1") == {}
    assert TaskMemory.from_json(memory.with_deleted([5]).to_json()) == memory.with_deleted([5])


def test_what_was_erased_before_annotators_were_told_apart_counts_for_everybody() -> None:
    old = TaskMemory().to_json().replace('"erased_by": {}', '"erased": {"a": [2]}')
    assert TaskMemory.from_json(old).erased_for("1") == {"a": frozenset({2})}
    assert TaskMemory.from_json(old).erased_for("2") == {"a": frozenset({2})}
