"""What all video sources share: how they are called, walked through and closed."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING

from tam_backend.types import RgbFrame, Timeline, VideoSource
from tam_backend.video.limits import check_index

if TYPE_CHECKING:
    from typing_extensions import Self  # of typing itself from Python 3.11 on


class FrameSource(ABC):
    """The part of a `VideoSource` that does not depend on where its frames come from; also a context manager.

    Args:
        name: what to call it in messages.
        size_hw: (height, width) of every frame in pixels, upright.
        fps: mean frames per second; None without a clock.
    """

    def __init__(self, name: str, size_hw: tuple[int, int], fps: float | None = None) -> None:
        self._name = name
        self._size_hw = size_hw
        self._fps = fps

    @property
    def name(self) -> str:
        """What to call it in messages: the name of the file, the folder or the first image."""
        return self._name

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of every frame, after rotation."""
        return self._size_hw

    @property
    def fps(self) -> float | None:
        """Mean frames per second; None where there is no clock (images), or none is stated."""
        return self._fps

    @property
    def timeline(self) -> Timeline | None:
        """When each frame is shown; None where nothing tells (images)."""
        return None

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def __getitem__(self, index: int) -> RgbFrame: ...

    def __iter__(self) -> Iterator[RgbFrame]:
        return (self[index] for index in range(len(self)))

    def own_size_hw(self, index: int) -> tuple[int, int]:
        """Return the (height, width) of a frame before it was scaled to the size of the others.

        Raises:
            MediaError: it cannot be had now.
        """
        check_index(self.name, index, len(self))
        return self.size_hw

    def file_of(self, index: int) -> Path | None:
        """Return the image file that a frame is; None where it is none, such as in a video file."""
        check_index(self.name, index, len(self))
        return None

    @abstractmethod
    def close(self) -> None:
        """Give back what is held open; calling it twice is harmless."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


def own_size_hw(video: VideoSource, index: int) -> tuple[int, int]:
    """Return the (height, width) that a frame of any video has where it comes from; see `FrameSource.own_size_hw`."""
    return video.own_size_hw(index) if isinstance(video, FrameSource) else video.size_hw
