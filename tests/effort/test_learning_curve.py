"""Videos and the moments when networks changed, in the order of time; medians only of enough videos."""

from __future__ import annotations

from itertools import pairwise
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.effort.learning_curve import (
    LEAST_VIDEOS,
    STAGE_COLUMNS,
    Turn,
    WorkedVideo,
    learning_curve,
    stage_rows,
    what_changed,
)

MOMENTS = st.floats(0, 100)
VIDEOS = st.lists(
    st.builds(
        WorkedVideo,
        st.text(max_size=3),
        MOMENTS,
        st.none() | st.integers(0, 50),
        st.none() | st.floats(0, 1e5),
        st.booleans(),
    ),
    max_size=20,
)
TURNS = st.lists(st.builds(Turn, MOMENTS, st.text(max_size=3)), max_size=12)


def videos(*clicks: int | None, since: float = 0, own: bool = False) -> list[WorkedVideo]:
    """Videos one second apart, of so many clicks, each of a minute a click."""
    return [
        WorkedVideo(f"v{place}", since + place, each, None if each is None else 60.0 * each, own)
        for place, each in enumerate(clicks)
    ]


@given(VIDEOS, TURNS)
def test_every_video_and_every_turn_is_in_one_stage_in_the_order_of_time(
    worked: list[WorkedVideo], turns: list[Turn]
) -> None:
    curve = learning_curve(worked, turns)
    assert sorted(curve.videos, key=repr) == sorted(worked, key=repr)
    assert sorted(curve.turns, key=repr) == sorted(turns, key=repr)
    assert all(a.begun_at <= b.begun_at for a, b in pairwise(curve.videos))
    assert all(a.at <= b.at for a, b in pairwise(curve.turns))
    assert sum(stage.videos for stage in curve.stages) == len(worked)
    place = passed = 0
    for stage in curve.stages:
        within = curve.videos[place : place + stage.videos]
        place, passed = place + stage.videos, passed + len(stage.turns)
        assert all(turn.at <= each.begun_at for turn in curve.turns[:passed] for each in within)
        assert all(turn.at > each.begun_at for turn in curve.turns[passed:] for each in within)
        assert stage.videos or stage is curve.stages[-1], "only after the last turn there may be no video yet"
        clicks = [each.clicks for each in within if each.clicks is not None]
        assert stage.median_clicks == (median(clicks) if len(clicks) >= LEAST_VIDEOS else None)


def test_a_video_that_was_begun_before_a_turn_is_not_counted_after_it() -> None:
    curve = learning_curve(videos(9, 8, 7, 4, 3, 2), [Turn(2.5, "p7.1")])
    assert [(stage.videos, stage.median_clicks, stage.median_seconds) for stage in curve.stages] == [
        (3, 8, 480),
        (3, 3, 180),
    ]
    assert [stage.name for stage in curve.stages] == ["at first", "since p7.1"]


def test_turns_without_a_video_in_between_are_one() -> None:
    turns = [Turn(10, "p7.1"), Turn(11, "p7.1 taken back"), Turn(12, "p7.2")]
    first, second = learning_curve(videos(9) + videos(5, since=20), turns).stages
    assert first.name == "at first"
    assert second.name == "since p7.2 (and 2 changes before it)"


@pytest.mark.parametrize("since", [0, 2])
def test_of_too_few_videos_no_median_is_told_but_that_there_are_too_few(since: int) -> None:
    curve = learning_curve(videos(*[9] * since) + videos(4, 4, since=50, own=True), [Turn(20, "p7.1")])
    assert all(stage.median_clicks is None for stage in curve.stages)
    said = " ".join(what_changed(curve))
    assert f"Too few videos to compare: {since} with the package's networks, 2 with the project's own" in said
    assert "took" not in said
    assert {row[2] for row in stage_rows(curve)} == {"too few videos"}


def test_what_videos_took_is_told_by_networks_and_by_the_last_turn() -> None:
    worked = videos(9, 9, 10) + videos(4, 5, 6, since=30, own=True) + videos(1, 2, 3, since=50, own=True)
    whole, last = what_changed(learning_curve(worked, [Turn(20, "p7.1"), Turn(40, "p7.2")]))
    assert whole == (
        "A video took 9 clicks with the package's networks, 3.5 with the project's own; 9.0 min with the package's "
        "networks, 3.5 min with the project's own (medians of 3 and 6 videos)."
    )
    assert last == (
        "A video took 5 clicks before p7.2, 2 since then; 5.0 min before p7.2, 2.0 min since then "
        "(medians of 3 and 3 videos)."
    )


def test_worse_is_told_as_it_is() -> None:
    said = what_changed(learning_curve(videos(1, 1, 1) + videos(9, 9, 9, since=30, own=True), [Turn(20, "p7.1")]))
    assert "1 clicks before p7.1, 9 since then" in said[-1]


def test_nothing_is_compared_where_nothing_changed() -> None:
    curve = learning_curve(videos(3, 2, 1), [])
    assert what_changed(curve) == []
    assert stage_rows(curve) == [("at first", "3", "2", "2.0 min")]
    assert len(STAGE_COLUMNS) == 4


def test_what_nobody_measured_is_not_known_however_many_videos_there_are() -> None:
    [stage] = stage_rows(learning_curve(videos(*[None] * 5), []))
    assert stage[2:] == ("not known", "not known")


@given(VIDEOS, TURNS, st.integers(1, 5))
def test_of_the_last_videos_all_turns_are_still_told(worked: list[WorkedVideo], turns: list[Turn], last: int) -> None:
    whole = learning_curve(worked, turns)
    newest = whole.newest(last)
    assert newest.videos == whole.videos[-last:]
    assert newest.turns == whole.turns
