"""Which task next: the most to mend first; what was not tracked, or not begun, before what is surely fine."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tam_backend.session.tasks_by_gain import after_looks, tasks_by_gain
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
    assert (first.task, first.state, first.gain) == ("clicked", "to propagate", 0.5 * 199), "the clicked mask is there"
    assert second.state == "to correct"


def of_objects(tracks: dict[int, dict[int, float]], keyframes: dict[int, tuple[int, ...]], frames: int) -> SessionView:
    """A video with an object for each track of frame -> quality."""
    done = {frame for track in tracks.values() for frame in track}
    summary = SessionSummary(
        SessionKey("7", "1", "m"), frames, len(done), (90, 160), dict.fromkeys(tracks, "dog"), "w", 0
    )
    return SessionView(
        summary, tracks, {each: dict.fromkeys(track, "propagated") for each, track in tracks.items()}, keyframes
    )


def sure(*frames: int) -> dict[int, float]:
    return dict.fromkeys(frames, 1.0)


def test_an_object_that_was_added_to_a_tracked_video_lacks_its_masks() -> None:
    added = of_objects({1: sure(*range(50)), 2: sure(7)}, {1: (0,), 2: (7,)}, frames=50)
    [each] = tasks_by_gain([("1", added)])
    assert (each.state, each.gain) == ("to propagate", 49)


def test_a_begun_task_without_an_object_lacks_those_of_one() -> None:
    [other, bare] = tasks_by_gain([("bare", of_objects({}, {}, frames=30)), ("other", of_objects({1: {}}, {}, 40))])
    assert (bare.task, bare.state, bare.gain) == ("bare", "to propagate", 0.75 * 30)
    assert other.gain == 0.75 * 40


def test_a_frame_that_tracking_passed_over_cannot_be_read_and_lacks_nothing() -> None:
    around = sure(*(frame for frame in range(50) if frame != 20))
    [each] = tasks_by_gain([("1", of_objects({1: around, 2: around}, {1: (0,), 2: (0,)}, frames=50))])
    assert (each.state, each.gain) == ("nothing in doubt", 0)


def test_where_another_object_has_a_mask_the_frame_can_be_read() -> None:
    around = sure(*(frame for frame in range(50) if frame != 20))
    [each] = tasks_by_gain([("1", of_objects({1: sure(*range(50)), 2: around}, {1: (0,), 2: (0,)}, frames=50))])
    assert (each.state, each.gain) == ("to propagate", 1)


def test_masks_between_what_was_tracked_and_a_keyframe_are_still_to_come() -> None:
    """A Propagate was stopped on frame 20; a later keyframe was clicked."""
    [each] = tasks_by_gain([("1", of_objects({1: sure(*range(20), 40)}, {1: (0, 40)}, frames=50))])
    assert (each.state, each.gain) == ("to propagate", 20 + 9)


def test_doubt_before_a_cancelled_propagation_counts_with_what_is_missing_after_it() -> None:
    whole, half = (tasks_by_gain([("1", view([0.5] * 50, frames))])[0] for frames in (50, 100))
    assert half.gain == whole.gain + 0.5 * 50
    assert half.look == whole.look


def test_a_task_that_was_not_begun_counts_like_the_mean_video() -> None:
    """Its first click brings masks of all frames: more than any correction of as long a video."""
    ordered = tasks_by_gain([("new", None), ("a", view([0.6] * 20)), ("b", view([0.6] * 60))])
    assert (ordered[0].task, ordered[0].state) == ("new", "not begun")
    assert round(ordered[0].gain, 6) == 0.6 * 40


def test_a_task_that_people_submitted_without_us_comes_last() -> None:
    """Nothing is known of it, and somebody called it done; what is stored of another says where to look."""
    tasks = [("done", None), ("new", None), ("sure", view([0.95] * 20)), ("wrong", view([0.4] * 20))]
    ordered = tasks_by_gain(tasks, submitted={"done", "wrong"})
    assert [each.task for each in ordered] == ["new", "wrong", "sure", "done"]
    assert (ordered[-1].state, ordered[-1].gain) == ("submitted", 0)


@given(st.floats(0, 100), st.integers(0, 20))
def test_every_further_keyframe_lowers_what_the_next_is_expected_to_mend(gain: float, keyframes: int) -> None:
    assert after_looks(gain, 0) == after_looks(gain, 1) == gain
    assert 0 <= after_looks(gain, keyframes + 1) <= after_looks(gain, keyframes)


def test_of_two_doubtful_videos_the_one_that_was_corrected_less_comes_first() -> None:
    track = dict.fromkeys(range(60), 0.5)
    often = of_objects({1: track}, {1: tuple(range(9))}, frames=60)
    once = of_objects({1: track}, {1: (0,)}, frames=60)
    first, second = tasks_by_gain([("often", often), ("once", once)])
    assert first.task == "once"
    assert second.look is not None
    assert second.gain == second.look.gain / 9


def test_a_project_that_nobody_has_begun_keeps_its_order() -> None:
    assert [each.task for each in tasks_by_gain([("5", None), ("3", None), ("4", None)])] == ["5", "3", "4"]
    assert tasks_by_gain([]) == []
