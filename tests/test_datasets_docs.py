"""The table of formats in docs/datasets.md says what the formats do: each of its claims is tried."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from tam_backend.dataset_in.readers import READERS
from tam_backend.export.dataset import ClassTable, DatasetObject, DatasetVideo, LabelledFrame, Shown
from tam_backend.export.dataset_folder import DatasetFolder
from tam_backend.export.dataset_format import Work
from tam_backend.export.formats import FORMATS
from tam_backend.export.staging import publish, stage_video
from tam_backend.export.tally import SIDECAR
from tam_backend.types import EncodedMask, RgbFrame

DOCS = Path(__file__).resolve().parent.parent / "docs" / "datasets.md"
SIZE_HW = (40, 60)
SURE, DOUBTFUL, BOXED = 1, 2, 3


def table(number: int = 0) -> dict[str, dict[str, str]]:
    """Return format -> column -> what the docs say: 0 = of exports, 1 = of imports."""
    lines = DOCS.read_text().splitlines()
    head = [at for at, line in enumerate(lines) if line.startswith("| `--format`")][number]
    names = [each.strip() for each in lines[head].strip("|").split("|")]
    rows = {}
    for line in lines[head + 2 : lines.index("", head)]:
        cells = [each.strip() for each in line.strip("|").split("|")]
        rows[cells[0].strip("`")] = dict(zip(names, cells, strict=True))
    return rows


class Grey:
    """Frames that are all grey."""

    def picture(self, index: int) -> RgbFrame:
        return np.full((*SIZE_HW, 3), 100, np.uint8)

    def file(self, index: int) -> Path | None:
        return None

    def fps(self) -> float | None:
        return None


def square(left: int) -> EncodedMask:
    mask = np.zeros(SIZE_HW, bool)
    mask[10:20, left : left + 10] = True
    return EncodedMask.of(mask)


FRAME = LabelledFrame(
    0,
    (
        Shown(SURE, square(5), attributes={"seen": ["part"]}),
        Shown(DOUBTFUL, square(20), ignored=True),
        Shown(BOXED, box_xyxy=(40, 10, 50, 20)),
    ),
)


@pytest.fixture(params=FORMATS)
def written(request: pytest.FixtureRequest, tmp_path: Path) -> tuple[str, Path, Work]:
    """A dataset of one frame with a mask, a doubtful mask and a box; its format and what it told."""
    form = FORMATS[request.param]
    work = Work(ClassTable(["dog"]))
    objects = tuple(DatasetObject(number, "dog", ("dog", "large")) for number in (SURE, DOUBTFUL, BOXED))
    video = DatasetVideo("clip", SIZE_HW, lambda: iter([FRAME]), objects, (7,), Grey())
    with DatasetFolder(tmp_path / "out", {}) as folder:
        staged = stage_video(folder, form, video, work, {})
        publish(folder, form, [staged], work, "a test")
    return request.param, tmp_path / "out", work


def told(work: Work, what: str) -> bool:
    return any(what in each and count for each, count in work.lost.items())


def lines(out: Path, name: str) -> list[str]:
    return next(out.rglob(name)).read_text().splitlines()


def coco_annotations(out: Path) -> list[dict]:
    return json.loads(next(out.rglob("instances*.json")).read_text())["annotations"]


def values(path: Path) -> set[int]:
    with Image.open(path) as image:
        return set(np.unique(np.array(image)).tolist())


DOUBTFUL_CLAIMS: dict[str, Callable[[Path, Work], bool]] = {
    "void (255)": lambda out, _: 255 in values(next(out.rglob("00000.png"))),
    "crowd": lambda out, _: [each["iscrowd"] for each in coco_annotations(out)] == [0, 1, 0],
    "ignored (class 10)": lambda out, _: any(line.startswith("1 10000 10 ") for line in lines(out, "gt.txt")),
    "left out": lambda _, work: told(work, "doubtful"),
}
BOX_CLAIMS: dict[str, Callable[[Path, Work], bool]] = {
    "left out": lambda _, work: told(work, "boxes without a mask"),
    "`gt/boxes.txt`": lambda out, _: lines(out, "boxes.txt") == ["1,3,40,10,10,10,1,3,1"],
    "drawn": lambda _, work: not told(work, "boxes"),
    "yes": lambda out, work: not told(work, "boxes") and holds_box(out),
}


def holds_box(out: Path) -> bool:
    if (out / "dataset.yaml").exists():
        last = [float(each) * side for each, side in zip(lines(out, "*.txt")[-1].split()[1:3], (60, 40), strict=True)]
        return last == pytest.approx([40, 10], abs=1e-3)
    return [40, 10, 10, 10] in [
        box
        for each in coco_annotations(out)
        for box in np.reshape(each["bbox" if "bbox" in each else "bboxes"], (-1, 4)).tolist()
    ]


def test_every_format_has_a_row_and_there_are_no_others() -> None:
    assert list(table()) == list(FORMATS)


def test_every_format_that_can_be_imported_has_a_row_too() -> None:
    assert list(table(1)) == list(READERS)


def test_what_becomes_of_doubtful_masks(written: tuple[str, Path, Work]) -> None:
    form, out, work = written
    assert DOUBTFUL_CLAIMS[table()[form]["doubtful masks"]](out, work)


def test_what_becomes_of_boxes(written: tuple[str, Path, Work]) -> None:
    form, out, work = written
    assert BOX_CLAIMS[table()[form]["boxes without a mask"]](out, work)


def test_where_attributes_are(written: tuple[str, Path, Work]) -> None:
    form, out, _ = written
    in_sidecar = "attributes.json" in table()[form]["labels, attributes, who made it"]
    assert (out / SIDECAR).exists() == in_sidecar
    if in_sidecar:
        [video] = json.loads((out / SIDECAR).read_text())["videos"]
        assert video["shown"][0]["attributes"] == {"seen": ["part"]}
        assert video["objects"][0] == {"object_id": 1, "class": "dog", "labels": ["dog", "large"]}
    else:
        assert coco_annotations(out)[0]["attributes"] == {"seen": ["part"]}
        assert coco_annotations(out)[0]["labels"] == ["dog", "large"]
