"""The benchmarks run, on frames so small that they say nothing about speed."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from benchmarks.lively_weights import lively_network
from benchmarks.speed import agreement, scene
from tam_backend.models.devices import has_fast_bfloat16


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "XMem.pth"
    torch.save(lively_network().state_dict(), path)
    return path


def run(*arguments: object) -> str:
    command = [sys.executable, "-m", *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_speed_prints_every_way_with_ratios_agreement_and_memory(weights: Path) -> None:
    size = ("--side", 32, "--frames", 2, "--objects", 2, "--prefilled", 2, "--threads", 1)
    said = run("benchmarks.speed", "--weights", weights, *size)
    rows = {line.split()[0]: line for line in said.splitlines() if line}
    assert rows["reference"].endswith("1.00x")
    ours = ["float32", "bfloat16"] if has_fast_bfloat16(torch.device("cpu")) else ["float32"]
    assert all(rows[way].endswith("x") or "against" in rows[way] for way in ours)
    assert ("no bfloat16 here" in said) == ("bfloat16" not in ours)
    assert "mask IoU mean" in said
    assert "peak resident memory" in said


def test_memory_prints_a_row_after_every_so_many_frames_and_draws_them(weights: Path, tmp_path: Path) -> None:
    size = ("--side", 32, "--frames", 20, "--every", 10)
    said = run("benchmarks.memory", "--weights", weights, *size, "--out", tmp_path)
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
