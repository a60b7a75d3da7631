"""Which worker is asked."""

from __future__ import annotations

from collections import Counter

from hypothesis import given
from hypothesis import strategies as st

from tam_backend.store.sessions import SessionKey
from tam_backend.workers.choice import chosen, ranked
from tam_backend.workers.workers import View

NAMES = st.sets(st.text(min_size=1, max_size=8), min_size=1, max_size=8)


def view(task: int, annotator: str = "") -> View:
    return View(SessionKey("1", str(task), "media", annotator), "a.mp4", task)


@given(NAMES, st.integers(0, 1000))
def test_a_task_moves_only_when_its_own_worker_goes(names: set[str], task: int) -> None:
    first = ranked(view(task), names)[0]
    for gone in names - {first}:
        assert ranked(view(task), names - {gone})[0] == first


@given(NAMES, st.integers(0, 1000))
def test_everybody_ranks_alike(names: set[str], task: int) -> None:
    assert ranked(view(task), sorted(names)) == ranked(view(task), sorted(names, reverse=True))
    assert ranked(view(task, "5"), names) == ranked(view(task, "6"), names), "annotators share a video's embeddings"


def test_tasks_are_spread_evenly() -> None:
    names = [f"worker-{number}" for number in range(4)]
    counts = Counter(ranked(view(task), names)[0] for task in range(1000))
    assert all(200 < counts[name] < 300 for name in names)


def test_whoever_holds_the_session_goes_on_with_it() -> None:
    waiting = {"a": 5, "b": 0, "c": 0}
    assert chosen(view(1), "track", waiting, "a") == "a"
    assert chosen(view(1), "background", waiting, "a") == "a"


def test_a_click_goes_where_the_embedding_is() -> None:
    waiting = {"a": 5, "b": 0, "c": 0}
    first = ranked(view(1), waiting)[0]
    assert {chosen(view(1), "click", waiting, holder) for holder in ("a", "b", "c", None)} == {first}


def test_a_job_goes_where_nothing_waits() -> None:
    assert chosen(view(1), "background", {"a": 5, "b": 0, "c": 2}, None) == "b"
    assert chosen(view(1), "background", {"a": 5, "b": 0, "c": 2}, "gone") == "b"


def test_a_propagation_does_not_queue_up_while_the_second_of_the_ranking_has_time() -> None:
    first, second, third = ranked(view(1), "abc")
    assert chosen(view(1), "track", {first: 1, second: 1, third: 0}, None) == first
    assert chosen(view(1), "track", {first: 1, second: 0, third: 0}, None) == second


def test_there_may_be_no_worker() -> None:
    assert chosen(view(1), "track", {}, "gone") is None
