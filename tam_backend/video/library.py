"""The library of imported videos: which one an id means, its frames' signed URLs, and its open decoders.

Label Studio's tasks carry only URLs with a video's id and a signature, so nobody can read a file, or a frame, that no
task was given. The videos stay where they are on this machine, or lie in a store that all machines reach.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import threading
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import SecretStr

from tam_backend.errors import NotFoundError
from tam_backend.server_secret import server_secret
from tam_backend.settings import Settings
from tam_backend.threads.leases import LeaseCache
from tam_backend.types import RgbFrame, VideoSource
from tam_backend.video import open_video
from tam_backend.video.download_cache import BorrowedFile, DownloadCache
from tam_backend.video.local_videos import LocalVideos
from tam_backend.video.media_store import MediaStore
from tam_backend.video.records import Shelf, VideoFacts, VideoRecord, fingerprint
from tam_backend.video.stored_videos import StoredVideos

_ID = re.compile(r"[0-9a-f]{16}")
_FRAME_PATH = re.compile(r"(?:^|/)frames/([0-9a-f]{16})/([0-9]{1,9})\.jpg$")
_VIDEO_PATH = re.compile(r"(?:^|/)videos/([0-9a-f]{16})/[^/]+$")


@dataclass(frozen=True, eq=False)
class _OpenVideo:
    """A decoder, which one thread at a time may use."""

    source: VideoSource
    lock: threading.Lock = field(default_factory=threading.Lock)


class VideoLibrary:
    """Registers videos, signs their URLs and keeps the last few of them open.

    Threads may share one; processes may share its folder (every file in it is written whole and moved into place).

    Args:
        data_dir: made if it is not there; holds `videos/<id>.json` for each video that stays where it is on this
            machine and, unless the settings name one, the signing `secret`.
        store: where videos are put that other machines shall reach; None: they stay where they are.
        open_limit: how many decoders stay open for the next frame.
        secret: of the settings; signs addresses.
    """

    def __init__(
        self, data_dir: Path, store: Shelf | None = None, open_limit: int = 4, secret: SecretStr | None = None
    ) -> None:
        # This machine first, where a look costs nothing: videos that were imported before there was a store.
        self._shelves: list[Shelf] = [LocalVideos(data_dir / "videos"), *([store] if store else [])]
        self._data_dir = data_dir
        self._named_secret = "" if secret is None else secret.get_secret_value()
        self._open: LeaseCache[str, _OpenVideo] = LeaseCache(lambda video: video.source.close(), open_limit)
        self._secret: bytes | None = None

    @classmethod
    def of(cls, settings: Settings) -> VideoLibrary:
        """Return the library in data_dir and media_store.

        Raises:
            MediaStoreError: what speaks with that store is not installed.
        """
        if not settings.media_store:
            return cls(settings.data_dir, secret=settings.secret)
        store = StoredVideos(MediaStore(settings.media_store), DownloadCache.of(settings))
        return cls(settings.data_dir, store, secret=settings.secret)

    def register(self, path: Path) -> VideoRecord:
        """Make a video known, and put it into the store if there is one; the file stays as it is.

        Registering the same unchanged file again gives the same record.

        Raises:
            MediaError: it does not exist, cannot be decoded, or has no frame (see `open_video`), or the store does not
                take it.
        """
        path = path.expanduser().resolve()
        seen = fingerprint(path)
        with open_video(path) as source:
            facts = VideoFacts(len(source), source.size_hw, source.fps)
        return self._shelves[-1].add(path, seen, facts)

    def get(self, video_id: str) -> VideoRecord:
        """Look a video up.

        Raises:
            NotFoundError: no video was registered under this id.
            MediaNotFoundError: its file is not there any more.
            UnreadableMediaError: its file is another one now.
            MediaStoreError: the store cannot be reached, or refuses us.
        """
        return self._find(video_id)[1]

    def borrow(self, video_id: str) -> BorrowedFile:
        """Return a video's file or folder on this machine, which stays until it is given back.

        Raises:
            MediaError, NotFoundError: as `get` does, or it cannot be brought here.
        """
        shelf, record = self._find(video_id)
        return shelf.borrow(record)

    def open(self, video_id: str) -> VideoSource:
        """Open a video; its file stays until that is closed.

        Raises:
            MediaError, NotFoundError: as `borrow` does, or it cannot be decoded.
        """
        shelf, record = self._find(video_id)
        return shelf.open(record)

    def frame(self, video_id: str, index: int) -> RgbFrame:
        """Decode one frame, holding only this video's lock.

        Raises:
            MediaError, NotFoundError: as `open` does, or the frame cannot be decoded.
        """
        shelf, record = self._find(video_id)
        if not 0 <= index < record.frames:
            raise NotFoundError(
                f"{record.name} has no frame {index}; it has {record.frames}, counted from 0.",
                "Import the video again if it was replaced.",
            )
        with self._open.lend(video_id, lambda: _OpenVideo(shelf.open(record))) as video, video.lock:
            return video.source[index]

    def close(self) -> None:
        """Close the decoders that nobody is reading from; the others close when their reader is done."""
        self._open.clear()

    def frame_url(self, base: str, video_id: str, index: int) -> str:
        """Return the signed URL of a frame (0-based) under the server's address `base`."""
        return f"{base.rstrip('/')}/frames/{video_id}/{index}.jpg?sig={self._signature(video_id, f'frame {index}')}"

    def video_url(self, base: str, video_id: str) -> str:
        """Return the signed URL of the whole file under the server's address `base`.

        Raises:
            MediaError, NotFoundError: as `get` does.
        """
        name = quote(os.fsencode(self.get(video_id).name), safe="")  # a name need not be UTF-8
        return f"{base.rstrip('/')}/videos/{video_id}/{name}?sig={self._signature(video_id, 'video')}"

    def frame_signature_fits(self, video_id: str, index: int, signature: str) -> bool:
        """Tell whether `signature` is the one that `frame_url` gave this frame."""
        return _same(self._signature(video_id, f"frame {index}"), signature)

    def video_signature_fits(self, video_id: str, signature: str) -> bool:
        """Tell whether `signature` is the one that `video_url` gave this video."""
        return _same(self._signature(video_id, "video"), signature)

    def own_frame(self, url: str) -> tuple[str, int] | None:
        """Read a frame URL of ours back, so that our own tasks need no HTTP request to ourselves.

        The signature is the proof that the URL is ours; its host is not looked at, because a backend is known under
        several (localhost, a name in a container network, a proxy), and tasks outlive a change of address.

        Returns:
            The video's id and the 0-based index; None if the URL is not one of ours.
        """
        path, signature = _path_and_signature(url)
        match = _FRAME_PATH.search(path)
        if match is None or not self.frame_signature_fits(match[1], int(match[2]), signature):
            return None
        return match[1], int(match[2])

    def own_video(self, url: str) -> str | None:
        """Read a video URL of ours back, to the video's id; see `own_frame`."""
        path, signature = _path_and_signature(url)
        match = _VIDEO_PATH.search(path)
        return match[1] if match is not None and self.video_signature_fits(match[1], signature) else None

    def _find(self, video_id: str) -> tuple[Shelf, VideoRecord]:
        if _ID.fullmatch(video_id):
            for shelf in self._shelves:
                record = shelf.find(video_id)
                if record is not None:
                    return shelf, record
        raise NotFoundError(
            f"No video is registered as {video_id[:32]!r} here.", "Import it again with `tam-backend import`."
        )

    def _signature(self, video_id: str, what: str) -> str:
        # 128 bits of the 256: as unguessable in practice, and 50 frame URLs stay short in the task.
        return hmac.new(self._key(), f"{video_id} {what}".encode(), hashlib.sha256).hexdigest()[:32]

    @property
    def webhook_secret(self) -> str:
        """The last part of the address that Label Studio's events count at; stays while the secret does."""
        return hmac.new(self._key(), b"secret for webhook", hashlib.sha256).hexdigest()[:32]

    def _key(self) -> bytes:
        if self._secret is None:
            self._secret = server_secret(self._data_dir, self._named_secret)
        return self._secret


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _path_and_signature(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.path, parse_qs(parts.query).get("sig", [""])[0]
