"""A network is promoted only where its gain cannot be chance, and nowhere to the harm of others."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tam_backend.adaptation.gate import FEW_STEPS, LEAST_JUDGED, MOST_HARM, compare, verdict
from tam_backend.adaptation.judging import Scores

scores = st.dictionaries(
    st.sampled_from(["a", "b", "c", "d"]),
    st.dictionaries(st.integers(0, 60), st.floats(0.2, 0.8), min_size=1, max_size=15),
    min_size=1,
)


def shifted(before: Scores, by: float) -> dict[str, dict[int, float]]:
    return {name: {at: value + by for at, value in frames.items()} for name, frames in before.items()}


def runs(before: Scores) -> int:
    return sum(min(len(frames), 6) for frames in before.values())


UNHARMED = {"general": {0: 0.8, 1: 0.9}}


@given(scores)
def test_the_same_network_is_never_promoted(before: Scores) -> None:
    assert not verdict("the tracker", (before, before), (UNHARMED, UNHARMED)).promote


@given(scores, st.floats(0.001, 0.2))
def test_one_that_is_worse_everywhere_is_never_promoted(before: Scores, loss: float) -> None:
    found = verdict("the tracker", (before, shifted(before, -loss)), (UNHARMED, UNHARMED))
    assert not found.promote
    assert "stays as it was" in found.reason


@given(scores, st.floats(0.01, 0.2))
def test_one_that_is_better_on_every_frame_is_promoted_if_enough_were_judged(before: Scores, gain: float) -> None:
    found = verdict("the tracker", (before, shifted(before, gain)), (UNHARMED, UNHARMED))
    assert found.promote == (runs(before) >= LEAST_JUDGED)


@given(scores, st.floats(0.0101, 0.3))
def test_no_gain_makes_up_for_harm_elsewhere(before: Scores, harm: float) -> None:
    found = verdict("the tracker", (before, shifted(before, 0.2)), (UNHARMED, shifted(UNHARMED, -harm)))
    assert 100 * harm > MOST_HARM
    assert not found.promote


def test_less_harm_than_a_point_is_borne() -> None:
    before = {"a": dict.fromkeys(range(6), 0.5)}
    assert verdict("the tracker", (before, shifted(before, 0.1)), (UNHARMED, shifted(UNHARMED, -0.009))).promote


def test_nothing_is_promoted_where_harm_cannot_be_measured() -> None:
    before = {"a": dict.fromkeys(range(6), 0.5)}
    assert not verdict("the tracker", (before, shifted(before, 0.1)), ({}, {})).promote


@pytest.mark.parametrize(("videos", "frames"), [(1, 4), (1, 12), (2, 6), (4, 12)])
def test_noise_alone_is_hardly_ever_promoted(videos: int, frames: int) -> None:
    rng = np.random.default_rng(videos * frames)
    promoted = 0
    for _ in range(300):
        before, after = (
            {str(name): dict(enumerate(rng.normal(0.7, 0.05, frames))) for name in range(videos)} for _ in range(2)
        )
        promoted += verdict("the tracker", (before, after), (UNHARMED, UNHARMED)).promote
    # Half of the 5 % that it is held to lie on the side of gains; a few more for chance in 300 draws.
    assert promoted <= 300 * 0.05


def test_a_poisoned_annotator_promotes_nothing() -> None:
    """On a tenth of the frames the mask is anywhere, so that what the networks get there is chance."""
    rng, promoted = np.random.default_rng(1), 0
    for _ in range(300):
        poisoned = rng.random(24) < 0.1
        before, after = (
            {"a": dict(enumerate(np.where(poisoned, rng.uniform(0, 0.3, 24), 0.8 + rng.normal(0, 0.02, 24))))}
            for _ in range(2)
        )
        promoted += verdict("the tracker", (before, after), (UNHARMED, UNHARMED)).promote
    assert promoted <= 300 * 0.05


def test_neighbouring_frames_that_fail_together_do_not_count_as_many() -> None:
    """One long run of frames that got better, and one that got worse: twice as many frames are no more certain."""
    for frames in (12, 120):
        before = {"a": dict.fromkeys(range(frames), 0.5)}
        after = {"a": {at: 0.7 if at < 2 * frames // 3 else 0.45 for at in range(frames)}}
        found = compare(before, after)
        assert found is not None
        assert found.gain > 10
        assert found.low < 0


@given(scores)
@settings(max_examples=30)
def test_the_order_of_videos_and_frames_does_not_matter(before: Scores) -> None:
    rng = np.random.default_rng(0)
    after = {name: {at: value + rng.normal(0, 0.1) for at, value in each.items()} for name, each in before.items()}
    turned = [{name: dict(reversed(each.items())) for name, each in reversed(both.items())} for both in (before, after)]
    assert compare(turned[0], turned[1]) == compare(before, after)


def test_only_frames_that_both_were_judged_on_count() -> None:
    found = compare({"a": {0: 0.1, 1: 0.5}, "b": {0: 0.2}}, {"a": {1: 0.75, 2: 0.9}})
    assert found is not None
    assert (found.before, found.after, found.judged) == (50, 75, 1)
    assert compare({"a": {0: 0.1}}, {"b": {0: 0.1}}) is None


def test_the_reason_says_what_is_missing_where_little_was_judged() -> None:
    before = {"a": {0: 0.5, 1: 0.6}}
    found = verdict("the tracker", (before, shifted(before, 0.3)), (UNHARMED, UNHARMED))
    assert not found.promote
    assert "only 2" in found.reason
    assert "confirm more frames" in found.reason


def test_every_verdict_says_how_many_steps_were_learnt() -> None:
    same = {"a": dict.fromkeys(range(8), 0.5)}
    better = {"a": dict.fromkeys(range(8), 0.7)}
    assert verdict("the tracker", (same, better), (same, same), 3).reason.endswith(
        "(gain at least 20.0 points). It learnt 3 steps."
    )
    assert verdict("the tracker", (same, same), (same, same), 1).reason.endswith(" It learnt 1 step.")


@pytest.mark.parametrize(
    ("after", "iterations", "short", "said"),
    [(0.5, 6, True, True), (0.5, FEW_STEPS, True, False), (0.5, 6, False, False), (0.7, 6, True, False)],
    ids=["refused in haste", "enough steps", "asked for so few", "better all the same"],
)
def test_a_refusal_says_where_the_time_was_over_after_few_steps(
    after: float, iterations: int, short: bool, said: bool
) -> None:
    before, then = ({"a": dict.fromkeys(range(8), value)} for value in (0.5, after))
    reason = verdict("the tracker", (before, then), (before, before), iterations, time_was_short=short).reason
    assert (f"It learnt only {iterations} steps before the time was over" in reason) is said
    assert ("--minutes" in reason) is said
