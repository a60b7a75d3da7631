"""Downloaded files on disk, bounded in bytes: each is fetched once, used by many, and evicted only when unused."""

from __future__ import annotations

import hashlib
import os
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from tam_backend.errors import TamError

# A download never takes this long (TAM_MEDIA_TIMEOUT_S), so an older part was left behind by a crash.
_STALE_PART_S = 24 * 3600


@dataclass
class _Flight:
    """Everyone who uses one file now."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    error: TamError | None = None


@dataclass(frozen=True)
class BorrowedFile:
    """A file of the cache that stays until `give_back` is called."""

    path: Path
    give_back: Callable[[], None]


class DownloadCache:
    """Files under `folder`, one folder per key; the least recently used go when there are more than `max_bytes`.

    Threads may share it. Files that other processes put there are found and counted when it is opened.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._sizes: OrderedDict[str, int] | None = None

    def borrow(self, key: str, name: str, fill: Callable[[Path], None]) -> BorrowedFile:
        """Return the file of `key`, calling `fill(path)` to make it if it is not there.

        Several threads that want the same file wait for one `fill`; if that fails, they all get its error.

        Args:
            key: what the file is, e.g. its address; any text.
            name: its file name.
            fill: writes the file; removes it if it raises.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        path = self._folder / digest / name
        with self._lock:
            flight = self._flights.setdefault(digest, _Flight())
            flight.users += 1
        try:
            with flight.lock:
                if flight.error is not None:
                    raise flight.error
                if path.is_file():
                    os.utime(path)
                else:
                    self._make(path, fill, flight)
            self._use(digest, path.stat().st_size)
        except BaseException:
            self._leave(digest, flight)
            raise
        left = threading.Event()

        def give_back() -> None:
            if not left.is_set():
                left.set()
                self._leave(digest, flight)

        return BorrowedFile(path, give_back)

    def _make(self, path: Path, fill: Callable[[Path], None], flight: _Flight) -> None:
        self._folder.mkdir(parents=True, exist_ok=True)
        part = self._folder / f"{secrets.token_hex(8)}.part"
        try:
            fill(part)
            path.parent.mkdir(exist_ok=True)
            part.replace(path)
        except TamError as error:
            flight.error = error
            raise
        finally:
            part.unlink(missing_ok=True)

    def _leave(self, digest: str, flight: _Flight) -> None:
        with self._lock:
            flight.users -= 1
            if not flight.users:
                self._flights.pop(digest, None)

    def _use(self, digest: str, size: int) -> None:
        with self._lock:
            if self._sizes is None:
                self._sizes = self._scan()
            self._sizes[digest] = size
            self._sizes.move_to_end(digest)
            excess = sum(self._sizes.values()) - self._max_bytes
            for oldest in list(self._sizes):
                if excess <= 0:
                    break
                if oldest not in self._flights:
                    excess -= self._sizes.pop(oldest)
                    shutil.rmtree(self._folder / oldest, ignore_errors=True)

    def _scan(self) -> OrderedDict[str, int]:
        """List what is there, least recently used first, and sweep out what crashes left behind."""
        found: list[tuple[float, str, int]] = []
        for entry in self._folder.iterdir():
            if entry.is_dir():
                stats = [file.stat() for file in entry.iterdir()]
                found.append((max((s.st_mtime for s in stats), default=0.0), entry.name, sum(s.st_size for s in stats)))
            elif entry.suffix == ".part" and entry.stat().st_mtime < time.time() - _STALE_PART_S:
                entry.unlink(missing_ok=True)
        return OrderedDict((name, size) for _, name, size in sorted(found))
