"""A video with its masks drawn on it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType

import numpy as np

from tam_backend.errors import EmptyVideoError, InvalidInputError
from tam_backend.export.painting import Painter
from tam_backend.types import BoolMask, RgbFrame

_TICK = Fraction(1, 90_000)
"""Of the times of frames, in seconds; no rate of television is finer."""


class OverlayWriter:
    """Write frames with coloured masks, outlines and labels as an H.264 MP4 that browsers play.

    A size that is odd is padded by one pixel, as yuv420p needs even ones. If the block is left by an error, the
    unfinished file is removed.

    Args:
        path: the MP4; its folder must exist.
        size_hw: (height, width) of every frame.
        fps: frames per second, where frames are written without their times.

    Raises:
        EmptyVideoError: the block ended without a frame.

    >>> frame, dog = np.zeros((360, 640, 3), np.uint8), np.eye(360, 640, dtype=bool)
    >>> with OverlayWriter("overlay.mp4", (360, 640), fps=24) as writer:
    ...     writer.write(frame, {1: dog}, {1: "dog"})
    """

    def __init__(self, path: str | Path, size_hw: tuple[int, int], fps: float) -> None:
        import av  # noqa: PLC0415 - not needed for `--help`

        if not (math.isfinite(fps) and fps > 0):
            raise InvalidInputError(f"A video cannot have {fps} frames per second.", "Give a number above 0.")
        self._path = Path(path)
        self._size_hw = size_hw
        self._painter = Painter(size_hw)
        self._frames = 0
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        # 1001 keeps the rates of television (30000/1001) exact.
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self._stream.height, self._stream.width = (side + side % 2 for side in size_hw)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": "20", "preset": "veryfast"}

    def write(
        self,
        frame: RgbFrame,
        masks: Mapping[int, BoolMask],
        labels: Mapping[int, str] | None = None,
        at_s: float | None = None,
    ) -> None:
        """Draw one frame and append it.

        Args:
            frame: (H, W, 3) uint8 RGB; it is not changed.
            masks: object id -> (H, W) bool; empty masks are not drawn.
            labels: object id -> text beside the id.
            at_s: when it appears, for all frames or for none; None: one frame's time after the one before.

        Raises:
            InvalidInputError: the frame is not of the writer's size.
        """
        import av  # noqa: PLC0415 - see __init__

        if frame.shape[:2] != self._size_hw:
            raise InvalidInputError(f"The frame is of shape {frame.shape}, the video {self._size_hw}.", "")
        height, width = self._size_hw
        drawn = self._painter.paint(frame, masks, labels or {})
        even = np.pad(drawn, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        picture = av.VideoFrame.from_ndarray(even, format="rgb24")
        if at_s is not None:
            self._stream.codec_context.time_base = _TICK
            picture.pts, picture.time_base = round(at_s / _TICK), _TICK
        self._container.mux(self._stream.encode(picture))
        self._frames += 1

    def __enter__(self) -> OverlayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complete = error is None and self._frames > 0
        if complete:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if not complete:
            self._path.unlink(missing_ok=True)
        if error is None and not complete:
            raise EmptyVideoError(f"No frame was written to {self._path.name}.", "Write at least one.")
