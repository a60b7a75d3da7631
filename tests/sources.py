"""The Python files of this checkout, for tests that read source text."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent


@cache
def python_files() -> tuple[Path, ...]:
    """Return all that are ours, sorted; hidden folders, such as virtual environments, are not looked into."""
    found = []
    for folder, inside, files in os.walk(ROOT):
        inside[:] = [name for name in inside if not name.startswith(".") and name not in ("build", "dist")]
        found += [Path(folder, name) for name in files if name.endswith(".py")]
    return tuple(sorted(found))
