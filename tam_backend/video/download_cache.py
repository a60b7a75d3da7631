"""Files on disk that can be fetched again, bounded in bytes: fetched once, used by many, evicted only when unused.

Threads and processes of one machine may share the folder. Each entry is a folder; whoever uses it holds a shared lock
(flock) on it, which the system gives back when a process ends in whatever way, and only who gets the exclusive one may
take the entry away. So nothing is deleted under a reader, and nothing a crash left behind stays.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from tam_backend.errors import OutputError, TamError
from tam_backend.settings import Settings

# Room for the media of the tasks that a team has open at the same time, in units of the largest allowed file.
_CACHE_FILES = 4
# What other processes bring is counted after so much of the bound was brought by this one.
_UNSEEN_SHARE = 1 / 16
_PART, _LOCK = ".part", ".lock"


@dataclass
class _Flight:
    """Everyone in this process who wants one file now."""

    lock: threading.Lock = field(default_factory=threading.Lock)
    users: int = 0
    error: TamError | None = None


@dataclass(frozen=True)
class _Entry:
    """What the folder was seen to hold under a key; `used_ns` since the epoch."""

    used_ns: int
    path: Path
    size: int


@dataclass(frozen=True)
class BorrowedFile:
    """A file, or a folder, that stays until `give_back` is called; also a context manager that calls it.

    Args:
        path: where it is.
        give_back: call it when done; calling it twice is harmless.
        discard: gives it back, and has the next one who wants it fetch it again; for what turned out to be damaged.
    """

    path: Path
    give_back: Callable[[], None] = lambda: None
    discard: Callable[[], None] = lambda: None

    def __enter__(self) -> Path:
        return self.path

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.give_back()


class DownloadCache:
    """Files under `folder`, one folder per key; the least recently used go when there are more than `max_bytes`.

    What is in use stays, and counts: one file may be larger than the bound. A process knows its own files to the byte,
    and those of others up to 1/16 of the bound.
    """

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder = folder
        self._max_bytes = max_bytes
        self._lock = threading.Lock()
        self._flights: dict[str, _Flight] = {}
        self._oldest: deque[_Entry] = deque()  # of the last count, the least recently used first
        self._bytes = 0
        self._uncounted = max_bytes  # brought since the last count: at first there was none

    @classmethod
    def of(cls, settings: Settings) -> DownloadCache:
        """Return the cache in data_dir/downloads; its bound is cache_mb, else 4 times media_max_mb."""
        megabytes = _CACHE_FILES * settings.media_max_mb if settings.cache_mb is None else settings.cache_mb
        return cls(settings.data_dir / "downloads", int(megabytes * 1e6))

    def borrow(self, key: str, name: str, fill: Callable[[Path], None]) -> BorrowedFile:
        """Return the file of `key`, calling `fill(path)` to make it if it is not there.

        Threads that want the same file wait for one `fill`; if that fails, they all get its error. Processes wait for
        each other too, and try themselves after a failure.

        Args:
            key: what the file is, e.g. its address; any text. One key has one name.
            name: its file name.
            fill: writes the file, or makes a folder of files.

        Raises:
            OutputError: the cache's folder cannot be written, or not be locked.
            TamError: as `fill` does.
        """
        digest = hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()[:32]
        with self._flight(digest) as flight:
            if flight.error is not None:
                raise flight.error
            try:
                lock = self._held(digest, name)
                if lock is None:
                    lock = self._fetched(digest, name, fill)
                self._make_room()
            except TamError as error:
                flight.error = error
                raise
            except OSError as error:
                raise OutputError(
                    f"Media cannot be kept in {self._folder}: {error.strerror or error}.",
                    "TAM_DATA_DIR must be on a disk of this machine, with space, and be writable.",
                ) from error
        return self._lent(self._folder / digest, name, lock)

    @contextmanager
    def _flight(self, digest: str) -> Iterator[_Flight]:
        """Let one thread at a time look for a file, and those who came meanwhile know how that ended."""
        with self._lock:
            flight = self._flights.setdefault(digest, _Flight())
            flight.users += 1
        try:
            with flight.lock:
                yield flight
        finally:
            with self._lock:
                flight.users -= 1
                if not flight.users:
                    del self._flights[digest]

    def _held(self, digest: str, name: str) -> int | None:
        """Return the lock on an entry that is there, which counts as its use; None if it is not."""
        entry = self._folder / digest
        lock = _locked(entry, fcntl.LOCK_SH)
        if lock is None:
            return None
        if (entry / name).exists():
            try:
                _touch(entry)
            except FileNotFoundError:  # somebody who found it damaged has just discarded it
                os.close(lock)
                return None
            return lock
        os.close(lock)
        _take_away(entry)  # of an earlier version, which could leave it empty
        return None

    def _fetched(self, digest: str, name: str, fill: Callable[[Path], None]) -> int:
        """Make an entry, unless another process has just done so; return the lock on it."""
        self._folder.mkdir(parents=True, exist_ok=True)
        with _alone(self._folder / f"{digest}{_LOCK}"):
            lock = self._held(digest, name)
            if lock is not None:
                return lock
            part, lock = self._new_part()
            try:
                fill(part / name)
                _touch(part)
                size = _size_of(part)
                part.rename(self._folder / digest)
            except BaseException:
                shutil.rmtree(part, ignore_errors=True)
                os.close(lock)
                raise
        with self._lock:
            self._bytes += size
            self._uncounted += size
        return lock

    def _new_part(self) -> tuple[Path, int]:
        """Make a folder to fill, and lock it before anybody takes it for one that a crash left."""
        while True:
            part = self._folder / f"{secrets.token_hex(8)}{_PART}"
            part.mkdir()
            lock = _locked(part, fcntl.LOCK_SH)
            if lock is not None:
                return part, lock

    def _lent(self, entry: Path, name: str, lock: int) -> BorrowedFile:
        once = threading.Lock()  # never released

        def give_back() -> None:
            if once.acquire(blocking=False):
                os.close(lock)

        def discard() -> None:
            if once.acquire(blocking=False):
                with _alone(entry.with_suffix(_LOCK)):
                    if _is_at(lock, entry):  # else others have fetched it again already
                        _delete(entry)
                os.close(lock)

        return BorrowedFile(entry / name, give_back, discard)

    def _make_room(self) -> None:
        """Evict what was used longest ago until everything fits, or all that is left is in use."""
        with self._lock:
            if self._uncounted > self._max_bytes * _UNSEEN_SHARE:
                self._count()
            self._evict()
            if self._bytes > self._max_bytes:
                self._count()
                self._evict()

    def _evict(self) -> None:
        while self._bytes > self._max_bytes and self._oldest:
            entry = self._oldest.popleft()
            with suppress(FileNotFoundError):
                if entry.path.stat().st_mtime_ns == entry.used_ns and _take_away(entry.path):
                    self._bytes -= entry.size

    def _count(self) -> None:
        """List what is there, and sweep out what crashes left behind."""
        found: list[_Entry] = []
        for path in list(self._folder.iterdir()):
            with suppress(FileNotFoundError):  # another process clears away too
                if path.suffix in (_PART, _LOCK):
                    _take_away(path)
                elif path.is_dir():
                    found.append(_Entry(path.stat().st_mtime_ns, path, _size_of(path)))
        self._oldest = deque(sorted(found, key=lambda entry: entry.used_ns))
        self._bytes = sum(entry.size for entry in found)
        self._uncounted = 0


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Keep everybody else out, other processes too, who come here with the same file."""
    while True:
        path.touch()
        lock = _locked(path, fcntl.LOCK_EX)
        if lock is not None:
            break
    try:
        yield
    finally:
        path.unlink(missing_ok=True)
        os.close(lock)


def _locked(path: Path, how: int) -> int | None:
    """Lock a file or folder until the descriptor is closed; None if it is not there (any more), or locked otherwise."""
    try:
        lock = os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(lock, how)
        if _is_at(lock, path):
            return lock
    except BlockingIOError:
        pass
    except BaseException:
        os.close(lock)
        raise
    os.close(lock)
    return None


def _is_at(lock: int, path: Path) -> bool:
    """Tell whether what was locked is what stands there now: it may have been taken away while we waited."""
    try:
        return os.path.samestat(os.fstat(lock), path.stat())
    except FileNotFoundError:
        return False


def _take_away(path: Path) -> bool:
    """Delete a file or folder that nobody uses; tell whether that was so."""
    lock = _locked(path, fcntl.LOCK_EX | fcntl.LOCK_NB)
    if lock is None:
        return False
    try:
        _delete(path)
    finally:
        os.close(lock)
    return True


def _delete(path: Path) -> None:
    if not path.is_dir():
        path.unlink(missing_ok=True)
        return
    # First out of everybody's way: nobody may find half of it, and what a crash leaves of it is swept out as a part.
    dead = path.with_name(f"{secrets.token_hex(8)}{_PART}")
    path.rename(dead)
    shutil.rmtree(dead, ignore_errors=True)


def _touch(entry: Path) -> None:
    """Note the time of use; by our own clock, since the file system's ticks only every few milliseconds."""
    now_ns = time.time_ns()
    os.utime(entry, ns=(now_ns, now_ns))


def _size_of(folder: Path) -> int:
    """Return the bytes of all files in a folder and those below it."""
    with os.scandir(folder) as found:
        return sum(_size_of(Path(each)) if each.is_dir() else each.stat().st_size for each in found)
