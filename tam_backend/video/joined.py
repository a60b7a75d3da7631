"""Lists of frames one after the other, as the tasks of a chain have them; one list is open at a time."""

from __future__ import annotations

import operator
from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import accumulate
from pathlib import Path

from tam_backend.types import RgbFrame, VideoSource
from tam_backend.video.base import FrameSource
from tam_backend.video.limits import check_index


@dataclass(frozen=True)
class Piece:
    """A list of frames.

    Args:
        length: how many.
        open: opens it.
    """

    length: int
    open: Callable[[], VideoSource]


class JoinedFrames:
    """Frames of several lists, counted through from 0. Nothing is opened before a frame is asked for.

    Args:
        pieces: in their order, one at least.
    """

    def __init__(self, pieces: Sequence[Piece]) -> None:
        self._pieces = tuple(pieces)
        self._ends = tuple(accumulate(each.length for each in pieces))
        self._open: tuple[int, VideoSource] | None = None

    def picture(self, index: int) -> RgbFrame:
        """Return a frame, (H, W, 3) uint8 RGB.

        Raises:
            MediaError: it cannot be had.
        """
        video, within = self._at(index)
        return video[within]

    def file(self, index: int) -> Path | None:
        """Return the image file that a frame is; None where it is none.

        Raises:
            MediaError: its list cannot be opened.
        """
        video, within = self._at(index)
        return video.file_of(within) if isinstance(video, FrameSource) else None

    def size_hw(self) -> tuple[int, int]:
        """Return the (height, width) of the first list's frames.

        Raises:
            MediaError: it cannot be opened.
        """
        return self._at(0)[0].size_hw

    def fps(self) -> float | None:
        """Return the mean frames per second of the first list; None without a clock.

        Raises:
            MediaError: it cannot be opened.
        """
        return self._at(0)[0].fps

    def close(self) -> None:
        """Give back what is open."""
        if self._open is not None:
            self._open[1].close()
            self._open = None

    def _at(self, index: int) -> tuple[VideoSource, int]:
        number = bisect_right(self._ends, index)
        if self._open is None or self._open[0] != number:
            self.close()
            self._open = number, self._pieces[number].open()
        return self._open[1], index - (self._ends[number - 1] if number else 0)


class JoinedVideo(FrameSource):
    """Joined frames as one `VideoSource`; closing it closes what is open of them.

    Args:
        frames: of the lists.
        name: what to call it in messages.
        length: how many frames there are.

    Raises:
        MediaError: the first list cannot be opened.
    """

    def __init__(self, frames: JoinedFrames, name: str, length: int) -> None:
        super().__init__(name, frames.size_hw(), frames.fps())
        self._frames = frames
        self._length = length

    def __len__(self) -> int:
        return self._length

    def __getitem__(self, index: int) -> RgbFrame:
        """Return a frame, (H, W, 3) uint8 RGB. Raises FrameOutOfRangeError, MediaError."""
        index = operator.index(index)
        check_index(self.name, index, self._length)
        return self._frames.picture(index)

    def close(self) -> None:
        """Give back what is open."""
        self._frames.close()
