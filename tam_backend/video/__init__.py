"""Videos, folders of images and lists of frame URLs behind one protocol."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from tam_backend.video.decode import VideoFile
    from tam_backend.video.images import ImageSequence
    from tam_backend.video.paged import PagedImage
    from tam_backend.video.source import FrameSubset

__all__ = ["FrameSubset", "open_video"]


def open_video(path: str | Path | Sequence[str | Path]) -> VideoFile | ImageSequence | PagedImage:
    """Open a video file, a folder of images (in natural order), one image (of one or more pages), or a list of images.

    Args:
        path: the file or the folder; or image files in the order of their frames.

    Returns:
        A `VideoSource`: `video[i]` is frame i (0-based) as (H, W, 3) uint8 RGB, upright; also a context manager.

    Raises:
        MediaNotFoundError, MediaForbiddenError: it does not exist, or may not be read.
        UnreadableMediaError: no video or image that can be decoded.
        EmptyVideoError: it has no frame.
        MediaTooLargeError: frames of more than 67 megapixels.

    >>> with open_video("clip.mp4") as video:
    ...     video[len(video) // 2].shape
    (360, 640, 3)
    """
    from tam_backend.video.source import open_source  # noqa: PLC0415 - av and cv2 take half a second to import

    return open_source(path)


def __getattr__(name: str) -> Any:
    if name == "FrameSubset":
        from tam_backend.video.source import FrameSubset  # noqa: PLC0415 - the same

        return FrameSubset
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
