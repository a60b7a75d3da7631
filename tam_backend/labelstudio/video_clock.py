"""Frames of Label Studio's <Video> (from 1, at the tag's rate) <-> frames of the file (from 0, each at its time)."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property

from tam_backend.types import Timeline

# The editor seeks a microsecond past a frame's start; a file's rate may be rounded. Both are far below this.
_TOLERANCE = 1e-3  # frames


@dataclass(frozen=True)
class VideoClock:
    """Which file frame the editor shows as which of its frames.

    The editor shows its frame n at (n - 1) / frame_rate seconds, and the file's frame i from its own time on. Where the
    file has a steady rate from 0 s on, that is i / file_fps; and where both rates then count the same number of frames
    over the whole file, frame i is frame i + 1, exactly.

    Args:
        frame_rate: frames per second of the <Video> tag.
        file_fps: mean frames per second of the file; None where it has no clock (then the tag's is taken).
        length: frames in the file.
        timeline: when the file's frames are shown; None: at a steady rate from 0 s on.
    """

    frame_rate: float
    file_fps: float | None
    length: int
    timeline: Timeline | None = None

    @property
    def frames_count(self) -> int:
        """How many frames the editor counts: the duration times the tag's rate."""
        uneven = self._uneven
        if uneven is not None:
            return max(1, round(uneven.end_s * self.frame_rate))
        return max(1, round(self.length * self._ratio))

    @property
    def duration_s(self) -> float:
        """Seconds that the file lasts."""
        uneven = self._uneven
        return uneven.end_s if uneven is not None else self.length / (self.file_fps or self.frame_rate)

    def index_of_video_frame(self, frame: int) -> int:
        """Return the file's frame (from 0) that the editor shows as its `frame` (from 1); ends are clamped."""
        uneven = self._uneven
        if uneven is not None:
            return uneven.frame_at((frame - 1 + _TOLERANCE) / self.frame_rate)
        index = frame - 1 if self._counts_alike else math.floor((frame - 1) / self._ratio + _TOLERANCE)
        return min(max(index, 0), self.length - 1)

    def video_frame_of(self, index: int) -> int:
        """Return the editor's frame (from 1) that first shows a frame of the file (from 0), or else one before it."""
        frame = self.first_shown.get(index)
        while frame is None and index > 0:
            index -= 1
            frame = self.first_shown.get(index)
        return 1 if frame is None else frame

    @cached_property
    def first_shown(self) -> Mapping[int, int]:
        """Frame of the file -> the editor's frame that first shows it; a file may have frames that it never shows."""
        found: dict[int, int] = {}
        for frame in range(1, self.frames_count + 1):
            found.setdefault(self.index_of_video_frame(frame), frame)
        return found

    @cached_property
    def _uneven(self) -> Timeline | None:
        """The frames' own times, where no rate tells them."""
        timeline = self.timeline
        return None if timeline is None or (timeline.is_steady and timeline.begins_at_zero) else timeline

    @property
    def _ratio(self) -> float:
        return self.frame_rate / (self.file_fps or self.frame_rate)

    @property
    def _counts_alike(self) -> bool:
        return self.frames_count == self.length
