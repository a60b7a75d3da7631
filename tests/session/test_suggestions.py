"""Frames to look at: in doubt, apart, never a keyframe, and those first whose correction reaches most doubt."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.session.suggestions import Suggestion, suggestions

QUALITIES = st.lists(st.floats(0, 1), min_size=1, max_size=80)
KEYFRAMES = st.sets(st.integers(0, 79), max_size=6)
SURE = 0.9


def track(values: list[float], first: int = 0) -> dict[int, float]:
    return dict(enumerate(values, start=first))


def first_of(quality: dict[int, float], keyframes: set[int]) -> Suggestion:
    return suggestions({1: quality}, {1: keyframes}, 1)[0]


@given(st.lists(QUALITIES, min_size=1, max_size=3), KEYFRAMES, st.integers(0, 9))
def test_they_are_doubtful_apart_and_never_a_keyframe(
    several: list[list[float]], keyframes: set[int], count: int
) -> None:
    qualities = {object_id: track(values) for object_id, values in enumerate(several, start=1)}
    named = suggestions(qualities, dict.fromkeys(qualities, keyframes), count)
    assert len(named) <= count
    for each in named:
        assert each.frame not in keyframes
        assert each.quality == qualities[each.object_id][each.frame] < SURE
    frames = sorted(each.frame for each in named)
    assert all(later - earlier >= 5 for earlier, later in pairwise(frames))


@given(QUALITIES, KEYFRAMES)
def test_each_gains_something_and_none_more_than_the_one_before(values: list[float], keyframes: set[int]) -> None:
    gains = [each.gain for each in suggestions({1: track(values)}, {1: keyframes}, 9)]
    assert all(gain > 0 for gain in gains)
    assert gains == sorted(gains, reverse=True)


@given(QUALITIES, KEYFRAMES)
def test_no_more_is_gained_than_was_in_doubt(values: list[float], keyframes: set[int]) -> None:
    doubt = sum(1 - value for frame, value in enumerate(values) if frame not in keyframes)
    named = suggestions({1: track(values)}, {1: keyframes}, 9)
    assert sum(each.gain for each in named) <= doubt + 1e-9


@given(QUALITIES, KEYFRAMES, st.floats(0, 1))
def test_the_surer_all_masks_are_the_less_is_gained(values: list[float], keyframes: set[int], surer: float) -> None:
    def best(qualities: list[float]) -> float:
        return sum(each.gain for each in suggestions({1: track(qualities)}, {1: keyframes}, 1))

    assert best([value + surer * (1 - value) for value in values]) <= best(values) + 1e-9


@given(QUALITIES, KEYFRAMES, st.integers(0, 5000))
def test_where_a_video_begins_to_be_counted_changes_nothing(
    values: list[float], keyframes: set[int], later: int
) -> None:
    here = suggestions({1: track(values)}, {1: keyframes}, 5)
    there = suggestions({1: track(values, later)}, {1: {frame + later for frame in keyframes}}, 5)
    assert [each.frame + later for each in here] == [each.frame for each in there]


def test_doubt_after_the_last_keyframe_comes_before_as_much_of_it_between_two() -> None:
    """A correction is carried to the video's end, but yields to the keyframe on the other side of a gap."""
    quality = track([0.6] * 61)
    assert first_of(quality, {0, 30}).frame > 30
    assert first_of(quality, {30, 60}).frame < 30


@pytest.mark.parametrize(("middle", "longer"), [(30, range(31, 100)), (70, range(1, 70))])
def test_the_longer_gap_of_equal_doubt_comes_first(middle: int, longer: range) -> None:
    assert first_of(track([0.6] * 101), {0, middle, 100}).frame in longer


def test_a_frame_beside_a_keyframe_tells_nothing_new() -> None:
    """All of the doubt lies after the first frames, but these are too like the keyframe to help."""
    assert first_of(track([1.0] + [0.6] * 59), {0}).frame > 5


@pytest.mark.parametrize("frames", [24, 40, 60])
def test_of_even_doubt_after_a_keyframe_the_middle_is_named_and_not_what_is_near_and_mostly_right(frames: int) -> None:
    assert frames / 3 < first_of(track([0.6] * frames), {0}).frame < 2 * frames / 3


def test_of_two_objects_the_more_doubtful_one_is_named() -> None:
    quality = {1: track([0.8] * 40), 2: track([0.3] * 40)}
    assert suggestions(quality, {1: {0}, 2: {0}}, 1)[0].object_id == 2


def test_doubtful_stretches_are_named_and_sure_ones_are_not() -> None:
    quality = track([0.3 if 40 <= frame < 60 else 0.95 for frame in range(100)])
    named = suggestions({1: quality}, {1: {0}}, 3)
    assert named
    assert all(40 <= each.frame < 60 for each in named)
    assert suggestions({1: dict.fromkeys(range(9), 0.99)}, {}, 3) == []
    assert suggestions({1: quality}, {1: set(quality)}, 3) == []
    assert suggestions({1: {}}, {}, 3) == []


def test_a_short_stretch_of_doubt_is_named_once_however_many_frames_are_asked_for() -> None:
    quality = track([0.95] * 100) | dict.fromkeys(range(40, 46), 0.3)
    [named] = suggestions({1: quality}, {1: {0}}, 5)
    assert 40 <= named.frame < 46


def test_a_lost_frame_in_a_long_video_is_found_among_those_that_stand_for_their_neighbours() -> None:
    """Of so long a gap not every frame is weighed, but the most doubtful one of each part is."""
    assert first_of(track([0.95] * 20_000) | {12_345: 0.2}, {0}).frame == 12_345


def test_frames_without_any_keyframe_may_be_named_too() -> None:
    """Masks that came from elsewhere, or whose keyframe was taken back."""
    assert suggestions({1: track([0.5] * 20)}, {}, 1)[0].quality == 0.5
