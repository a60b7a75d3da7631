"""Real video files for the tests of tam_backend.video, made with PyAV; every frame looks different."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

QUARTER_TURN_CLOCKWISE = (0, 1 << 16, 0, -(1 << 16), 0, 0, 0, 0, 1 << 30)
HALF_TURN = (-(1 << 16), 0, 0, 0, -(1 << 16), 0, 0, 0, 1 << 30)
MIRROR = (-(1 << 16), 0, 0, 0, 1 << 16, 0, 0, 0, 1 << 30)


def picture(index: int, size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    height, width = size_hw
    frame = np.zeros((height, width, 3), np.uint8)
    frame[..., 0] = index * 11 % 256
    frame[:, index * 3 % width] = 255
    frame[index % height, :, 1] = 255
    noise = np.random.default_rng(index).integers(0, 255, (3, 4, 3), dtype=np.uint8)
    frame[: height // 2, : width // 2] = np.kron(noise, np.ones((height, width, 1), np.uint8))[
        : height // 2, : width // 2
    ]
    return frame


def make_video(
    path: Path,
    *,
    codec: str = "libx264",
    frames: int = 24,
    size_hw: tuple[int, int] = (48, 64),
    pixel_format: str = "yuv420p",
    gop: int = 8,
    b_frames: int | None = None,
    times_ms: Sequence[int] | None = None,
    display_matrix: Sequence[int] | None = None,
    options: dict[str, str] | None = None,
    container_options: dict[str, str] | None = None,
    audio: bool = False,
) -> Path:
    with av.open(str(path), "w", options=container_options or {}) as container:
        stream = container.add_stream(codec, rate=25)
        stream.height, stream.width = size_hw
        stream.pix_fmt = pixel_format
        stream.gop_size = gop
        stream.options = options or {}
        if times_ms is not None:
            stream.codec_context.time_base = Fraction(1, 1000)
        if b_frames is not None:
            stream.codec_context.max_b_frames = b_frames
        if display_matrix is not None:
            stream.set_display_matrix(list(display_matrix))
        sound = container.add_stream("aac", rate=16000, layout="mono") if audio else None
        if sound is not None:
            silence = av.AudioFrame.from_ndarray(np.zeros((1, 16000), np.float32), format="fltp", layout="mono")
            silence.sample_rate, silence.pts = 16000, 0
            container.mux(sound.encode(silence))
            container.mux(sound.encode(None))
        for index in range(frames):
            frame = av.VideoFrame.from_ndarray(picture(index, size_hw), format="rgb24")
            if times_ms is not None:
                frame.pts, frame.time_base = times_ms[index], Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def plain_decode(path: Path) -> list[NDArray[np.uint8]]:
    with av.open(str(path)) as container:
        return [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
