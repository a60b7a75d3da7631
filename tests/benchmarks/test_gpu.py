"""The benchmark for GPUs runs where there is none, so that it works where there is one."""

from __future__ import annotations

import pytest

from benchmarks import gpu


def test_every_part_of_a_session_has_its_milliseconds(capsys: pytest.CaptureFixture[str]) -> None:
    gpu.main(["--quick", "--only", "compact", "--device", "cpu"])
    said = capsys.readouterr().out
    assert "compact, 2 object(s)" in said
    for part in ("whole session", "track", "decode", "tracker alone", "evidence and verdict", "masks", "run lengths"):
        assert part in said
