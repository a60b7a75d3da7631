"""The report's files: complete, readable by others, safe, and needing nothing beside them."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from xml.etree import ElementTree as ET

import numpy as np
import pytest
from PIL import Image

from tam_backend.effort.chart import COLOURS, as_svg, effort_chart
from tam_backend.effort.files import as_html, rows, sentences, write_report
from tam_backend.effort.learning_curve import Turn
from tam_backend.effort.mask_records import AnnotationRecord, SubmittedMask, TaskRecord, WorkRecord
from tam_backend.effort.summary import EffortReport, summarise
from tam_backend.errors import InvalidInputError


def report(title: str = "Bears", video: str = "bear.mp4", tasks: int = 2) -> EffortReport:
    kept = [SubmittedMask(frame, "kept", 1.0) for frame in range(30)]
    edited = [SubmittedMask(frame, "edited", 0.6) for frame in range(30, 40)]
    records = [
        TaskRecord(number, video, 40, (AnnotationRecord(number, (*kept, *edited), (3,), 300.0, True),))
        for number in range(1, tasks + 1)
    ]
    return summarise(7, title, records)


def test_csv_and_json_hold_the_same_figures(tmp_path: Path) -> None:
    made = report()
    paths = write_report(made, tmp_path / "new" / "folder")
    assert [path.name for path in paths] == ["report.csv", "report.json", "report.png", "report.html"]
    lines = list(csv.DictReader(paths[0].open(encoding="utf-8")))
    told = json.loads(paths[1].read_text())
    assert [int(line["masks"]) for line in lines] == [each["masks"] for each in told["tasks"]] == [40, 40]
    assert float(lines[0]["agreement"]) == told["tasks"][0]["agreement"] == pytest.approx((30 + 6) / 41)
    assert told["total"]["frames_touched"] == 22
    assert told["seconds_from"] == "assumed"


def test_picture_shows_how_many_masks_were_kept_and_edited(tmp_path: Path) -> None:
    write_report(report(), tmp_path)
    pixels = np.asarray(Image.open(tmp_path / "report.png").convert("RGB"))

    def share(colour: str) -> int:
        return int((pixels == [int(colour[at : at + 2], 16) for at in (1, 3, 5)]).all(2).sum())

    legend = 24 * 24
    assert share(COLOURS["kept"]) - legend == pytest.approx(3 * (share(COLOURS["edited"]) - legend), rel=0.05)
    assert share(COLOURS["drawn"]) <= legend


def test_a_report_that_somebody_went_on_writing_is_not_replaced(tmp_path: Path) -> None:
    write_report(report(), tmp_path)
    write_report(report(), tmp_path)
    with (tmp_path / "report.csv").open("a", encoding="utf-8") as file:
        file.write("a line of their own\n")
    with pytest.raises(InvalidInputError, match=r"report\.csv"):
        write_report(report(), tmp_path)
    assert (tmp_path / "report.csv").read_text(encoding="utf-8").endswith("a line of their own\n")
    write_report(report(), tmp_path, overwrite=True)
    assert "their own" not in (tmp_path / "report.csv").read_text(encoding="utf-8")


def test_page_loads_nothing_and_escapes_what_others_wrote() -> None:
    attack = "<script>alert(1)</script><img src=x>\"'&"
    page = as_html(report(attack, attack))
    assert "<script" not in page
    assert "<img" not in page
    for loaded in ("src=", "href=", "url(", "@import"):
        assert loaded not in page.replace("src=x", "")
    assert page.count("&lt;script&gt;") >= 4


def test_the_curve_and_its_figures_are_on_the_page_where_it_is_known_when_work_began() -> None:
    annotations = [
        AnnotationRecord(n, (SubmittedMask(0, "drawn"),), (), 60.0 * n, False, 100.0 * n) for n in range(1, 8)
    ]
    records = [TaskRecord(n, f"v{n}.mp4", 4, (each,)) for n, each in enumerate(annotations, 1)]
    work = {n: WorkRecord(str(n), 10 - n, "base+p7.1" if n > 3 else "base", 100.0 * n) for n in range(1, 8)}
    made = summarise(7, "Bears", records, work=work, turns=[Turn(350, "p7.1")])
    page = as_html(made)
    assert "Clicks and corrections, video by video" in page
    assert "Working time, video by video" in page
    assert "<td>since p7.1</td><td>4</td><td>4.5</td><td>5.5 min</td>" in page
    assert "A video took 8 clicks before p7.1, 4.5 since then" in " ".join(sentences(made))
    assert rows(made)[0][4] == "9"
    assert (made.total.clicks, rows(made)[-1][4]) == (42, "42")
    assert "video by video" not in as_html(report()), "nobody knows when those were begun"


def test_svg_is_well_formed_and_of_many_tasks_shows_the_largest() -> None:
    chart = effort_chart(report("<&>", "a & b.mp4", tasks=60))
    ET.fromstring(as_svg(chart))
    assert as_svg(chart).count("a &amp; b.mp4") == 20
    assert chart.height < 900


def test_everything_lies_within_the_picture() -> None:
    chart = effort_chart(report(title="t" * 200, video="v" * 200))
    for part in chart.parts:
        assert 0 <= part.x <= chart.width
        assert 0 <= part.y <= chart.height


def test_table_ends_with_the_total_and_sentences_say_what_the_estimate_rests_on() -> None:
    made = report()
    assert rows(made)[-1][0] == "all"
    assert "COCO" in " ".join(sentences(made))
    assert "saved about 95.3 min" in " ".join(sentences(made))
