"""Open whatever holds frames, a video file, a folder or a list of images, as one `VideoSource`."""

from __future__ import annotations

import operator
from collections.abc import Sequence
from pathlib import Path

from tam_backend.errors import EmptyVideoError, MediaNotFoundError
from tam_backend.types import RgbFrame, VideoSource, timeline_of
from tam_backend.video.base import FrameSource
from tam_backend.video.decode import VideoFile
from tam_backend.video.images import IMAGE_SUFFIXES, ImageSequence, images_in
from tam_backend.video.limits import check_index
from tam_backend.video.paged import PagedImage, pages_of


def open_source(path: str | Path | Sequence[str | Path]) -> VideoFile | ImageSequence | PagedImage:
    """Do what `tam_backend.open_video` promises."""
    if not isinstance(path, (str, Path)):
        paths = [Path(item).expanduser() for item in path]
        return ImageSequence(paths, name=paths[0].name if paths else "an empty list")
    if isinstance(path, str) and "://" in path and not Path(path).exists():
        raise MediaNotFoundError(
            f"{path} is a web address (URL), no file.", "Download it, and give the file; or `tam-backend import` it."
        )
    path = Path(path).expanduser()
    if path.is_dir():
        return ImageSequence(images_in(path), name=path.resolve().name)
    if not path.exists():
        raise MediaNotFoundError(f"{path} does not exist.", "Check the path.")
    if path.suffix.lower() in IMAGE_SUFFIXES:
        pages = pages_of(path)
        return PagedImage(path, pages) if len(pages) > 1 else ImageSequence([path], name=path.name)
    return VideoFile(path)


def _span_s(video: VideoSource, first: int, last: int) -> float:
    """Return the seconds from one frame to another; 0 without a clock, or where they do not go forward."""
    timeline = timeline_of(video)
    if video.fps is None or last <= first:
        return 0.0
    if timeline is None or timeline.is_steady:
        return (last - first) / video.fps
    return float(timeline.starts_s[last] - timeline.starts_s[first])


class FrameSubset(FrameSource):
    """Some frames of a video, in any order, as a `VideoSource` of their own; closing it closes the video.

    Its rate is their mean; None without a clock, or where they do not go forward.

    Args:
        video: where the frames come from.
        indices: frame numbers in `video`; frame i of the subset is `video[indices[i]]`.

    Raises:
        EmptyVideoError: no indices.
        FrameOutOfRangeError: an index that the video does not have.

    >>> with open_source("clip.mp4") as video:
    ...     every_second = FrameSubset(video, range(0, len(video), 2))
    >>> len(video), len(every_second)
    (3, 2)
    """

    def __init__(self, video: VideoSource, indices: Sequence[int]) -> None:
        if not len(indices):
            raise EmptyVideoError(f"No frames of {video.name} were chosen.", "Choose at least one.")
        length = len(video)
        self._indices = tuple(operator.index(index) for index in indices)
        for index in self._indices:
            check_index(video.name, index, length)
        self._video = video
        span_s = _span_s(video, self._indices[0], self._indices[-1])
        fps = (len(self) - 1) / span_s if span_s > 0 else None
        super().__init__(video.name, video.size_hw, fps)

    @property
    def indices(self) -> tuple[int, ...]:
        """The frame numbers in the whole video."""
        return self._indices

    def __repr__(self) -> str:
        return f"<FrameSubset {len(self)} frames of {self._video!r}>"

    def __len__(self) -> int:
        return len(self._indices)

    def __getitem__(self, index: int) -> RgbFrame:
        """Return frame `index` of the subset: (H, W, 3) uint8 RGB.

        Raises:
            FrameOutOfRangeError: there is no such frame in the subset.
            UnreadableMediaError: as the video raises it.
        """
        index = operator.index(index)
        check_index(self.name, index, len(self))
        return self._video[self._indices[index]]

    def file_of(self, index: int) -> Path | None:
        """Return the image file that a frame is; None where it is none."""
        check_index(self.name, index, len(self))
        return self._video.file_of(self._indices[index]) if isinstance(self._video, FrameSource) else None

    def close(self) -> None:
        """Close the whole video."""
        self._video.close()
