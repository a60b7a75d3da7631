"""What a session's page is laid out from: strip, curves, suggestions, columns."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from stored_task import ABSENT_FROM, DOUBTFUL, KEY, KEYFRAME, VIDEO, stored_task

from tam_backend.server.pages.task_view import STRIP_FRAMES, TaskView, task_view
from tam_backend.store.sessions import SessionKey, SessionSummary, SessionView


@pytest.fixture
def shown(tmp_path: Path) -> TaskView:
    view = stored_task(tmp_path).find(KEY.project, KEY.task)
    assert view is not None
    return task_view(view)


def view_of(quality: dict[int, dict[int, float]], frames: int) -> SessionView:
    summary = SessionSummary(SessionKey("7", "1", "m"), frames, frames, (90, 160), {}, "w", 0.0)
    source = {each: dict.fromkeys(track, "propagated") for each, track in quality.items()}
    return SessionView(summary, quality, source, {})  # type: ignore[arg-type]


def test_strip_spans_the_video_with_every_marked_frame(shown: TaskView) -> None:
    frames = [picture.frame for picture in shown.strip]
    assert len(frames) == STRIP_FRAMES
    assert frames == sorted(set(frames))
    assert max(b - a for a, b in pairwise(frames)) <= 2 * len(VIDEO) / STRIP_FRAMES
    assert KEYFRAME in frames
    assert {picture.frame for picture in shown.suggested} <= set(frames)


def test_a_frame_shows_the_quality_of_its_worst_mask(shown: TaskView) -> None:
    by_frame = {picture.frame: picture for picture in shown.strip}
    suggested = shown.suggested[0]
    assert suggested.frame in DOUBTFUL
    assert (suggested.rank, suggested.quality, suggested.level) == (1, 0.42, "poor")
    assert by_frame[KEYFRAME].is_keyframe
    assert by_frame[KEYFRAME].quality is None, "what a human settled is not in question"
    assert by_frame[len(VIDEO) - 1].level == "good"


def test_suggested_frame_says_whose_mask_is_doubtful_and_how_far_from_a_keyframe(shown: TaskView) -> None:
    first = shown.suggested[0]
    assert first.why == f"Blue, {first.frame - KEYFRAME} frames from the nearest keyframe"


def test_a_look_is_asked_for_where_an_object_was_perhaps_wrongly_not_found() -> None:
    seen = view_of({1: {frame: 0.95 if frame < 20 else 0.4 for frame in range(40)}}, 40)
    lost = replace(seen, keyframes={1: (0,)}, absent={1: frozenset(range(20, 40))})
    first = task_view(lost).suggested[0]
    assert first.why == f"object 1 not found, {first.frame} frames from the nearest keyframe"
    assert 20 <= first.frame < 40


def test_one_look_is_asked_for_at_a_short_stretch_of_doubt(shown: TaskView) -> None:
    [suggested] = shown.suggested
    assert suggested.frame in DOUBTFUL


def test_marks_of_objects_with_a_keyframe_on_one_frame_stand_side_by_side(shown: TaskView) -> None:
    (red,), (blue,) = (curve.keyframes for curve in shown.curves)
    assert (red[0], blue[0]) == (KEYFRAME, KEYFRAME)
    assert blue[1] - red[1] >= 14, "neither hides the other"


def test_an_absent_object_has_no_curve_and_no_quality_where_it_is_absent(shown: TaskView) -> None:
    red, blue = shown.curves
    assert (red.frames, red.absent) == (ABSENT_FROM, len(VIDEO) - ABSENT_FROM)
    assert [len(line.split()) for line in red.lines] == [ABSENT_FROM - 1], "in one piece, also over the keyframe"
    assert (blue.frames, blue.absent, blue.lowest) == (len(VIDEO), 0, 0.42)
    assert "Red absent" in shown.columns[-1].text


def test_score_and_frames_to_review_are_those_of_tracked_masks(shown: TaskView) -> None:
    assert shown.doubtful == len(DOUBTFUL)
    assert shown.score == pytest.approx(0.42)


def test_a_click_on_the_chart_leads_to_the_worst_frame_of_its_column() -> None:
    quality = {1: dict.fromkeys(range(1200), 0.9)}
    quality[1][605] = 0.1
    shown = task_view(view_of(quality, 1200))
    column = next(each for each in shown.columns if each.x <= shown.plane.x(605.5 / 1200) < each.x + each.width)
    assert column.frame == 605


def test_a_single_bad_frame_stays_visible_in_the_curve_of_a_long_video() -> None:
    quality = {1: dict.fromkeys(range(5000), 0.9)}
    quality[1][2503] = 0.1
    [curve] = task_view(view_of(quality, 5000)).curves
    assert f",{task_view(view_of(quality, 5000)).plane.y(0.1)}" in curve.lines[0]
    assert len(curve.lines[0].split()) <= 480


def test_frames_that_were_not_tracked_interrupt_the_curve() -> None:
    [curve] = task_view(view_of({1: {0: 0.9, 1: 0.9, 7: 0.9}}, 10)).curves
    assert [len(line.split()) for line in curve.lines] == [2, 2], "the second is one frame, drawn as a dot"


@given(
    st.integers(1, 700).flatmap(
        lambda frames: st.tuples(
            st.just(frames),
            st.dictionaries(
                st.integers(1, 3),
                st.dictionaries(st.integers(0, frames - 1), st.floats(0, 1), max_size=40).map(
                    lambda track: dict(sorted(track.items()))
                ),
                max_size=3,
            ),
        )
    )
)
def test_whatever_is_stored_is_laid_out_within_the_plane(made: tuple[int, dict[int, dict[int, float]]]) -> None:
    frames, quality = made
    shown = task_view(view_of(quality, frames))
    plane = shown.plane
    for curve in shown.curves:
        for line in curve.lines:
            for point in line.split():
                x, y = map(float, point.split(","))
                assert plane.left - 1 <= x <= plane.right + 1
                assert plane.top <= y <= plane.bottom
    tracked = {frame for track in quality.values() for frame in track}
    assert {picture.frame for picture in shown.strip} <= tracked
    assert len(shown.strip) == min(STRIP_FRAMES, len(tracked))
    assert {column.frame for column in shown.columns} <= tracked
