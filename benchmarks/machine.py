"""What a figure depends on besides the code: the CPU, and what else runs on it."""

from __future__ import annotations

import os
import platform
from pathlib import Path

_CPUINFO = Path("/proc/cpuinfo")


def describe_machine() -> str:
    """Return the CPU's name, its cores, and how many processes want one now (the load of the last minute)."""
    return f"{_cpu_name()}, {os.cpu_count()} cores, load {os.getloadavg()[0]:.1f}"


def _cpu_name() -> str:
    lines = _CPUINFO.read_text(encoding="utf-8").splitlines() if _CPUINFO.exists() else []
    names = (line.split(":")[1].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.processor() or "a CPU")
