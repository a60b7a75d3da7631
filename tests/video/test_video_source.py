"""Frame-exact random access, whatever the file."""

from __future__ import annotations

import struct
import subprocess
import sys
import threading
from functools import cache
from pathlib import Path
from tempfile import mkdtemp

import av
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from video_making import HALF_TURN, MIRROR, QUARTER_TURN_CLOCKWISE, make_video, picture, plain_decode

from tam_backend import open_video
from tam_backend.errors import (
    EmptyVideoError,
    FrameOutOfRangeError,
    MediaNotFoundError,
    MediaTooLargeError,
    UnreadableMediaError,
)
from tam_backend.types import VideoSource
from tam_backend.video import FrameSubset
from tam_backend.video.decode import VideoFile
from tam_backend.video.frame_index import FrameIndex, Keyframe

X264_OPEN_GOP = {"x264-params": "open-gop=1:keyint=8:bframes=3:b-pyramid=normal"}
X264_INTRA_REFRESH = {"x264-params": "intra-refresh=1:keyint=8"}
UNEVEN_MS = [index * 40 + index % 3 * 13 for index in range(24)]
QUICK_VPX = {"deadline": "realtime", "cpu-used": "8"}
VISIBLE_ALT_REF = {"deadline": "good", "cpu-used": "5", "auto-alt-ref": "1", "lag-in-frames": "12"}

RECIPES: dict[str, dict[str, object]] = {
    "h264_b_frames.mp4": {"b_frames": 3},
    "h264_b_frames.mkv": {"b_frames": 3},
    "h264.ts": {},
    "h264.avi": {"b_frames": 2},
    "raw.h264": {},
    "open_gop.mp4": {"options": X264_OPEN_GOP},
    "open_gop.ts": {"options": X264_OPEN_GOP},
    "intra_refresh.mp4": {"options": X264_INTRA_REFRESH},
    "intra_refresh.ts": {"options": X264_INTRA_REFRESH},
    "fragmented.mp4": {"container_options": {"movflags": "frag_keyframe+empty_moov"}},
    "uneven_times.mp4": {"times_ms": UNEVEN_MS},
    "uneven_times.mkv": {"times_ms": UNEVEN_MS},
    "times_start_below_zero.mp4": {"times_ms": [index * 40 - 500 for index in range(24)]},
    "times_with_a_long_gap.mkv": {"times_ms": [index * 40 + (index > 11) * 100_000 for index in range(24)]},
    "odd_size.mp4": {"size_hw": (49, 67), "pixel_format": "yuv444p"},
    "with_sound.mp4": {"audio": True},
    "mpeg4_b_frames.mp4": {"codec": "mpeg4", "b_frames": 2},
    "mpeg4_b_frames.avi": {"codec": "mpeg4", "b_frames": 2},
    "mpeg2.ts": {"codec": "mpeg2video", "b_frames": 2},
    "vp9.webm": {"codec": "libvpx-vp9", "options": QUICK_VPX},
    "vp9_hidden_frames.webm": {"codec": "libvpx-vp9", "options": VISIBLE_ALT_REF},
    "vp8_hidden_frames.webm": {"codec": "libvpx", "options": VISIBLE_ALT_REF},
    "all_keyframes.mkv": {"codec": "mjpeg", "pixel_format": "yuvj420p"},
    "palette.gif": {"codec": "gif", "pixel_format": "rgb8"},
    "single_frame.mp4": {"frames": 1},
}


@cache
def clips_dir() -> Path:
    return Path(mkdtemp(prefix="tam-clips-"))


@cache
def clip(name: str) -> Path:
    return make_video(clips_dir() / name, **RECIPES[name])  # type: ignore[arg-type]


@cache
def truth(name: str) -> list[np.ndarray]:
    return plain_decode(clip(name))


@pytest.mark.parametrize("name", RECIPES)
@settings(max_examples=12, deadline=None)
@given(data=st.data())
def test_any_order_of_reads_gives_the_frames_of_a_plain_decode(name: str, data: st.DataObject) -> None:
    frames = truth(name)
    order = data.draw(st.lists(st.integers(0, len(frames) - 1), min_size=1, max_size=8))
    cache_bytes = data.draw(st.sampled_from([1, 20_000, 10_000_000]))
    with VideoFile(clip(name), cache_bytes=cache_bytes) as video:
        assert len(video) == len(frames)
        for index in order:
            np.testing.assert_array_equal(video[index], frames[index], err_msg=f"{name} frame {index} of {order}")


@pytest.mark.parametrize("name", RECIPES)
def test_iterating_gives_every_frame_in_order(name: str) -> None:
    with open_video(clip(name)) as video:
        for index, (ours, theirs) in enumerate(zip(video, truth(name), strict=True)):
            np.testing.assert_array_equal(ours, theirs, err_msg=f"{name} frame {index}")


@pytest.mark.parametrize(
    ("matrix", "turned"),
    [
        (QUARTER_TURN_CLOCKWISE, lambda frame: np.rot90(frame, -1)),
        (HALF_TURN, lambda frame: np.rot90(frame, 2)),
        (MIRROR, lambda frame: frame[:, ::-1]),
    ],
    ids=["quarter turn", "half turn", "mirror"],
)
def test_the_display_matrix_is_applied(tmp_path: Path, matrix: tuple[int, ...], turned: object) -> None:
    path = make_video(tmp_path / "turned.mp4", display_matrix=matrix, size_hw=(48, 80))
    with open_video(path) as video:
        upright = turned(plain_decode(path)[5])  # type: ignore[operator]
        assert video.size_hw == upright.shape[:2]
        np.testing.assert_array_equal(video[5], upright)
        assert video[5].flags.c_contiguous


def test_a_video_tells_its_name_size_rate_and_length() -> None:
    with open_video(clip("h264_b_frames.mp4")) as video:
        assert isinstance(video, VideoSource)
        assert (video.name, video.size_hw, video.fps, len(video)) == ("h264_b_frames.mp4", (48, 64), 25.0, 24)
        assert repr(video).endswith("h264_b_frames.mp4' 64x48>")


def test_a_caller_may_paint_on_a_frame_without_changing_the_video() -> None:
    with open_video(clip("h264_b_frames.mp4")) as video:
        video[3][:] = 0
        np.testing.assert_array_equal(video[3], truth("h264_b_frames.mp4")[3])


@pytest.mark.parametrize("index", [-1, 24, 10**12])
def test_a_frame_outside_the_video_is_refused(index: int) -> None:
    with open_video(clip("h264_b_frames.mp4")) as video, pytest.raises(FrameOutOfRangeError, match="numbered 0 to 23"):
        video[index]


def test_threads_may_share_a_video() -> None:
    frames = truth("h264_b_frames.mp4")
    wrong: list[int] = []
    with VideoFile(clip("h264_b_frames.mp4"), cache_bytes=50_000) as video:

        def read(seed: int) -> None:
            order = np.random.default_rng(seed).integers(0, len(frames), 40).tolist()
            wrong.extend(index for index in order if not np.array_equal(video[index], frames[index]))

        threads = [threading.Thread(target=read, args=(seed,)) for seed in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert wrong == []


def test_the_cache_stays_within_its_bytes() -> None:
    one_frame = 64 * 48 * 3 // 2
    with VideoFile(clip("h264_b_frames.mp4"), cache_bytes=6 * one_frame) as video:
        for _ in video:
            assert video._cache._bytes <= 6 * one_frame
        assert len(video._cache._frames) > 1


def test_reading_on_does_not_seek(monkeypatch: pytest.MonkeyPatch) -> None:
    starts = []
    start = VideoFile._start
    monkeypatch.setattr(VideoFile, "_start", lambda self, keyframe: (starts.append(keyframe), start(self, keyframe)))
    with open_video(clip("h264_b_frames.mp4")) as video:
        for _ in video:
            pass
        assert len(starts) == 1
        for index in reversed(range(len(video))):
            video[index]
        assert len(starts) == 1, "stepping back within the cache needs no decoder"


def test_reading_a_closed_video_says_so() -> None:
    video = open_video(clip("h264_b_frames.mp4"))
    video.close()
    video.close()
    with pytest.raises(UnreadableMediaError, match="closed"):
        video[0]


def test_frames_that_an_edit_list_hides_do_not_count(tmp_path: Path) -> None:
    path = make_video(tmp_path / "trimmed.mp4", frames=40, gop=12, b_frames=3)
    data = bytearray(path.read_bytes())
    entry = data.index(b"elst") + 12  # after version, flags and the number of entries
    duration, media_time = struct.unpack_from(">Ii", data, entry)
    ticks_per_frame = 512  # of the track, at 25 fps as FFmpeg writes it; the movie itself counts milliseconds
    struct.pack_into(">Ii", data, entry, duration - 17 * 40, media_time + 17 * ticks_per_frame)
    path.write_bytes(data)
    frames = plain_decode(path)
    with open_video(path) as video:
        assert len(video) == len(frames) == 23
        for index in (22, 0, 11, 12, 5):
            np.testing.assert_array_equal(video[index], frames[index])


def test_of_several_streams_the_one_that_ffmpeg_prefers_is_shown(tmp_path: Path) -> None:
    path = tmp_path / "two.mkv"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libx264", rate=25) for _ in range(2)]
        for stream, size_hw in zip(streams, ((48, 64), (96, 128)), strict=True):
            stream.height, stream.width = size_hw
            stream.pix_fmt = "yuv420p"
        for index in range(10):
            for stream in streams:
                frame = av.VideoFrame.from_ndarray(picture(index, (stream.height, stream.width)), format="rgb24")
                container.mux(stream.encode(frame))
        for stream in streams:
            container.mux(stream.encode(None))
    with av.open(str(path)) as container:
        best = container.streams.best("video")
        expected = [frame.to_ndarray(format="rgb24") for frame in container.decode(best)]
    with open_video(path) as video:
        assert len(video) == len(expected)
        for index in (9, 0, 4):
            np.testing.assert_array_equal(video[index], expected[index])


def test_a_stream_that_changes_its_size_keeps_the_size_of_its_first_frame(tmp_path: Path) -> None:
    first = make_video(tmp_path / "first.ts").read_bytes()
    second = make_video(tmp_path / "second.ts", size_hw=(96, 80)).read_bytes()
    path = tmp_path / "both.ts"
    path.write_bytes(first + second)
    with open_video(path) as video:
        assert len(video) == 48
        assert {frame.shape for frame in video} == {(48, 64, 3)}


def test_where_packets_do_not_tell_their_frames_frames_are_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = truth("h264_b_frames.mp4")
    start = Keyframe(ordinal=0, rank=0, timestamp=None, identity=None)
    index = FrameIndex(np.arange(len(frames)), (start,), counted=True)
    monkeypatch.setattr("tam_backend.video.decode.build_index", lambda path: index)
    with VideoFile(clip("h264_b_frames.mp4"), cache_bytes=1) as video:
        for number in (9, 3, 23, 0):
            np.testing.assert_array_equal(video[number], frames[number])


def test_a_keyframe_that_cannot_be_found_again_is_reached_by_reading_on(monkeypatch: pytest.MonkeyPatch) -> None:
    frames = truth("h264_b_frames.mp4")
    monkeypatch.setattr("tam_backend.video.decode.identity", lambda packet: (None, None, -1))
    with VideoFile(clip("h264_b_frames.mp4"), cache_bytes=1) as video:
        for number in (20, 3, 23, 9):
            np.testing.assert_array_equal(video[number], frames[number])


# Damage


@pytest.mark.parametrize("name", ["cut.mp4", "cut.mkv", "cut.ts", "cut.avi"])
def test_a_truncated_file_is_readable_up_to_the_damage(tmp_path: Path, name: str) -> None:
    options = {"movflags": "faststart"} if name.endswith("mp4") else None
    path = make_video(tmp_path / name, frames=60, container_options=options)
    frames = plain_decode(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size * 2 // 3])
    with open_video(path) as video:
        assert 20 <= len(video) < 60
        for index in (*range(len(video) - 3), 0, 10):  # the last frames may be concealed remains
            np.testing.assert_array_equal(video[index], frames[index])
        assert video[len(video) - 1].shape == (48, 64, 3)
        with pytest.raises(FrameOutOfRangeError):
            video[len(video)]


def test_a_damaged_frame_keeps_its_number_and_the_others_stay_right(tmp_path: Path) -> None:
    path = make_video(tmp_path / "scratched.mkv", codec="ffv1", frames=24, gop=1, options={"slicecrc": "1"})
    frames = plain_decode(path)
    with av.open(str(path)) as container:
        packet = [packet for packet in container.demux(video=0) if packet.size][11]
        payload = bytes(packet)
    data = path.read_bytes()
    assert data.count(payload) == 1
    path.write_bytes(data.replace(payload, b"\xff" * len(payload)))
    with open_video(path) as video:
        assert len(video) == 24
        for _ in range(2):
            with pytest.raises(UnreadableMediaError, match=r"Frame 11 of scratched\.mkv"):
                video[11]
        for index in (12, 10, 23, 0):
            np.testing.assert_array_equal(video[index], frames[index])


def test_a_recording_cut_in_mid_stream_starts_at_its_first_decodable_frame(tmp_path: Path) -> None:
    path = make_video(tmp_path / "live.ts", frames=48, gop=12)
    data = path.read_bytes()
    path.write_bytes(data[len(data) // 3 // 188 * 188 :])
    frames = plain_decode(path)
    with open_video(path) as video:
        assert len(video) == len(frames) < 48
        for index in (len(frames) - 1, 0, 7):
            np.testing.assert_array_equal(video[index], frames[index])


@pytest.mark.parametrize("content", [b"", b"no video at all" * 100, b"\x00\x00\x00\x18ftypmp42" + bytes(500)])
def test_garbage_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "garbage.mp4"
    path.write_bytes(content)
    with pytest.raises(UnreadableMediaError, match=r"garbage\.mp4"):
        open_video(path)


def test_a_file_with_sound_only_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "song.m4a"
    with av.open(str(path), "w", format="mp4") as container:
        stream = container.add_stream("aac", rate=16000, layout="mono")
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
        silence.sample_rate = 16000
        container.mux(stream.encode(silence))
        container.mux(stream.encode(None))
    with pytest.raises(UnreadableMediaError, match=r"song\.m4a has no video"):
        open_video(path)


def test_a_video_without_frames_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.y4m"
    path.write_bytes(b"YUV4MPEG2 W64 H48 F25:1 Ip A1:1 C420jpeg\n")
    with pytest.raises(EmptyVideoError, match=r"empty\.y4m"):
        open_video(path)


def test_a_missing_path_is_not_found(tmp_path: Path) -> None:
    with pytest.raises(MediaNotFoundError, match="gone"):
        open_video(tmp_path / "gone.mp4")


def test_a_decompression_bomb_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = make_video(tmp_path / "bomb.mkv", codec="ffv1", size_hw=(260, 300), frames=2)
    data = path.read_bytes()
    # Matroska: PixelWidth (0xB0) and PixelHeight (0xBA), two bytes each.
    stated = b"\xb0\x82" + struct.pack(">H", 300) + b"\xba\x82" + struct.pack(">H", 260)
    assert data.count(stated) == 1
    path.write_bytes(
        data.replace(stated, b"\xb0\x82" + struct.pack(">H", 9000) + b"\xba\x82" + struct.pack(">H", 9000))
    )
    with pytest.raises(MediaTooLargeError, match="9000 x 9000"):
        open_video(path)


def test_a_decompression_bomb_that_hides_its_size_is_not_decoded_either(tmp_path: Path) -> None:
    path = make_video(tmp_path / "bomb.gif", codec="gif", pixel_format="rgb8")
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 20000, 20000)  # the logical screen; known to FFmpeg only once it decodes
    path.write_bytes(data)
    with pytest.raises(UnreadableMediaError, match=r"bomb\.gif"):
        open_video(path)


def test_a_playlist_cannot_make_us_open_other_files(tmp_path: Path) -> None:
    make_video(tmp_path / "secret.ts")
    playlist = tmp_path / "playlist.mp4"
    for text in (
        "#EXTM3U\n#EXT-X-VERSION:3\n#EXTINF:1.0,\nsecret.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile secret.ts\n",
    ):
        playlist.write_text(text)
        with pytest.raises(UnreadableMediaError):
            open_video(playlist)


# Subsets


def test_a_subset_shows_the_chosen_frames_at_their_own_pace() -> None:
    frames = truth("h264_b_frames.mp4")
    with FrameSubset(open_video(clip("h264_b_frames.mp4")), range(2, 24, 5)) as subset:
        assert isinstance(subset, VideoSource)
        assert (len(subset), subset.fps, subset.size_hw, subset.name) == (5, 5.0, (48, 64), "h264_b_frames.mp4")
        for ours, index in zip(subset, subset.indices, strict=True):
            np.testing.assert_array_equal(ours, frames[index])
        with pytest.raises(FrameOutOfRangeError, match="numbered 0 to 4"):
            subset[5]
        assert "5 frames" in repr(subset)


def test_a_subset_in_no_order_has_no_clock() -> None:
    with FrameSubset(open_video(clip("h264_b_frames.mp4")), [5, 3]) as subset:
        assert subset.fps is None


def test_a_subset_of_frames_that_are_not_there_is_refused() -> None:
    with open_video(clip("h264_b_frames.mp4")) as video:
        with pytest.raises(FrameOutOfRangeError):
            FrameSubset(video, [0, 24])
        with pytest.raises(EmptyVideoError):
            FrameSubset(video, [])


def test_importing_the_package_does_not_import_the_decoders() -> None:
    code = "import sys, tam_backend; sys.exit(int(bool({'av', 'cv2', 'torch', 'PIL'} & set(sys.modules))))"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_pictures_differ_from_frame_to_frame() -> None:
    assert len({picture(index, (48, 64)).tobytes() for index in range(60)}) == 60
