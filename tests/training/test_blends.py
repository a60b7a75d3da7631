"""`python -m training.blends`: one column per share of the way from the embedded weights to a checkpoint."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from training.blends import main
from training.validation import SEGMENTER_FILE


@pytest.fixture
def clip(tmp_path: Path) -> Path:
    """Two frames with a bright disc."""
    folder = tmp_path / "clips" / "disc"
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind).mkdir(parents=True)
    for index in range(2):
        mask = np.zeros((72, 96), np.uint8)
        cv2.circle(mask, (40 + 3 * index, 36), 16, 1, -1)
        frame = np.where(mask[..., None] > 0, np.uint8(230), np.uint8(30)).repeat(3, 2)
        cv2.imwrite(str(folder / "JPEGImages" / f"{index:05d}.jpg"), frame)
        cv2.imwrite(str(folder / "Annotations" / f"{index:05d}.png"), mask)
    return tmp_path / "clips"


def test_start_keeps_its_figures_and_a_broken_checkpoint_shows(
    clip: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    checkpoint = tmp_path / "checkpoint.pt"
    torch.save({"average": {name: torch.zeros_like(v) for name, v in load_file(SEGMENTER_FILE).items()}}, checkpoint)
    monkeypatch.setattr(sys, "argv", ["blends", str(clip), "--segmenter", str(checkpoint), "--shares", "0", "1"])
    main()
    rows = {line[:24].strip(): [float(v) for v in line[24:].split()] for line in capsys.readouterr().out.splitlines()}
    assert rows["share of the way"] == [0, 1]
    assert rows["disc, 5"] == rows["mean, 5"]
    assert rows["mean, 5"][0] > 80
    assert rows["mean, 5"][1] < rows["mean, 5"][0]
