"""What is known of an imported video, wherever it lies."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from tam_backend.errors import MediaNotFoundError
from tam_backend.types import VideoSource
from tam_backend.video.download_cache import BorrowedFile


class VideoFacts(NamedTuple):
    """What opening a video tells.

    Args:
        frames: how many it has.
        size_hw: (height, width) of its frames in pixels.
        fps: mean frames per second; None for a folder of images.
    """

    frames: int
    size_hw: tuple[int, int]
    fps: float | None


@dataclass(frozen=True)
class VideoRecord:
    """A registered video.

    Args:
        id: 16 hex digits, stable as long as the video is the same.
        name: of the file or the folder.
        is_folder: it is a folder of images, not a file.
        place: where its shelf finds it: an absolute path, or the SHA-256 of its content in a store.
        frames, size_hw, fps: see `VideoFacts`.
    """

    id: str
    name: str
    is_folder: bool
    place: str
    frames: int
    size_hw: tuple[int, int]
    fps: float | None


class Shelf(Protocol):
    """A place where imported videos are kept."""

    def add(self, path: Path, seen: str, facts: VideoFacts) -> VideoRecord:
        """Make a video known.

        Args:
            path: absolute; a file or a folder of images, which stays as it is.
            seen: its `fingerprint` before it was opened.
            facts: what opening it told.

        Raises:
            MediaError: it cannot be put there.
        """

    def find(self, video_id: str) -> VideoRecord | None:
        """Look a video up; None if it is not here.

        Raises:
            MediaError: it is gone, changed, or cannot be reached.
        """

    def borrow(self, record: VideoRecord) -> BorrowedFile:
        """Return the file or folder, which stays until it is given back.

        Raises:
            MediaError: it is gone, changed, or cannot be reached.
        """

    def open(self, record: VideoRecord) -> VideoSource:
        """Open a video; its file stays until that is closed.

        Raises:
            MediaError: as `borrow`, and it cannot be decoded.
        """


def fingerprint(path: Path) -> str:
    """Hash a file's absolute path, size and time of change; of a folder, those of its images.

    Raises:
        MediaNotFoundError: it is not there, or cannot be reached.
    """
    try:
        files = [path]
        if path.is_dir():
            from tam_backend.video.images import images_in  # noqa: PLC0415 - cv2 takes long to import

            files = images_in(path)
        facts = [str(path)]
        for each in files:
            status = each.stat()
            facts += [each.name] if each != path else []
            facts += [str(status.st_size), str(status.st_mtime_ns)]
    except OSError:
        raise MediaNotFoundError(
            f"The video {path} is not there any more, or cannot be reached.",
            "Put it back where it was, or import it again from where it is now.",
        ) from None
    return hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
