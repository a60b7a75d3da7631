"""A video whose file lies in the cache: it stays there until the video is closed."""

from __future__ import annotations

from tam_backend.types import RgbFrame, Timeline
from tam_backend.video import open_video
from tam_backend.video.base import FrameSource
from tam_backend.video.download_cache import BorrowedFile


class BorrowedVideo(FrameSource):
    """A downloaded video, kept from eviction until it is closed.

    Args:
        file: given back when it is closed, and discarded if it cannot be opened: it may have been replaced by the time
            somebody tries again.

    Raises:
        MediaError: as `open_video` says.
    """

    def __init__(self, file: BorrowedFile) -> None:
        self._file = file
        try:
            self._video = open_video(file.path)
        except BaseException:
            file.discard()
            raise
        super().__init__(self._video.name, self._video.size_hw, self._video.fps)

    def __repr__(self) -> str:
        return f"<downloaded {self._video!r}>"

    @property
    def timeline(self) -> Timeline | None:
        """When each frame is shown; None where nothing tells."""
        return self._video.timeline

    def __len__(self) -> int:
        return len(self._video)

    def __getitem__(self, index: int) -> RgbFrame:
        return self._video[index]

    def close(self) -> None:
        """Close the video, and let its file leave the cache."""
        self._video.close()
        self._file.give_back()
