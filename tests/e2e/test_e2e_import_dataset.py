"""Datasets into a real Label Studio: what was submitted in one project is found again, bit for bit, in a second one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from labelling import DISCS, FRAME_CONFIGS, Project, import_video
from masks_of import masks_by_page
from test_e2e_export import export

from demo.annotator import Annotator
from demo.backend import BackendServer
from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush

pytestmark = pytest.mark.e2e
LABELS = ("Red", "Blue")


def submit_the_truth(project: Project, kind: str) -> None:
    """Submit both discs on all frames, as a human who paints very well."""
    drawn = []
    for number, label in enumerate(LABELS, start=1):
        for frame in range(DISCS.frames):
            mask = DISCS.truth(frame, number)
            shape = {"format": "rle", "rle": encode_brush(mask)}
            if kind == "BitmaskLabels":
                shape = {"imageDataURL": encode_bitmask(mask)}
            drawn.append(
                {
                    "id": f"tam-{label.lower()}-{frame}f",
                    "from_name": "shapes",
                    "to_name": "pages",
                    "type": kind.lower(),
                    "original_width": DISCS.width,
                    "original_height": DISCS.height,
                    "image_rotation": 0,
                    "item_index": frame,
                    "value": {**shape, kind.lower(): [label]},
                }
            )
    project.annotator.save_annotation(project.task, drawn)


@pytest.mark.parametrize(
    ("form", "kind", "arrival"),
    [("davis", "BrushLabels", "predictions"), ("coco", "BitmaskLabels", "annotations")],
)
def test_a_dataset_of_one_project_is_the_same_in_another(
    new_project: Callable[[str], Project],
    annotator: Annotator,
    backend: BackendServer,
    tmp_path: Path,
    form: str,
    kind: str,
    arrival: str,
) -> None:
    project = new_project(FRAME_CONFIGS[kind])
    submit_the_truth(project, kind)
    export(backend, project.id, form, tmp_path / "out", "--frames", "png")

    second = annotator.create_project("second", FRAME_CONFIGS[kind])
    for _ in range(2):  # given again it makes nothing twice
        import_video(backend, tmp_path / "out", second, "--format", form, "--as", arrival, "--max-frames", "6")
    tasks = [int(each["id"]) for each in annotator.tasks(second)]
    assert len(tasks) == 2
    results = []
    for number in tasks:
        [held] = annotator.predictions(number) if arrival == "predictions" else annotator.task(number)["annotations"]
        results.append(held["result"])
    found = masks_by_page(results, pages=6)
    # Blue is the second object, and on top where DAVIS holds one object a pixel.
    expected = {
        (frame, label): DISCS.truth(frame, number) & ~(DISCS.truth(frame, 2) & (form == "davis" and number == 1))
        for frame in range(DISCS.frames)
        for number, label in enumerate(LABELS, start=1)
    }
    assert found.keys() == expected.keys()
    for place, mask in expected.items():
        assert np.array_equal(found[place], mask), place
