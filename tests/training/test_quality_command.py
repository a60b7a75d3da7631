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


def test_hard_kinds_and_drift_have_tables_of_their_own(
    clips: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The same clip is given twice, so that one can be cut into the other."""
    report_path = tmp_path / "report.json"
    only = ["--starts", "mask", "--no-baselines", "--no-clicks", "--threads", "1"]
    folder = str(clips / "disc")
    main([folder, folder, *only, "--hard", "--drift", "20", "--json", str(report_path)])
    report = json.loads(report_path.read_text())
    kept, cut_in = [row for row in report["hard"]["absence"] if row["clip"] == "all"]
    assert (kept["method"], kept["absent"], kept["present"]) == ("first mask given", 0, 4)
    # Four foreign frames each, and frame 2 after them: the last one is not judged.
    assert (cut_in["method"], cut_in["absent"], cut_in["present"]) == ("mask, another clip cut in", 8, 2)
    # A disc has neither legs nor holes, and is alone.
    assert (report["hard"]["details"], report["hard"]["look_alikes"]) == ([], [])
    assert [row["frames"] for row in report["drift"]] == [20, 20]
    assert report["drift"][0]["first"] > 70
    printed = capsys.readouterr().out
    assert "rightly empty" in printed
    assert "fresh start" in printed


def test_drift_over_too_few_frames_is_refused(clips: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(clips), "--drift", "9"])
    assert "--drift 9" in capsys.readouterr().err
