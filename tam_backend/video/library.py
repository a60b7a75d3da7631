"""The register of imported videos: which file an id means, its frames' signed URLs, and its open decoders.

A video is registered under a short id that stands for its absolute path, size and time of change; of a folder, for
those of its images. Label Studio's tasks carry only URLs with that id and a signature, so nobody can read a file, or a
frame, that no task was given.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
import re
import secrets
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

from pydantic import SecretStr

from tam_backend.errors import MediaNotFoundError, NotFoundError, UnreadableMediaError
from tam_backend.server_secret import server_secret
from tam_backend.threads.leases import LeaseCache
from tam_backend.types import RgbFrame, Timeline, VideoSource
from tam_backend.video import open_video

_ID = re.compile(r"[0-9a-f]{16}")
_FRAME_PATH = re.compile(r"(?:^|/)frames/([0-9a-f]{16})/([0-9]{1,9})\.jpg$")
_VIDEO_PATH = re.compile(r"(?:^|/)videos/([0-9a-f]{16})/[^/]+$")
_FOLDER_KNOWN_S = 1.0  # a task of 50 frames is opened by 50 look-ups in a row


@dataclass(frozen=True)
class VideoRecord:
    """A registered video.

    Args:
        id: 16 hex digits, stable as long as the path, and the sizes and times of change of the file or of the images
            in the folder are.
        path: absolute; a video file, or a folder of images.
        frames: how many it has.
        size_hw: (height, width) of its frames in pixels.
        fps: mean frames per second; None for a folder of images.
    """

    id: str
    path: Path
    frames: int
    size_hw: tuple[int, int]
    fps: float | None


@dataclass(frozen=True, eq=False)
class _OpenVideo:
    """A decoder, which one thread at a time may use."""

    source: VideoSource
    lock: threading.Lock = field(default_factory=threading.Lock)


class VideoLibrary:
    """Registers videos under `data_dir`, signs their URLs and keeps the last few of them open.

    Threads may share one; processes may share its folder (every file in it is written whole and moved into place).

    Args:
        data_dir: made if it is not there; holds `videos/<id>.json` and, unless the settings name one, the `secret`.
        open_limit: how many decoders stay open for the next frame.
        secret: of the settings; signs addresses.
    """

    def __init__(self, data_dir: Path, open_limit: int = 4, secret: SecretStr | None = None) -> None:
        self._videos_dir = data_dir / "videos"
        self._data_dir = data_dir
        self._named_secret = "" if secret is None else secret.get_secret_value()
        self._open: LeaseCache[str, _OpenVideo] = LeaseCache(lambda video: video.source.close(), open_limit)
        self._secret: bytes | None = None
        self._folder_id: tuple[Path, str] | None = None  # of the folder that was looked through last
        self._folder_id_until = 0.0  # by time.monotonic()

    def register(self, path: Path) -> VideoRecord:
        """Make a video known. Registering the same unchanged file again gives the same record.

        Raises:
            MediaError: it does not exist, cannot be decoded, or has no frame (see `open_video`).
        """
        path = path.expanduser().resolve()
        video_id = fingerprint(path)
        source = open_video(path)
        try:
            record = VideoRecord(video_id, path, len(source), source.size_hw, source.fps)
        finally:
            source.close()
        content = {
            "path": str(path),
            "frames": record.frames,
            "size_hw": list(record.size_hw),
            "fps": record.fps,
        }
        self._videos_dir.mkdir(parents=True, exist_ok=True)
        _write_atomically(self._videos_dir / f"{video_id}.json", json.dumps(content).encode())
        return record

    def get(self, video_id: str) -> VideoRecord:
        """Look a video up.

        Raises:
            NotFoundError: no video was registered under this id.
            MediaNotFoundError: its file is not there any more.
            UnreadableMediaError: its file is another one now.
        """
        unknown = NotFoundError(
            f"No video is registered as {video_id[:32]!r} here.", "Import it again with `tam-backend import`."
        )
        if not _ID.fullmatch(video_id):
            raise unknown
        try:
            content: dict[str, Any] = json.loads((self._videos_dir / f"{video_id}.json").read_bytes())
        except FileNotFoundError:
            raise unknown from None
        path = Path(content["path"])
        if not self._is_unchanged(path, video_id):
            raise UnreadableMediaError(
                f"The video {path.name} has changed since it was imported.",
                "Import it again, so that its tasks show the new frames.",
            )
        height, width = content["size_hw"]
        return VideoRecord(video_id, path, content["frames"], (height, width), content["fps"])

    def timeline(self, video_id: str) -> Timeline | None:
        """Read when each frame is shown; None where nothing tells.

        Raises:
            NotFoundError, MediaNotFoundError, UnreadableMediaError: as `get` does.
        """
        source = open_video(self.get(video_id).path)
        try:
            return source.timeline
        finally:
            source.close()

    def frame(self, video_id: str, index: int) -> RgbFrame:
        """Decode one frame, holding only this video's lock.

        Raises:
            NotFoundError, MediaNotFoundError, UnreadableMediaError: as `get` does, or the frame cannot be decoded.
        """
        record = self.get(video_id)
        if not 0 <= index < record.frames:
            raise NotFoundError(
                f"{record.path.name} has no frame {index}; it has {record.frames}, counted from 0.",
                "Import the video again if it was replaced.",
            )
        with self._open.lend(video_id, lambda: _OpenVideo(open_video(record.path))) as video, video.lock:
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
            NotFoundError, MediaNotFoundError, UnreadableMediaError: as `get` does.
        """
        name = quote(os.fsencode(self.get(video_id).path.name), safe="")  # a name need not be UTF-8
        return f"{base.rstrip('/')}/videos/{video_id}/{name}?sig={self._signature(video_id, 'video')}"

    def frame_signature_fits(self, video_id: str, index: int, signature: str) -> bool:
        """Tell whether `signature` is the one that `frame_url` gave this frame."""
        return _same(self._signature(video_id, f"frame {index}"), signature)

    def video_signature_fits(self, video_id: str, signature: str) -> bool:
        """Tell whether `signature` is the one that `video_url` gave this video."""
        return _same(self._signature(video_id, "video"), signature)

    def own_frame(self, url: str) -> tuple[Path, int] | None:
        """Read a frame URL of ours back, so that our own tasks need no HTTP request to ourselves.

        The signature is the proof that the URL is ours; its host is not looked at, because a backend is known under
        several (localhost, a name in a container network, a proxy), and tasks outlive a change of address.

        Returns:
            The file (or folder) and the 0-based index; None if the URL is not one of ours.

        Raises:
            NotFoundError, MediaNotFoundError, UnreadableMediaError: it is ours, but as `get` says.
        """
        path, signature = _path_and_signature(url)
        match = _FRAME_PATH.search(path)
        if match is None or not self.frame_signature_fits(match[1], int(match[2]), signature):
            return None
        return self.get(match[1]).path, int(match[2])

    def own_video(self, url: str) -> Path | None:
        """Read a video URL of ours back; see `own_frame`."""
        path, signature = _path_and_signature(url)
        match = _VIDEO_PATH.search(path)
        if match is None or not self.video_signature_fits(match[1], signature):
            return None
        return self.get(match[1]).path

    def _is_unchanged(self, path: Path, video_id: str) -> bool:
        """Compare what is there with an id; a folder, asked for frame by frame, is looked through once a second."""
        if self._folder_id == (path, video_id) and time.monotonic() < self._folder_id_until:
            return True
        unchanged = fingerprint(path) == video_id
        if unchanged and path.is_dir():
            self._folder_id, self._folder_id_until = (path, video_id), time.monotonic() + _FOLDER_KNOWN_S
        return unchanged

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


def fingerprint(path: Path) -> str:
    """Hash a file's absolute path, size and time of change; of a folder, those of its images."""
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


def _write_atomically(path: Path, content: bytes) -> None:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    temporary.write_bytes(content)
    temporary.replace(path)


def _same(expected: str, given: str) -> bool:
    return hmac.compare_digest(expected.encode(), given.encode("utf-8", "replace"))


def _path_and_signature(url: str) -> tuple[str, str]:
    try:
        parts = urlsplit(url)
    except ValueError:
        return "", ""
    return parts.path, parse_qs(parts.query).get("sig", [""])[0]
