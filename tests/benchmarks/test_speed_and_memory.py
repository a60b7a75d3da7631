"""The benchmarks run, on frames so small that they say nothing about speed."""

from __future__ import annotations

import sys
from argparse import Namespace
from collections.abc import Iterator
from pathlib import Path
from subprocess import CompletedProcess

import pytest
import torch

from benchmarks import memory, speed
from benchmarks.speed import agreement, scene
from tam_backend.models.devices import has_fast_bfloat16


@pytest.fixture
def own_threads() -> Iterator[None]:
    """The benchmarks set how many threads PyTorch has; other tests get theirs back."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


@pytest.mark.usefixtures("own_threads")
def test_speed_prints_every_way_with_ratios_agreement_and_memory(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    measured: list[str] = []

    def remembered(way: str, *_: object) -> int:
        measured.append(way)
        return 100 + len(measured)

    monkeypatch.setattr(speed, "peak_of", remembered)
    size = ("--side", 32, "--frames", 2, "--objects", 2, "--prefilled", 2, "--threads", 1)
    monkeypatch.setattr("sys.argv", ["speed", "--weights", str(weights), *map(str, size)])
    speed.main()
    said = capsys.readouterr().out
    rows = {line.split()[0]: line for line in said.splitlines() if line}
    assert rows["reference"].endswith("1.00x")
    ours = ["float32", "bfloat16"] if has_fast_bfloat16(torch.device("cpu")) else ["float32"]
    assert all(rows[way].endswith("x") or "against" in rows[way] for way in ours)
    assert ("no bfloat16 here" in said) == ("bfloat16" not in ours)
    assert "mask IoU mean" in said
    assert measured == ["reference", *ours]
    assert "peak resident memory" in said
    assert "reference 101 MB, float32 102 MB" in said


@pytest.mark.usefixtures("own_threads")
def test_memory_of_a_way_is_what_its_command_says_in_the_end(
    weights: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run_here(command: list[str], **_: object) -> CompletedProcess[str]:
        assert command[:3] == [sys.executable, "-m", "benchmarks.speed"]
        monkeypatch.setattr("sys.argv", command[2:])
        speed.main()
        return CompletedProcess(command, 0, capsys.readouterr().out)

    monkeypatch.setattr(speed.subprocess, "run", run_here)
    small = Namespace(objects=1, side=32, prefilled=1, threads=1)
    assert speed.peak_of("float32", weights, small) > weights.stat().st_size / 1e6


@pytest.mark.usefixtures("own_threads")
def test_memory_prints_a_row_after_every_so_many_frames_and_draws_them(
    weights: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    size = ("--side", 32, "--frames", 20, "--every", 10)
    monkeypatch.setattr("sys.argv", ["memory", "--weights", *map(str, (weights, *size, "--out", tmp_path))])
    memory.main()
    said = capsys.readouterr().out
    assert [int(line.split()[0]) for line in said.splitlines() if line.strip()[:1].isdigit()] == [10, 20]
    assert "from frame 10 to 20" in said
    assert (tmp_path / "memory.png").stat().st_size > 5000


def test_scene_shows_every_object_and_agreement_is_complete_with_itself() -> None:
    shown = scene(5, 3, 96)
    assert set(shown.labels.unique().tolist()) == {0, 1, 2, 3}
    probabilities = torch.stack([(shown.labels == each).float() for each in range(4)])
    assert "mean difference 0.0e+00" in agreement([probabilities], [probabilities])
    assert "IoU mean 1.0000, least 1.0000" in agreement([probabilities], [probabilities])
    assert "least 0.0000" in agreement([probabilities], [probabilities.roll(1, 0)])
