"""Which task next: the most to mend first; what was not tracked, or not begun, before what is surely fine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tam_backend.session.tasks_by_gain import tasks_by_gain
from tam_backend.store.sessions import SessionKey, SessionSummary, SessionView

VIDEOS = st.lists(st.lists(st.floats(0, 1), min_size=1, max_size=40), max_size=6)


def view(values: list[float], frames: int | None = None, labels: dict[int, str] | None = None) -> SessionView:
    """A video whose first frame is a keyframe and whose masks have these qualities."""
    labels = {1: "dog"} if labels is None else labels
    total = len(values) if frames is None else frames
    summary = SessionSummary(SessionKey("7", "1", "m"), total, len(values), (90, 160), labels, "w", 0.0)
    quality = {1: dict(enumerate(values))} if values else {}
    return SessionView(summary, quality, {1: dict.fromkeys(range(len(values)), "propagated")}, {1: (0,)})


@given(VIDEOS, st.integers(0, 3))
def test_every_task_is_named_once_and_the_most_to_mend_comes_first(videos: list[list[float]], untouched: int) -> None:
    tasks = [(str(number), view(values)) for number, values in enumerate(videos)]
    ordered = tasks_by_gain([*tasks, *((f"new {number}", None) for number in range(untouched))])
    assert sorted(each.task for each in ordered) == sorted(
        [task for task, _ in tasks] + [f"new {number}" for number in range(untouched)]
    )
    gains = [each.gain for each in ordered]
    assert gains == sorted(gains, reverse=True)
    assert all(gain >= 0 for gain in gains)


def test_the_longer_of_two_doubtful_videos_comes_before_the_shorter_and_a_sure_one_last() -> None:
    ordered = tasks_by_gain([("sure", view([0.95] * 50)), ("short", view([0.5] * 10)), ("long", view([0.5] * 50))])
    assert [each.task for each in ordered] == ["long", "short", "sure"]
    assert ordered[0].state == "to correct"
    assert ordered[0].look is not None
    assert (ordered[2].state, ordered[2].gain, ordered[2].look) == ("nothing in doubt", 0.0, None)


def test_a_task_says_where_to_look_and_at_what() -> None:
    [each] = tasks_by_gain([("12", view([0.95] * 30 + [0.2] * 5 + [0.95] * 5))])
    assert each.look is not None
    assert 30 <= each.look.frame < 35
    assert each.label == "dog"
    [nameless] = tasks_by_gain([("12", view([0.2] * 9, labels={}))])
    assert nameless.label == "object 1"


def test_a_task_that_was_clicked_but_not_tracked_lacks_all_its_masks() -> None:
    clicked = view([], frames=100, labels={1: "dog", 2: "cat"})
    [first, second] = tasks_by_gain([("tracked", view([0.5] * 100)), ("clicked", clicked)])
    assert (first.task, first.state, first.gain) == ("clicked", "to propagate", 0.5 * 200)
    assert second.state == "to correct"


def test_doubt_before_a_cancelled_propagation_counts_with_what_is_missing_after_it() -> None:
    whole, half = (tasks_by_gain([("1", view([0.5] * 50, frames))])[0] for frames in (50, 100))
    assert half.gain == whole.gain + 0.5 * 50
    assert half.look == whole.look


def test_a_task_that_was_not_begun_counts_like_the_mean_video() -> None:
    """Its first click brings masks of all frames: more than any correction of as long a video."""
    ordered = tasks_by_gain([("new", None), ("a", view([0.6] * 20)), ("b", view([0.6] * 60))])
    assert (ordered[0].task, ordered[0].state) == ("new", "not begun")
    assert round(ordered[0].gain, 6) == 0.6 * 40


def test_a_project_that_nobody_has_begun_keeps_its_order() -> None:
    assert [each.task for each in tasks_by_gain([("5", None), ("3", None), ("4", None)])] == ["5", "3", "4"]
    assert tasks_by_gain([]) == []
