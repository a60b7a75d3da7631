"""`python -m benchmarks.quality` from clips to table, through the public API."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest

from benchmarks.quality import main


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    """One clip of four frames: a bright disc on dark ground that moves 3 pixels a frame."""
    folder = tmp_path / "clips" / "disc"
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind).mkdir(parents=True)
    for index in range(4):
        mask = np.zeros((72, 96), np.uint8)
        cv2.circle(mask, (40 + 3 * index, 36), 16, 1, -1)
        frame = np.where(mask[..., None] > 0, np.uint8(230), np.uint8(30)).repeat(3, 2)
        cv2.imwrite(str(folder / "JPEGImages" / f"{index:05d}.jpg"), frame)
        cv2.imwrite(str(folder / "Annotations" / f"{index:05d}.png"), mask)
    return tmp_path / "clips"


def test_table_has_masks_clicks_baselines_and_cycles(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    report_path = tmp_path / "report.json"
    main([str(clips), "--starts", "mask,1", "--cycle", "--threads", "1", "--json", str(report_path)])
    report = json.loads(report_path.read_text())
    by_method = {row["method"]: row for row in report["tracking"]}
    assert set(by_method) == {"first mask given", "1 click", "repeat first mask", "flow warp"}
    # Frames 1 and 2: the first and the last one are left out.
    assert all(row["frames"] == 2 for row in report["tracking"])
    assert by_method["first mask given"]["region"] > by_method["repeat first mask"]["region"]
    assert len(report["clicks"][0]["after"]) == 3
    assert report["cycles"][0][2] > 70
    printed = capsys.readouterr().out
    assert "J&F" in printed
    assert "IoU after clicks" in printed
