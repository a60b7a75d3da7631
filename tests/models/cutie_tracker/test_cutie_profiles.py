"""Profiles whose tracker is Cutie: refused with the command that brings what is missing, run once all is there."""

from __future__ import annotations

import json
import sys
from contextlib import redirect_stderr, redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any
from unittest.mock import patch

import cv2
import pytest
import torch
from synthetic import MovingDiscs

from tam_backend.cli import main
from tam_backend.errors import MissingPackageError, WeightsError
from tam_backend.export import load_mask
from tam_backend.models import kinds, zoo
from tam_backend.models.kind_registry import tracker_kinds


def run(*arguments: str) -> tuple[int, str]:
    """Run a command in this process; return its exit code and all that it says."""
    said = StringIO()
    with (
        patch.object(sys, "argv", ["tam-backend", *arguments]),
        redirect_stdout(said),
        redirect_stderr(said),
        pytest.raises(SystemExit) as ended,
    ):
        main()
    return int(ended.value.code or 0), said.getvalue()


def test_both_sizes_go_with_every_segmenter() -> None:
    assert {"cutie", "cutie-small"} <= set(tracker_kinds().by_name)
    assert [file.name for file in zoo.fetchable("compact+cutie-small")] == ["cutie-small-mega.pth"]
    assert {file.name for file in zoo.fetchable("sam-vit-h+cutie")} == {"sam_vit_h_4b8939.pth", "cutie-base-mega.pth"}


def test_without_weights_the_command_that_fetches_them_is_named(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match=r"needs cutie-base-mega\.pth") as caught:
        zoo.load("compact+cutie", "cpu", tmp_path)
    assert "tam-backend weights fetch compact+cutie" in caught.value.remedy


def test_without_the_package_the_command_that_installs_it_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kinds, "find_spec", lambda _: None)
    with pytest.raises(MissingPackageError, match="needs the package rf-cutie") as caught:
        zoo.load("compact+cutie", "cpu", tmp_path)
    assert "pip install 'tam-backend[cutie]'" in caught.value.remedy


def test_a_clip_is_tracked_from_a_click_with_weights_of_the_published_layout(
    published_cutie: Any, tmp_path: Path
) -> None:
    weights, images = tmp_path / "weights", tmp_path / "images"
    weights.mkdir()
    images.mkdir()
    torch.save(published_cutie.state_dict(), weights / "cutie-small-mega.pth")
    video = MovingDiscs(frames=3, starts_xy=((30, 40), (90, 60)), steps_xy=((4, 1), (-3, 0)))
    for index, frame in enumerate(video):
        cv2.imwrite(str(images / f"{index}.png"), frame[..., ::-1])
    prompts = {"objects": [{"id": 1, "label": "disc", "prompts": [{"frame": 0, "points": [[30, 40, 1]]}]}]}
    (tmp_path / "prompts.json").write_text(json.dumps(prompts))

    code, said = run(
        *("track", str(images), "--prompts", str(tmp_path / "prompts.json"), "--out", str(tmp_path / "out")),
        *("--profile", "compact+cutie-small", "--weights-dir", str(weights), "--device", "cpu"),
    )
    assert code == 0, said
    result = json.loads((tmp_path / "out/result.json").read_text())
    assert result["profile"] == "compact+cutie-small"
    tracked = result["objects"][0]["frames"]
    assert [frame["frame"] for frame in tracked] == [0, 1, 2]
    assert all(0 <= frame["quality"] <= 1 for frame in tracked)
    masks = [load_mask(tmp_path / f"out/masks/{index:05}.png", 1) for index in range(3)]
    assert all(mask.shape == video.size_hw and mask.any() for mask in masks)
