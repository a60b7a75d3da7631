"""A task's score tells how bad its worst stretches are, whatever the rest is like."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.labelstudio.scores import task_score, worst_by_frame

QUALITIES = st.lists(st.floats(0, 1), min_size=1, max_size=300)


@given(QUALITIES)
def test_score_lies_between_the_worst_frame_and_the_mean(qualities: list[float]) -> None:
    score = task_score(qualities)
    assert score is not None
    assert min(qualities) - 1e-9 <= score <= math.fsum(qualities) / len(qualities) + 1e-9


@given(QUALITIES, st.data())
def test_a_worse_frame_never_makes_a_better_score(qualities: list[float], data: st.DataObject) -> None:
    place = data.draw(st.integers(0, len(qualities) - 1))
    worse = [*qualities]
    worse[place] *= data.draw(st.floats(0, 1))
    before, after = task_score(qualities), task_score(worse)
    assert before is not None
    assert after is not None
    assert after <= before + 1e-9


@given(QUALITIES, st.randoms())
def test_order_does_not_matter(qualities: list[float], random: object) -> None:
    shuffled = [*qualities]
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert task_score(shuffled) == task_score(qualities)


@given(st.integers(10, 400), st.floats(0, 0.5))
def test_a_lost_tenth_shows_however_good_the_rest_is(frames: int, lost: float) -> None:
    tenth = math.ceil(frames / 10)
    assert task_score([lost] * tenth + [1.0] * (frames - tenth)) == pytest.approx(lost)


def test_tasks_are_ordered_by_their_worst_stretch_and_not_by_their_mean() -> None:
    mostly_good = [0.95] * 90 + [0.1] * 10
    evenly_fair = [0.8] * 100
    assert sum(mostly_good) > sum(evenly_fair)
    assert task_score(mostly_good) < task_score(evenly_fair)  # type: ignore[operator]


def test_nothing_has_no_score() -> None:
    assert task_score([]) is None


@given(st.lists(st.tuples(st.integers(0, 20), st.floats(0, 1))))
def test_a_frame_is_as_good_as_its_worst_mask(masks: list[tuple[int, float]]) -> None:
    worst = worst_by_frame(masks)
    assert list(worst) == sorted({frame for frame, _ in masks})
    assert all(worst[frame] == min(value for other, value in masks if other == frame) for frame in worst)
