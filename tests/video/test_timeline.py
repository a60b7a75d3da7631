"""When each frame is shown, as Chromium shows it (checked with Chromium 156, seeking in steps of 0.13 s)."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import av
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from video_making import make_video

from tam_backend import open_video
from tam_backend.types import Timeline
from tam_backend.video import FrameSubset

STEADY = [40 * index for index in range(24)]
VARIABLE = [index * 40 if index < 12 else 480 + (index - 12) * 200 for index in range(24)]
LATE = [1000 + time for time in STEADY]
GAP = [time + (time > 400) * 2000 for time in STEADY]


def timeline_of(path: Path) -> Timeline:
    with open_video(path) as video:
        assert video.timeline is not None
        assert len(video.timeline.starts_s) == len(video)
        return video.timeline


@pytest.mark.parametrize("times_ms", [STEADY, VARIABLE, LATE, GAP], ids=["steady", "variable", "late", "gap"])
@pytest.mark.parametrize("name", ["a.mp4", "b_frames.mp4", "a.mkv", "a.webm", "fragmented.mp4"])
def test_every_frame_has_its_own_time(tmp_path: Path, name: str, times_ms: Sequence[int]) -> None:
    if name.startswith("fragmented") and times_ms is LATE:
        return  # its header has no place for a late start: Chromium, too, shows the first frame from 0 s on
    timeline = timeline_of(
        make_video(
            tmp_path / name,
            times_ms=times_ms,
            codec="libvpx-vp9" if name.endswith("webm") else "libx264",
            b_frames=2 if name.startswith("b_") else 0,
            options={"deadline": "realtime", "cpu-used": "8"} if name.endswith("webm") else {},
            container_options={"movflags": "frag_keyframe+empty_moov"} if name.startswith("frag") else {},
        )
    )
    np.testing.assert_allclose(timeline.starts_s * 1000, times_ms, atol=1)
    assert timeline.is_steady == (times_ms in (STEADY, LATE))
    assert timeline.begins_at_zero == (times_ms is not LATE)
    assert timeline.end_s > timeline.starts_s[-1]
    shown = [timeline.frame_at(time / 1000 + 0.002) for time in times_ms]
    assert shown == list(range(24)) and timeline.frame_at(0) == 0


def test_what_an_edit_list_cuts_away_has_no_time(tmp_path: Path) -> None:
    make_video(tmp_path / "whole.mp4", frames=24, b_frames=0)
    with (
        av.open(str(tmp_path / "whole.mp4")) as whole,
        av.open(str(tmp_path / "cut.mp4"), "w", options={"avoid_negative_ts": "disabled"}) as cut,
    ):
        stream = cut.add_stream_from_template(whole.streams.video[0])
        for packet in whole.demux(video=0):
            if packet.pts is not None and packet.dts is not None:
                before = round(0.4 / packet.time_base)
                packet.pts, packet.dts, packet.stream = packet.pts - before, packet.dts - before, stream
                cut.mux(packet)
    timeline = timeline_of(tmp_path / "cut.mp4")
    np.testing.assert_allclose(timeline.starts_s, [0.04 * index for index in range(14)], atol=1e-6)
    assert timeline.end_s == pytest.approx(0.56)


def test_ntsc_rates_are_steady_however_long(tmp_path: Path) -> None:
    for scale in (1e-3, 1e-6):  # as Matroska and MP4 count
        starts_s = np.round(np.arange(20000) * 1001 / 30000 / scale) * scale
        assert Timeline(starts_s, 668.0).is_steady


def test_animations_have_their_pages_times(tmp_path: Path) -> None:
    pages = [Image.fromarray(np.full((20, 20, 3), 40 * shade, np.uint8)) for shade in range(4)]
    for name in ("a.webp", "a.png"):
        pages[0].save(tmp_path / name, save_all=True, append_images=pages[1:], duration=[40, 200, 0, 100])
        timeline = timeline_of(tmp_path / name)
        np.testing.assert_allclose(timeline.starts_s, [0, 0.04, 0.24, 0.34])
        assert timeline.end_s == pytest.approx(0.44)


def test_images_and_files_without_times_have_none(tmp_path: Path) -> None:
    Image.new("RGB", (20, 20)).save(tmp_path / "a.png")
    videos = [make_video(tmp_path / name, b_frames=2) for name in ("raw.h264", "a.avi")]
    for path in (tmp_path / "a.png", *videos):
        with open_video(path) as video:
            assert video.timeline is None


def test_the_rate_of_some_frames_goes_by_their_times(tmp_path: Path) -> None:
    with open_video(make_video(tmp_path / "a.mp4", times_ms=VARIABLE)) as video:
        assert FrameSubset(video, range(12)).fps == pytest.approx(25)
        assert FrameSubset(video, range(12, 24)).fps == pytest.approx(5)


steps = st.lists(st.integers(1, 3000), min_size=1, max_size=40)


@given(steps, st.integers(0, 2000), st.floats(0.05, 200))
def test_sampled_frames_are_the_nearest_to_even_times(steps_ms: list[int], start_ms: int, fps: float) -> None:
    starts_s = np.cumsum([start_ms, *steps_ms]) / 1000
    chosen = Timeline(starts_s, float(starts_s[-1]) + 1).sampled(fps)
    assert chosen == sorted(set(chosen)) and chosen[0] == 0
    elapsed = starts_s - starts_s[0]
    targets = np.arange(int(elapsed[-1] * fps) + 1) / fps
    away = np.abs(elapsed[:, None] - targets).min(axis=0)
    nearest = np.abs(elapsed[chosen][:, None] - targets).min(axis=0)
    np.testing.assert_allclose(nearest, away, atol=1e-6)
    assert len(chosen) <= len(targets)


def test_more_frames_a_second_than_there_are_gives_each_once() -> None:
    assert Timeline(np.array([0, 0.02, 0.5, 3]), 4).sampled(1e6) == [0, 1, 2, 3]
