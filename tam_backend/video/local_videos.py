"""Imported videos that stay where they are on this machine: a register says which file an id means."""

from __future__ import annotations

import json
import secrets
import time
from pathlib import Path
from typing import Any

from tam_backend.errors import UnreadableMediaError
from tam_backend.types import VideoSource
from tam_backend.video import open_video
from tam_backend.video.download_cache import BorrowedFile
from tam_backend.video.video_records import VideoFacts, VideoRecord, fingerprint

_FOLDER_KNOWN_S = 1.0  # a page of 50 frames is shown by 50 look-ups in a row


class LocalVideos:
    """A shelf of videos that only this machine has. The id of each is its fingerprint.

    Threads may share one; processes may share its folder (every file in it is written whole and moved into place).

    Args:
        folder: of the register, `<id>.json`; made if it is not there.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._folder_id: tuple[Path, str] | None = None  # of the folder that was looked through last
        self._folder_id_until = 0.0  # by time.monotonic()

    def add(self, path: Path, seen: str, facts: VideoFacts) -> VideoRecord:
        """Note where a video is; see `Shelf.add`."""
        content = {"path": str(path), "frames": facts.frames, "size_hw": list(facts.size_hw), "fps": facts.fps}
        self._folder.mkdir(parents=True, exist_ok=True)
        _write_atomically(self._folder / f"{seen}.json", json.dumps(content).encode())
        return VideoRecord(seen, path.name, path.is_dir(), str(path), *facts)

    def find(self, video_id: str) -> VideoRecord | None:
        """Look a video up.

        Raises:
            MediaNotFoundError: its file is not there any more.
            UnreadableMediaError: its file is another one now.
        """
        try:
            content: dict[str, Any] = json.loads((self._folder / f"{video_id}.json").read_bytes())
        except FileNotFoundError:
            return None
        path = Path(content["path"])
        if not self._is_unchanged(path, video_id):
            raise UnreadableMediaError(
                f"The video {path.name} has changed since it was imported.",
                "Import it again, so that its tasks show the new frames.",
            )
        height, width = content["size_hw"]
        facts = VideoFacts(content["frames"], (height, width), content["fps"])
        return VideoRecord(video_id, path.name, path.is_dir(), str(path), *facts)

    def borrow(self, record: VideoRecord) -> BorrowedFile:
        """Return the file or folder itself."""
        return BorrowedFile(Path(record.place))

    def open(self, record: VideoRecord) -> VideoSource:
        """Open a video; see `open_video`."""
        return open_video(record.place)

    def _is_unchanged(self, path: Path, video_id: str) -> bool:
        """Compare what is there with an id; a folder, asked for frame by frame, is looked through once a second."""
        if self._folder_id == (path, video_id) and time.monotonic() < self._folder_id_until:
            return True
        unchanged = fingerprint(path) == video_id
        if unchanged and path.is_dir():
            self._folder_id, self._folder_id_until = (path, video_id), time.monotonic() + _FOLDER_KNOWN_S
        return unchanged


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    temporary.write_bytes(content)
    temporary.replace(path)
