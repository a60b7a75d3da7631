"""Which video files browsers play, and a copy that they do: H.264 in MP4."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import MediaError, UnreadableMediaError
from tam_backend.types import VideoSource, timeline_of
from tam_backend.video.container import OpenVideo
from tam_backend.video.mime import mime_type

# What Chromium and Firefox both play, everywhere: HEVC only where the machine has a decoder for it, and Matroska's
# wider forms not in Firefox.
_CONTAINERS = frozenset({"video/mp4", "video/quicktime", "video/webm", "video/ogg", "video/3gpp"})
_CODECS = frozenset({"h264", "vp8", "vp9", "av1", "libdav1d", "libaom-av1"})
_H264_PIXELS = frozenset({"yuv420p", "yuvj420p"})
_NAMES = {
    "hevc": "H.265 (HEVC)",
    "prores": "ProRes",
    "mpeg4": "MPEG-4 Part 2",
    "mjpeg": "Motion JPEG",
    "mpeg1video": "MPEG-1",
    "mpeg2video": "MPEG-2",
    "h264": "H.264",
    "video/x-msvideo": "AVI",
    "video/mp2t": "a transport stream",
    "video/mpeg": "an MPEG program stream",
    "video/x-matroska": "Matroska",
    "video/x-flv": "Flash video",
    "video/x-ms-asf": "Windows Media",
    "video/mp4": "MP4",
    "video/quicktime": "QuickTime",
    "video/webm": "WebM",
    "video/ogg": "Ogg",
    "video/3gpp": "3GP",
}

# So many ticks a second: 24, 25, 30 and their NTSC relatives are whole numbers of them.
_TICKS = 90_000
_STILL_S = 1 / 24  # of images, which have no clock


def why_not_playable(path: Path) -> str:
    """Say what a file is that browsers cannot be relied on to play; "" for one that they play.

    Raises:
        MediaError: it is no video that can be opened.
    """
    kind = mime_type(path)
    if kind.startswith("image/"):
        return "an image of several pages"
    with OpenVideo(path) as video:
        codec, pixels = video.stream.codec_context.name, str(video.stream.codec_context.pix_fmt)
    if kind in _CONTAINERS and codec in _CODECS and (codec != "h264" or pixels in _H264_PIXELS):
        return ""
    deep = f" with {pixels}" if codec == "h264" and pixels not in _H264_PIXELS else ""
    return f"{_NAMES.get(codec, codec)}{deep} in {_NAMES.get(kind, 'a container of its own kind')}"


def write_playable(video: VideoSource, path: Path) -> tuple[int, ...]:
    """Write a copy of a video, frame by frame at the same times, as H.264 in MP4, without sound.

    The first frame comes to 0 s. Sides that are odd get one pixel more. Every picture can be sought quickly.

    Args:
        video: stays open.
        path: the MP4; its folder must exist.

    Returns:
        The damaged frames, which the copy lacks.

    Raises:
        UnreadableMediaError: none of its frames can be read.
    """
    step_s = 1 / video.fps if video.fps else _STILL_S
    ticks = _ascending(_starts_s(video, step_s))
    left_out: list[int] = []
    with av.open(f"file:{path.absolute()}", "w", format="mp4", options={"movflags": "faststart"}) as container:
        stream: Any = container.add_stream("libx264", rate=round(1 / step_s) or 1)
        stream.height, stream.width = (side + side % 2 for side in video.size_hw)
        stream.pix_fmt = "yuv420p"
        stream.codec_context.time_base = Fraction(1, _TICKS)
        stream.codec_context.gop_size = 24
        # Without B-frames, whose order some players and editors get wrong.
        stream.options = {"crf": "17", "preset": "veryfast", "bf": "0"}
        for index, tick in enumerate(ticks):
            try:
                frame = video[index]
            except MediaError:
                left_out.append(index)
                continue
            height, width = frame.shape[:2]
            even = np.pad(frame, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
            picture = av.VideoFrame.from_ndarray(even, format="rgb24")
            picture.pts, picture.time_base = tick, Fraction(1, _TICKS)
            container.mux(stream.encode(picture))
        if len(left_out) < len(video):
            container.mux(stream.encode(None))
    if len(left_out) == len(video):
        raise UnreadableMediaError(f"No frame of {video.name} can be decoded.", "Check that it plays.")
    return tuple(left_out)


def _starts_s(video: VideoSource, step_s: float) -> NDArray[Any]:
    """Return when each frame of the copy is shown."""
    timeline = timeline_of(video)
    if timeline is None or timeline.is_steady:
        return np.arange(len(video)) * step_s
    return np.asarray(timeline.starts_s - timeline.starts_s[0])


def _ascending(starts_s: NDArray[Any]) -> list[int]:
    """Return times as ticks, no two alike: an encoder takes no two frames at one time."""
    places = np.arange(len(starts_s))
    return [int(tick) for tick in np.maximum.accumulate(np.rint(starts_s * _TICKS) - places) + places]
