"""A process takes no job that another could begin sooner, and a slow Label Studio keeps nobody from tracking."""

from __future__ import annotations

import pytest

from tam_backend.jobs import at_work
from tam_backend.jobs.at_work import AtWork
from tam_backend.jobs.executor import InProcessExecutor
from tam_backend.jobs.records import Stage


def at_work_with(limits: dict[Stage, int]) -> AtWork:
    def at_once(count: int) -> InProcessExecutor:
        return InProcessExecutor(threads=lambda: count, one_a_project=True)

    return AtWork({stage: at_once(count) for stage, count in ({"adapt": 0} | limits).items()})


def test_who_has_nothing_to_do_takes_anything() -> None:
    assert at_work_with({"ask": 4, "track": 1, "tell": 4}).room == {"ask": set(), "track": (), "tell": set()}


def test_what_is_asked_for_now_is_tracked_next_so_no_more_is_taken() -> None:
    works = at_work_with({"ask": 4, "track": 1, "tell": 4})
    works.enter("a", "7", "ask")
    assert works.room == {"tell": set()}
    works.enter("a", "7", "track")
    assert works.room == {"tell": set()}
    works.enter("a", "7", "tell")
    assert works.room == {"ask": set(), "track": (), "tell": {"7"}}
    works.leave("a")
    assert works.room["tell"] == set()


def test_who_waits_long_for_an_answer_keeps_others_tracking_up_to_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(at_work, "_QUICK_S", 0.0)
    works = at_work_with({"ask": 2, "track": 1, "tell": 1})
    works.enter("a", "7", "ask")
    assert works.room == {"ask": {"7"}, "track": (), "tell": set()}
    works.enter("b", "8", "ask")
    assert works.room == {"track": (), "tell": set()}
    works.enter("c", "9", "tell")
    assert works.room == {"track": ()}


def test_networks_of_one_project_learn_at_a_time_and_keep_nobody_from_tracking() -> None:
    works = at_work_with({"ask": 1, "track": 1, "tell": 1, "adapt": 1})
    assert works.room["adapt"] == ()
    works.enter("a", "7", "adapt")
    assert works.room == {"ask": set(), "track": (), "tell": set()}
