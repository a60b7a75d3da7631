"""Who holds a session or a job: names a process so that another one can tell whether it still lives."""

from __future__ import annotations

import fcntl
import os
import secrets
import socket
import time
import uuid
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

# Much longer than any lease: nobody asks for such a file any more.
_KEPT_S = 86_400.0


@dataclass(frozen=True)
class Holder:
    """One taking of something by one process.

    Args:
        host: its machine's or container's name, for people: it may be another one after a restart.
        numbers: where `process` means anything: one boot of one machine and, in it, one space of process numbers.
        process: its number there.
        born: when the process began, since numbers are given again; "" where the system does not tell.
        mark: the name of the file that it keeps locked, see `Holders`; "" = none.
        token: tells apart two takings by one process.
    """

    host: str
    numbers: str
    process: int
    born: str
    mark: str
    token: str

    @property
    def process_name(self) -> str:
        """Names the process alone, whatever it holds."""
        return f"{self.numbers}:{self.process}:{self.born}"

    @classmethod
    def parse(cls, text: str) -> Holder:
        """Read what `str` made of one, of the versions without `numbers` and `mark` too."""
        parts = text.rsplit(":", 5)
        if len(parts) == 6:
            host, numbers, process, born, mark, token = parts
            return cls(host, numbers, int(process), born, mark, token)
        host, process, born, token = text.rsplit(":", 3)
        return cls(host, "", int(process), born, "", token)

    def __str__(self) -> str:
        return f"{self.host}:{self.numbers}:{self.process}:{self.born}:{self.mark}:{self.token}"


class Holders:
    """Names takings by this process, and tells of others whether they still live. Thread-safe.

    A process whose number can be seen from here is looked up. One in another container cannot, nor can one on another
    machine: where they share a folder with this one, each keeps a file of its own locked there for as long as it lives.

    Args:
        folder: of the locked files, shared by all that share the database; None: go by the numbers only.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._folder = folder
        self._locked: IO[bytes] | None = None
        self._mark = ""
        if folder is not None:
            self._mark = secrets.token_hex(4)
            self._locked = _locked(folder, self._mark)

    def new(self) -> Holder:
        """Return a new taking by this process."""
        number = os.getpid()
        host = socket.gethostname()[:64].replace(":", "-")
        return Holder(host, _numbers(), number, _born(number), self._mark, secrets.token_hex(4))

    def lives(self, holder: Holder) -> bool:
        """Tell whether a process still lives, as far as can be seen from here: one that cannot be seen counts so."""
        if holder.numbers == _numbers():
            return _runs(holder.process) and _born(holder.process) == holder.born
        if not holder.mark or self._folder is None:
            return True
        # What is not there lies in a folder that is not shared with us.
        return not _is_unlocked(self._folder / holder.mark)

    def close(self) -> None:
        """Say that this process works no more."""
        if self._locked is not None and self._folder is not None:
            (self._folder / self._mark).unlink(missing_ok=True)
            self._locked.close()
            self._locked = None


def _locked(folder: Path, mark: str) -> IO[bytes]:
    """Make a file and lock it until it is closed, or this process ends in whatever way; clear old ones away."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        with suppress(FileNotFoundError):  # another process clears away too
            if time.time() - old.stat().st_mtime > _KEPT_S and _is_unlocked(old):
                old.unlink()
    handle = (folder / mark).open("wb")
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    return handle


def _is_unlocked(path: Path) -> bool:
    try:
        with path.open("rb") as handle:
            fcntl.flock(handle, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _runs(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True  # another user's
    return True


def _numbers() -> str:
    """Name where process numbers mean what they mean here: boot and number space of Linux, elsewhere the machine."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        return f"{boot[:8]}-{Path('/proc/self/ns/pid').stat().st_ino}"
    except OSError:
        return f"{uuid.getnode():012x}"


def _born(process: int) -> str:
    """Return when a process began, in clock ticks since the boot, of Linux; "" elsewhere."""
    try:
        # The name, second of the fields, may hold blanks and brackets; the 22nd is the start (proc(5)).
        return Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
