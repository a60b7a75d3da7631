"""Boxes between keyframes of a <Video>, as the editor shows them."""

from __future__ import annotations

import pytest

from tam_backend.labelstudio.box_tracks import BoxTrack
from tam_backend.labelstudio.checked import VideoKeyframe
from tam_backend.labelstudio.shapes import FractionBox
from tam_backend.labelstudio.video_clock import VideoClock

SIZE_HW = (100, 200)
STEADY = VideoClock(24, 24, 20)


def keyframe(frame: int, x: float, *, enabled: bool = True, by_human: bool = True) -> VideoKeyframe:
    return VideoKeyframe(frame, enabled, FractionBox(x, 0.1, 0.2, 0.3), by_human)


def lefts(track: BoxTrack, frames: int) -> list[float | None]:
    boxes = [track.box_xyxy(index, SIZE_HW) for index in range(frames)]
    return [None if box is None else round(box[0], 6) for box in boxes]


def test_a_box_moves_evenly_between_keyframes_and_stays_after_the_last() -> None:
    track = BoxTrack([keyframe(2, 0.1), keyframe(4, 0.3)], STEADY)
    assert lefts(track, 6) == [None, 20, 40, 60, 60, 60]
    assert track.box_xyxy(1, SIZE_HW) == pytest.approx((20, 10, 60, 40))


def test_a_keyframe_that_is_switched_off_is_shown_itself_and_nothing_after_it() -> None:
    track = BoxTrack([keyframe(1, 0.1), keyframe(2, 0.2, enabled=False), keyframe(5, 0.3)], STEADY)
    assert lefts(track, 6) == [20, 40, None, None, 60, 60]


def test_only_keyframes_of_a_human_count_as_a_humans() -> None:
    track = BoxTrack([keyframe(1, 0.1), keyframe(3, 0.2, by_human=False)], STEADY)
    assert [track.by_human(index) for index in range(4)] == [True, False, False, False]


def test_a_file_with_more_frames_than_the_editor_shows_keeps_the_box_that_is_shown() -> None:
    track = BoxTrack([keyframe(1, 0.1), keyframe(2, 0.2)], VideoClock(12, 24, 4))
    assert lefts(track, 4) == [20, 20, 40, 40]


def test_a_box_is_cut_at_the_frames_edges_and_one_beside_the_frame_is_none() -> None:
    assert BoxTrack([keyframe(1, 0.9)], STEADY).box_xyxy(0, SIZE_HW) == pytest.approx((180, 10, 200, 40))
    assert BoxTrack([keyframe(1, 1.2)], STEADY).box_xyxy(0, SIZE_HW) is None
