from __future__ import annotations

import subprocess
import sys

import pytest

# In a process of its own: elsewhere an array may be laid into memory that earlier tests have freed.
PROGRAM = """
import sys
from pathlib import Path
import numpy as np
from benchmarks import resident
resident._STATUS = Path(sys.argv[1])
before = resident.resident_mb()
held = np.ones((64, 2**20), np.uint8)
print(before, resident.resident_mb(), resident.peak_mb(), held.shape)
"""


@pytest.mark.parametrize("status", ["/proc/self/status", "/no such file, as on a Mac"])
def test_resident_memory_grows_by_what_is_filled_and_the_peak_is_no_less(status: str) -> None:
    command = [sys.executable, "-c", PROGRAM, status]
    printed = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    before, after, peak = (int(figure) for figure in printed.split()[:3])
    assert 48 < after - before < 128
    assert peak >= after - 1
