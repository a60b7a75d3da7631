"""Imported videos in a store that every replica and worker reaches, each by the SHA-256 of its content.

What is opened is brought into the cache of this machine first, compared with its hash on the way, and stays there while
it is open. A folder of images is kept as one archive.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import threading
from pathlib import Path
from shutil import copyfileobj
from typing import Any

from tam_backend.errors import UnreadableMediaError
from tam_backend.types import VideoSource
from tam_backend.video.borrowed_video import BorrowedVideo
from tam_backend.video.download_cache import BorrowedFile, DownloadCache
from tam_backend.video.media_store import MediaStore, digest_of
from tam_backend.video.video_records import VideoFacts, VideoRecord, fingerprint

# Records never change; a project's worth of them is kept, since every frame is looked up by one.
_KNOWN_RECORDS = 4096


class StoredVideos:
    """A shelf of videos in a store, the register beside them. Threads, processes and machines may share it.

    The id of a video is the hash of its entry in the register, so that an entry cannot be altered either.

    Args:
        store: where they are.
        cache: what was brought to this machine.
    """

    def __init__(self, store: MediaStore, cache: DownloadCache) -> None:
        self._store = store
        self._cache = cache
        self._known: dict[str, VideoRecord] = {}
        self._lock = threading.Lock()

    def add(self, path: Path, seen: str, facts: VideoFacts) -> VideoRecord:
        """Upload a video that is not there yet, then tell of it; see `Shelf.add`."""
        if path.is_dir():
            packed = self._cache.borrow(f"packed {seen}", "frames.tar", lambda target: _pack(path, target))
            try:
                digest = self._put(packed.path)
            finally:
                packed.discard()
        else:
            digest = self._put(path)
        if fingerprint(path) != seen:
            raise UnreadableMediaError(f"{path.name} was changed while it was imported.", "Import it again.")
        content = {"name": path.name, "folder": path.is_dir(), "sha256": digest, **facts._asdict()}
        entry = json.dumps(content, sort_keys=True).encode()
        video_id = _id_of(entry)
        self._store.write(f"videos/{video_id}.json", entry)
        return _record(video_id, entry)

    def find(self, video_id: str) -> VideoRecord | None:
        """Look a video up.

        Raises:
            MediaStoreError: the store cannot be reached, or refuses us.
            UnreadableMediaError: its entry was altered.
        """
        record = self._known.get(video_id)
        if record is None:
            entry = self._store.read(f"videos/{video_id}.json")
            if entry is None:
                return None
            if _id_of(entry) != video_id:
                raise UnreadableMediaError(
                    f"What {self._store.shown} says of the video {video_id} was altered or cut short.",
                    "Import the video again with `tam-backend import`: that mends it there.",
                )
            record = _record(video_id, entry)
            with self._lock:
                if len(self._known) >= _KNOWN_RECORDS:
                    del self._known[next(iter(self._known))]
                self._known[video_id] = record
        return record

    def borrow(self, record: VideoRecord) -> BorrowedFile:
        """Return the file or folder in this machine's cache; see `Shelf.borrow` and `MediaStore.fetch`."""
        return self._cache.borrow(f"stored {record.id}", record.name, lambda target: self._fetch(record, target))

    def open(self, record: VideoRecord) -> VideoSource:
        """Open a video, which stays in the cache until it is closed."""
        return BorrowedVideo(self.borrow(record))

    def _put(self, file: Path) -> str:
        digest = digest_of(file)
        self._store.put(file, digest, _object(digest))
        return digest

    def _fetch(self, record: VideoRecord, target: Path) -> None:
        if not record.is_folder:
            self._store.fetch(_object(record.place), record.place, target, record.name)
            return
        packed = target.with_name(f".{record.id}.tar")
        self._store.fetch(_object(record.place), record.place, packed, record.name)
        _unpack(packed, target)
        packed.unlink()


def _object(digest: str) -> str:
    return f"objects/{digest}"


def _id_of(entry: bytes) -> str:
    return hashlib.sha256(entry).hexdigest()[:16]


def _record(video_id: str, entry: bytes) -> VideoRecord:
    content: dict[str, Any] = json.loads(entry)
    height, width = content["size_hw"]
    facts = VideoFacts(content["frames"], (height, width), content["fps"])
    return VideoRecord(video_id, Path(content["name"]).name, content["folder"], content["sha256"], *facts)


def _pack(folder: Path, target: Path) -> None:
    """Write the images of a folder into one file, the same bytes whoever packs the same images."""
    from tam_backend.video.images import images_in  # noqa: PLC0415 - cv2 takes long to import

    with tarfile.open(target, "w", format=tarfile.PAX_FORMAT) as archive:
        for image in images_in(folder):
            member = tarfile.TarInfo(image.name)  # without time, owner and mode
            member.size = image.stat().st_size
            with image.open("rb") as file:
                archive.addfile(member, file)


def _unpack(packed: Path, folder: Path) -> None:
    folder.mkdir()
    with tarfile.open(packed) as archive:
        for member in archive:
            source = archive.extractfile(member)
            if source is not None:  # `_pack` writes nothing but files, directly in the folder
                with source, (folder / Path(member.name).name).open("wb") as image:
                    copyfileobj(source, image)
