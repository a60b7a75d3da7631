"""Orders of tasks, played on what was measured of each by itself."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.loop_tasks import ORDERS, State, by_gain, by_score, by_truth, in_turn, show_tasks, spend


def course(*states: tuple[int, float, float, float], masks: int = 10) -> list[State]:
    """States of (clicks spent, score, expected gain, score in Label Studio), with a keyframe more after each visit."""
    return [
        State(clicks, score, masks, gain, worst, keyframes)
        for keyframes, (clicks, score, gain, worst) in enumerate(states, 1)
    ]


GOOD = course((0, 90, 0.1, 0.3), (1, 91, 0.1, 0.9))
POOR = course((0, 40, 8.0, 0.5), (1, 80, 2.0, 0.7), (2, 85, 0.0, 0.8))
COURSES = [GOOD, POOR]


def played(name: str, clicks: int) -> tuple[float, ...]:
    return spend(COURSES, ORDERS[name], clicks, random.Random(0))


@pytest.mark.parametrize("name", ORDERS)
@given(clicks=st.integers(1, 8), seed=st.integers(0, 5))
def test_every_order_begins_and_ends_alike(name: str, clicks: int, seed: int) -> None:
    scores = spend(COURSES, ORDERS[name], clicks, random.Random(seed))
    assert len(scores) == clicks + 1
    assert scores[0] == pytest.approx(65)
    if clicks >= 3:
        assert scores[-1] == pytest.approx(88)


def test_the_most_to_mend_is_mended_first() -> None:
    assert played("gain", 3) == pytest.approx((65, 85, 87.5, 88))


def test_where_corrections_were_in_vain_another_is_expected_to_mend_less() -> None:
    vain = course(*((clicks, 40, 8.0, 0.5) for clicks in range(4)))
    other = course((0, 50, 3.0, 0.5), (1, 60, 0.1, 0.5))
    assert [by_gain([vain, other], [visits, 0], [0, 1], random.Random(0)) for visits in (0, 1, 2)] == [0, 0, 1]


def test_label_studios_order_goes_to_the_worst_stretch() -> None:
    assert played("score", 3) == pytest.approx((65, 65.5, 85.5, 88))
    assert by_score(COURSES, [1, 0], [0, 1], random.Random(0)) == 1


def test_in_turn_each_gets_one() -> None:
    assert [in_turn(COURSES, visits, [0, 1], random.Random(0)) for visits in ([0, 0], [1, 0], [1, 1])] == [0, 1, 0]


def test_the_truth_counts_what_a_visit_costs() -> None:
    dear = course((0, 40, 0, 0), (3, 70, 0, 0))
    cheap = course((0, 40, 0, 0), (1, 55, 0, 0))
    assert by_truth([dear, cheap], [0, 0], [0, 1], random.Random(0)) == 1


def test_a_long_video_weighs_by_its_masks() -> None:
    long = course((0, 50, 0, 0), (1, 60, 0, 0), masks=30)
    short = course((0, 90, 0, 0), masks=10)
    assert spend([long, short], in_turn, 1, random.Random(0)) == pytest.approx((60, 67.5))


def test_the_table_has_every_order(capsys: pytest.CaptureFixture[str]) -> None:
    show_tasks(COURSES)
    printed = capsys.readouterr().out
    assert "2 videos after clicks in all; 3 clicks were measured" in printed
    lines = {line[:11].strip(): line[11:].split() for line in printed.splitlines()}
    for name in ORDERS:
        assert float(lines[name][0]) == 65
        assert float(lines[name][6]) == 88, "more clicks than there are change nothing"
    assert "+-" in lines["random"]
