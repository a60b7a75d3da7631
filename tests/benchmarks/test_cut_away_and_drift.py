"""Absence made by cutting another clip in, and drift over a long video, with trackers whose errors are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.cut_away import CutAway, track_cut_away
from benchmarks.hard_tables import absence_rows
from benchmarks.long_video import Drift, drift, print_drift
from tam_backend import Prompt
from tam_backend.errors import FrameOutOfRangeError
from tam_backend.types import BoolMask, FrameResult, VideoSource

Answer = Callable[[Any, int, BoolMask], BoolMask]


class KnownErrors:
    """Stands in for the networks and for a session: what it answers is a function of video, frame and first mask."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._first: dict[int, BoolMask] = {}

    def session(self, video: VideoSource) -> KnownErrors:
        self._video = video
        self._first = {}
        return self

    def __enter__(self) -> KnownErrors:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""

    def prompt(self, prompt: Prompt) -> None:
        assert prompt.encoded_mask is not None
        self._first[prompt.object_id] = prompt.encoded_mask.array

    def propagate(self, start: int = 0) -> Iterator[FrameResult]:
        for frame in range(start, len(self._video)):
            masks = {each: self._answer(self._video, frame, first) for each, first in self._first.items()}
            yield FrameResult(frame, masks, quality=dict.fromkeys(masks, 0.75))


def write_clip(folder: Path, value: int, frames: int = 8, size_hw: tuple[int, int] = (40, 60)) -> None:
    """A still disc on a ground of one grey; object 2, a square, appears in the last two frames."""
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind).mkdir(parents=True)
    for index in range(frames):
        ids = np.zeros(size_hw, np.uint8)
        cv2.circle(ids, (20, 20), 8, 1, -1)
        if index >= frames - 2:
            ids[5:15, 40:50] = 2
        grey = np.where(ids > 0, np.uint8(250), np.uint8(value))
        cv2.imwrite(str(folder / "JPEGImages" / f"{index:05d}.jpg"), grey)
        cv2.imwrite(str(folder / "Annotations" / f"{index:05d}.png"), ids)


@pytest.fixture
def clips(tmp_path: Path) -> list[AnnotatedClip]:
    """One of eight dark frames, and one of three bright frames, twice as large."""
    write_clip(tmp_path / "dark", 20)
    write_clip(tmp_path / "light", 150, frames=3, size_hw=(80, 120))
    return find_clips([tmp_path / "dark", tmp_path / "light"])


def test_the_other_clip_is_shown_halfway_at_the_clips_size(clips: list[AnnotatedClip]) -> None:
    dark, light = clips
    video = CutAway(dark, light)
    assert (len(video), video.size_hw) == (11, (40, 60))
    corners = [int(frame[-1, -1, 0]) for frame in video]
    assert [corner > 100 for corner in corners] == [False] * 4 + [True] * 3 + [False] * 4
    assert {frame.shape for frame in video} == {(40, 60, 3)}
    assert [video.place(index) for index in range(11)] == [0, 1, 2, 3, None, None, None, 4, 5, 6, 7]
    with pytest.raises(FrameOutOfRangeError, match="11"):
        video[11]


def test_no_more_frames_than_asked_for_are_cut_in(clips: list[AnnotatedClip]) -> None:
    dark, light = clips
    assert len(CutAway(light, dark, away=2)) == 5


def test_a_tracker_that_never_lets_go_raises_an_alarm_on_every_foreign_frame(clips: list[AnnotatedClip]) -> None:
    """Object 2 comes after the cut and is left out; the clip's last frame is never judged."""
    stubborn: Any = KnownErrors(lambda _video, _frame, first: first)
    judged = track_cut_away(stubborn, *clips)
    (row, _) = absence_rows("stubborn", [("dark", judged)])
    assert list(judged) == [1]
    assert (row.absent, row.false_alarms, row.alarm_quality) == (3, 3, 0.75)
    assert (row.present, row.misses) == (3, 0)


def test_a_tracker_that_never_finds_again_misses_every_frame_after_the_cut(clips: list[AnnotatedClip]) -> None:
    forgetful: Any = KnownErrors(lambda video, frame, first: first & (frame < video.cut))
    (row, _) = absence_rows("forgetful", [("dark", track_cut_away(forgetful, *clips))])
    assert (row.absent, row.false_alarms, row.right_quality) == (3, 0, 0.75)
    assert (row.present, row.misses, row.miss_quality) == (3, 3, 0.75)


def test_drift_is_what_a_fresh_start_has_more_on_the_same_frames(clips: list[AnnotatedClip]) -> None:
    """A tracker that knows the truth of 50 frames and then half of it, wherever it started."""

    def tiring(video: Any, frame: int, _first: BoolMask) -> BoolMask:
        truth = np.array(video.truth(frame))
        if frame >= 50:
            pixels = np.argwhere(truth)
            truth[tuple(pixels[len(pixels) // 2 :].T)] = False
        return truth

    tam: Any = KnownErrors(tiring)
    measured = drift(tam, clips[0], 1, frames=100)
    assert (measured.first, measured.fresh) == (100, 100)
    assert measured.last == pytest.approx(50, abs=0.5)


def test_an_object_that_the_first_tenth_does_not_show_has_no_first_figure(
    clips: list[AnnotatedClip], capsys: pytest.CaptureFixture[str]
) -> None:
    """Object 2 is on frames 6 and 7 of 8, and the first of them is the prompt's."""
    stubborn: Any = KnownErrors(lambda video, frame, _first: video.truth(frame))
    measured = drift(stubborn, clips[0], 2, frames=50)
    assert (measured.first, measured.last, measured.fresh) == (None, 100, 100)
    print_drift([measured, Drift("cup", 1, 100, 90.0, 80.0, 86.0)])
    _, left_out, row, mean = capsys.readouterr().out.splitlines()
    assert left_out.endswith("no true mask in the first or the last tenth")
    assert row.split() == ["cup", "1", "100", "90.0", "80.0", "86.0", "+6.0"]
    assert mean.split() == ["mean", "over", "objects", "1", "90.0", "80.0", "86.0", "+6.0"]
