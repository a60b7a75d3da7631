"""`python -m training.validation`: clips of all layouts, one set of weights or two side by side."""

from __future__ import annotations

import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from benchmarks.clips import find_clips
from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from training.validation import TRACKER_FILE, load_network, main, tracker_validation


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """Two clips of three frames, as the further data have them: frames and masks of a disc that moves 3 pixels."""
    for name, radius in (("small", 10), ("large", 18)):
        for kind in ("frames", "masks"):
            (tmp_path / "videos" / name / kind).mkdir(parents=True)
        for index in range(3):
            mask = np.zeros((72, 96), np.uint8)
            cv2.circle(mask, (40 + 3 * index, 36), radius, 1, -1)
            frame = np.where(mask[..., None] > 0, np.uint8(230), np.uint8(30)).repeat(3, 2)
            cv2.imwrite(str(tmp_path / "videos" / name / "frames" / f"{index:05d}.jpg"), frame)
            cv2.imwrite(str(tmp_path / "videos" / name / "masks" / f"{index:05d}.png"), mask)
    return tmp_path / "videos"


@pytest.fixture
def dull_tracker(tmp_path: Path) -> Path:
    """A checkpoint of a tracker that learned nothing."""
    path = tmp_path / "dull.pt"
    torch.save({"average": {name: torch.zeros_like(value) for name, value in load_file(TRACKER_FILE).items()}}, path)
    return path


def test_folders_of_frames_and_masks_are_clips(videos: Path) -> None:
    clips = find_clips([videos])
    assert [clip.name for clip in clips] == ["large", "small"]
    assert clips[0].judged(1) == [1]
    assert [clip.name for clip in find_clips([videos / "small"])] == ["small"]


def test_one_set_of_weights(videos: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(sys, "argv", ["validation", str(videos / "small"), "--clicks", "0", "1", "--size", "96"])
    main()
    out = capsys.readouterr().out
    assert out.count("mean over objects") == 2
    assert "first mask given" in out
    assert "1 click " in out
    assert "IoU after clicks" in out


def test_two_trackers_side_by_side(
    videos: Path, dull_tracker: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ["--against-tracker", str(dull_tracker), "--only", "tracking", "--size", "96"]
    monkeypatch.setattr(sys, "argv", ["validation", str(videos), *arguments])
    main()
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split()[:6] == ["clip", "object", "masks", "against", "these", "more"]
    old, new, more = (float(word) for word in lines[1].split()[3:6])
    assert new > 80 > old
    assert more == pytest.approx(new - old, abs=0.11)


def test_training_is_judged_by_clip_and_by_the_mean_of_all_objects(videos: Path) -> None:
    network = CompactNetwork()
    load_network(network, TRACKER_FILE)
    figures = tracker_validation(str(videos))(network)
    assert set(figures) == {"large", "small", "score"}
    assert figures["score"] == pytest.approx((figures["large"] + figures["small"]) / 2)
