"""Validation clips are made of the stored polygons; curves can be drawn."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
from PIL import Image

from benchmarks.clips import find_clips
from training.plot import plot, read_curves
from training.validation_clips import POLYGONS, draw, make_clip, snap


def test_polygons_lie_in_the_range_of_their_clip() -> None:
    for record in json.loads(POLYGONS.read_text()).values():
        frames = len(range(record["start"], record["stop"], record["step"]))
        assert all(0 <= int(index) < frames for index in record["masks"])
        assert "0" in record["masks"]


def test_hole_is_cut_out_and_no_outline_is_an_absent_object() -> None:
    outer, hole = [[10, 10], [30, 10], [30, 30], [10, 30]], [[15, 15], [20, 15], [20, 20], [15, 20]]
    mask = draw(outer, [hole], (50, 50))
    assert mask.sum() == 21 * 21 - 6 * 6
    assert not draw([], [], (50, 50)).any()


def test_a_mask_snaps_to_the_edge_of_what_it_is_on() -> None:
    rng = np.random.default_rng(0)
    frame = rng.integers(0, 60, (200, 200, 3), dtype=np.uint8)
    truth = np.zeros((200, 200), np.uint8)
    cv2.circle(truth, (100, 100), 50, 1, -1)
    frame[truth > 0] += 150
    rough = np.zeros_like(truth)
    cv2.circle(rough, (101, 100), 51, 1, -1)
    before, after = (np.count_nonzero(m != truth) for m in (rough, snap(rough, frame)))
    assert after < before / 2


def test_clip_is_made_of_a_video_and_read_by_the_benchmark(tmp_path: Path) -> None:
    video = tmp_path / "v.mp4"
    writer = cv2.VideoWriter(str(video), cv2.VideoWriter_fourcc(*"mp4v"), 10, (64, 48))
    for index in range(8):
        writer.write(np.full((48, 64, 3), 20 * index, np.uint8))
    writer.release()
    square = {"outline": [[5, 5], [20, 5], [20, 20], [5, 20]], "cut_out": []}
    record = {"start": 1, "stop": 7, "step": 2, "snap": False, "masks": {"0": square, "1": square}}
    make_clip(record, video, tmp_path / "square")
    (clip,) = find_clips([tmp_path / "square"])
    assert len(clip) == 3
    assert clip.judged(1) == [1]
    assert abs(int(clip.frame(1).mean()) - 60) < 8
    assert np.asarray(Image.open(clip.masks[0])).sum() == 16 * 16


def test_curves_are_drawn(tmp_path: Path) -> None:
    (tmp_path / "curves.csv").write_text("train,25,30,loss,0.5\ntrain,50,60,loss,0.4\nvalidation,50,60,score,71.2\n")
    assert read_curves(tmp_path)["train loss"] == [(25, 0.5), (50, 0.4)]
    assert plot(tmp_path).stat().st_size > 1000
