"""How much memory this process holds, and held at most."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
from pathlib import Path

_STATUS = Path("/proc/self/status")
_BYTES_PER_UNIT = 1 if sys.platform == "darwin" else 1024


def resident_mb() -> int:
    """Return the resident memory of this process."""
    if _STATUS.exists():
        return _of_status("VmRSS")
    command = ["ps", "-o", "rss=", "-p", str(os.getpid())]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout) // 1024


def peak_mb() -> int:
    """Return the most that was resident since this process began."""
    if _STATUS.exists():
        return _of_status("VmHWM")  # getrusage would tell the parent's where that is more
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * _BYTES_PER_UNIT // 2**20


def _of_status(field: str) -> int:
    return int(_STATUS.read_text().split(f"{field}:")[1].split()[0]) // 1024
