"""Who holds a session: names a process so that another one can tell whether it still lives."""

from __future__ import annotations

import os
import secrets
import socket
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Holder:
    """One taking of one session by one process.

    Args:
        host: its machine's or container's name.
        process: its number there.
        born: when the process began, since numbers are given again (a container's server has the same one after every
            restart); "" where the system does not tell.
        token: tells apart two takings by one process.
    """

    host: str
    process: int
    born: str
    token: str

    @classmethod
    def this_process(cls) -> Holder:
        """Return a new one."""
        return cls(socket.gethostname(), os.getpid(), _born(os.getpid()), secrets.token_hex(4))

    @classmethod
    def parse(cls, text: str) -> Holder:
        """Read what `str` made of one."""
        host, process, born, token = text.rsplit(":", 3)
        return cls(host, int(process), born, token)

    def __str__(self) -> str:
        return f"{self.host}:{self.process}:{self.born}:{self.token}"

    def lives(self) -> bool:
        """Tell whether the process still lives, as far as can be seen from here: one elsewhere counts as living."""
        if self.host != socket.gethostname():
            return True
        try:
            os.kill(self.process, 0)
        except ProcessLookupError:
            return False
        except PermissionError:
            return True  # another user's
        return _born(self.process) == self.born


def _born(process: int) -> str:
    """Return when a process began: boot and clock ticks since then, of Linux; "" elsewhere."""
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # The name, second of the fields, may hold blanks and brackets; the 22nd is the start (proc(5)).
        return f"{boot[:8]}-{Path(f'/proc/{process}/stat').read_text().rpartition(')')[2].split()[19]}"
    except (OSError, IndexError):
        return ""
