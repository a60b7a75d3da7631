from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from benchmarks import resident


@pytest.mark.parametrize("status", ["/proc/self/status", "/no such file, as on a Mac"])
def test_resident_memory_grows_by_what_is_filled_and_the_peak_is_no_less(
    status: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(resident, "_STATUS", Path(status))
    before = resident.resident_mb()
    held = np.ones((64, 2**20), np.uint8)
    after = resident.resident_mb()
    assert 48 < after - before < 128, held.shape
    assert resident.peak_mb() >= after - 1
