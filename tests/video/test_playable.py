"""What browsers cannot play is known, and has a copy that they can."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from video_making import QUARTER_TURN_CLOCKWISE, make_video

from tam_backend import open_video
from tam_backend.video.playable import why_not_playable, write_playable

PLAYED: dict[str, dict[str, Any]] = {
    "a.mp4": {}, "a.mov": {}, "b_frames.mp4": {"b_frames": 2}, "a.webm": {"codec": "libvpx"},
    "vp9.webm": {"codec": "libvpx-vp9", "options": {"deadline": "realtime", "cpu-used": "8"}},
}  # fmt: skip
NOT_PLAYED: dict[str, tuple[dict[str, Any], str]] = {
    "a.avi": ({"codec": "mpeg4"}, "MPEG-4 Part 2 in AVI"),
    "h264.avi": ({}, "H.264 in AVI"),
    "a.mov": ({"codec": "prores_ks", "pixel_format": "yuv422p10le"}, "ProRes in QuickTime"),
    "hevc.mp4": ({"codec": "libx265"}, "H.265 (HEVC) in MP4"),
    "mpeg4.mp4": ({"codec": "mpeg4"}, "MPEG-4 Part 2 in MP4"),
    "mjpeg.mp4": ({"codec": "mjpeg", "pixel_format": "yuvj420p"}, "Motion JPEG in MP4"),
    "a.ts": ({}, "H.264 in a transport stream"),
    "a.mkv": ({}, "H.264 in Matroska"),
    "deep.mp4": ({"pixel_format": "yuv420p10le"}, "H.264 with yuv420p10le in MP4"),
    "fine.mp4": ({"pixel_format": "yuv444p"}, "H.264 with yuv444p in MP4"),
    "named wrongly.mp4": ({"codec": "mpeg2video", "container": "mpegts"}, "MPEG-2 in a transport stream"),
}


@pytest.mark.parametrize("name", PLAYED)
def test_what_every_browser_plays_is_not_spoken_of(tmp_path: Path, name: str) -> None:
    assert why_not_playable(make_video(tmp_path / name, frames=4, **PLAYED[name])) == ""


@pytest.mark.parametrize("name", NOT_PLAYED)
def test_what_browsers_cannot_play_is_named_and_its_copy_is_played(tmp_path: Path, name: str) -> None:
    options, what = NOT_PLAYED[name]
    container = options.get("container")
    path = tmp_path / ("made.ts" if container else name)
    make_video(path, **{key: value for key, value in options.items() if key != "container"})
    path = path.rename(tmp_path / name)
    assert why_not_playable(path) == what
    copy = tmp_path / "copy.mp4"
    with open_video(path) as video:
        assert write_playable(video, copy) == ()
        assert why_not_playable(copy) == ""
        with open_video(copy) as copied:
            assert (len(copied), copied.size_hw) == (len(video), video.size_hw)
            assert copied.fps == pytest.approx(25)
            assert copied.timeline is not None and copied.timeline.is_steady and copied.timeline.begins_at_zero
            for index in (0, 9, len(video) - 1):
                assert np.abs(copied[index].astype(int) - video[index]).mean() < 12


def test_a_copy_keeps_the_times_and_is_upright(tmp_path: Path) -> None:
    times_ms = [700 + index * 40 + (index > 8) * 1500 for index in range(20)]
    path = make_video(
        tmp_path / "a.mkv", frames=20, times_ms=times_ms, size_hw=(48, 66), display_matrix=QUARTER_TURN_CLOCKWISE
    )
    with open_video(path) as video:
        write_playable(video, tmp_path / "copy.mp4")
        with open_video(tmp_path / "copy.mp4") as copy:
            assert copy.timeline is not None
            np.testing.assert_allclose(copy.timeline.starts_s * 1000, np.array(times_ms) - 700, atol=1)
            assert copy.size_hw == video.size_hw


def test_odd_sides_and_damaged_frames_do_not_keep_a_copy_from_being_made(tmp_path: Path) -> None:
    path = make_video(tmp_path / "a.mkv", codec="mjpeg", pixel_format="yuvj444p", size_hw=(49, 67), frames=10)
    with av.open(str(path)) as container:
        packet = [each for each in container.demux(video=0) if each.size][5]
        content = bytes(packet)
    data = path.read_bytes()
    assert data.count(content) == 1
    path.write_bytes(data.replace(content, bytes(len(content))))
    with open_video(path) as video:
        assert write_playable(video, tmp_path / "copy.mp4") == (5,)
    with open_video(tmp_path / "copy.mp4") as copy:
        assert (len(copy), copy.size_hw) == (9, (50, 68))
