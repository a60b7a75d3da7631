"""What the report says of work in a real Label Studio, and what Label Studio makes of our scores."""

from __future__ import annotations

import csv
import json
import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
import requests
from labelling import DISCS, FRAME_CONFIGS, Project, import_video
from masks_of import mask_of
from synthetic import iou

from demo.annotator import Region
from demo.backend import BackendServer, console_script
from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush
from tam_backend.out_folder import WRITTEN_LIST
from tam_backend.types import BoolMask

pytestmark = pytest.mark.e2e
RED = 1
EDITED, ERASED, DRAWN_OVER = 3, 5, 7


def report(backend: BackendServer, project: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the real `tam-backend report`."""
    return subprocess.run(
        [console_script(), "report", "--project", str(project), *options],
        env={**os.environ, **backend.env, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def with_mask(region: Region, mask: BoolMask, **more: object) -> Region:
    shape = {"imageDataURL": encode_bitmask(mask)} if "imageDataURL" in region["value"] else {"rle": encode_brush(mask)}
    return {**region, "value": {**region["value"], **shape}, **more}


def propagated(project: Project) -> list[Region]:
    """Click the red disc on the first page, accept, propagate, as an annotator does."""
    click = project.page(0).click(project.tags.clicks, DISCS.centre(0, RED), "Red")
    [clicked] = project.annotator.ask(project.ml_backend, project.task, [click])
    draft = project.annotator.save_draft(project.task, [clicked])
    go = project.page(0).click(project.tags.clicks, DISCS.centre(0, RED), "Propagate")
    masks = project.annotator.ask(project.ml_backend, project.task, [go])
    project.annotator.call("DELETE", f"/api/drafts/{draft}")
    by_page = {region["item_index"]: region for region in (clicked, *masks)}
    assert sorted(by_page) == list(range(DISCS.frames))
    return [by_page[page] for page in sorted(by_page)]


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_report_tells_what_was_kept_edited_drawn_and_erased_with_and_without_the_model(
    new_project: Callable[[str], Project], backend: BackendServer, discs_video: Path, tmp_path: Path, kind: str
) -> None:
    project = new_project(FRAME_CONFIGS[kind])
    nothing = report(backend, project.id)
    assert nothing.returncode == 2
    assert "submitted" in nothing.stderr

    masks = propagated(project)
    prediction = project.annotator.save_prediction(project.task, masks, "compact", 0.9)
    truth = DISCS.truth(EDITED, RED)
    truth[:, : int(DISCS.centre(EDITED, RED)[0])] = False
    submitted = [with_mask(region, truth) if region["item_index"] == EDITED else region for region in masks]
    by_hand = with_mask(masks[DRAWN_OVER], DISCS.truth(DRAWN_OVER, RED), id="by-hand", origin="manual", meta={})
    submitted = [region for region in submitted if region["item_index"] not in (ERASED, DRAWN_OVER)] + [by_hand]
    annotations = f"/api/tasks/{project.task}/annotations"
    payload = {"result": submitted, "lead_time": 27, "parent_prediction": prediction}
    project.annotator.call("POST", annotations, payload)

    import_video(backend, discs_video, project.id)
    [other] = [int(task["id"]) for task in project.annotator.tasks(project.id) if task["id"] != project.task]
    drawn = [
        with_mask(region, DISCS.truth(page, RED), id=f"hand-{page}", origin="manual", meta={})
        for page, region in enumerate(masks[:4])
    ]
    project.annotator.call("POST", f"/api/tasks/{other}/annotations", {"result": drawn, "lead_time": 120})

    done = report(backend, project.id, "--out", str(tmp_path / "out"))
    assert done.returncode == 0, done.stderr
    assert "discs.mp4" in done.stdout
    assert "10.0 times as fast" in done.stdout
    first, second = csv.DictReader((tmp_path / "out" / "report.csv").open())
    counts = {name: int(first[name]) for name in ("frames", "frames_touched", "masks", "kept", "clicked", "edited")}
    assert counts == {"frames": 10, "frames_touched": 4, "masks": 9, "kept": 6, "clicked": 1, "edited": 1}
    assert (first["drawn"], first["erased"], float(first["lead_time_s"])) == ("1", "1", 27)
    assert (second["drawn"], second["by_hand"], second["agreement"]) == ("4", "1", "")
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert (told["seconds_from"], told["seconds_per_mask"]) == ("measured", 30)
    overlaps = [iou(mask_of(masks[EDITED]), truth), iou(mask_of(masks[DRAWN_OVER]), DISCS.truth(DRAWN_OVER, RED))]
    assert told["total"]["agreement"] == pytest.approx((7 + sum(overlaps)) / 10, abs=1e-6)
    written = {f"report.{each}" for each in ("csv", "json", "png", "html")}
    assert {path.name for path in (tmp_path / "out").iterdir()} == {*written, WRITTEN_LIST}


def test_tasks_ordered_by_score_begin_with_the_doubtful_and_reviews_asked_for_are_kept(
    new_project: Callable[[str], Project], backend: BackendServer, discs_video: Path
) -> None:
    project = new_project(FRAME_CONFIGS["BitmaskLabels"])
    import_video(backend, discs_video, project.id)
    good, doubtful = sorted(int(task["id"]) for task in project.annotator.tasks(project.id))
    [clicked] = project.annotator.ask(
        project.ml_backend, project.task, [project.page(0).click(project.tags.clicks, DISCS.centre(0, RED), "Red")]
    )
    asks = {**clicked, "meta": {"tam_source": "propagated", "text": "needs review"}}
    connected = project.annotator.call("GET", f"/api/ml/{project.ml_backend}")
    project.annotator.save_prediction(good, [clicked], connected["model_version"], 0.9)
    project.annotator.save_prediction(doubtful, [asks], connected["model_version"], 0.2)
    [stored] = project.annotator.predictions(doubtful)
    assert stored["result"][0]["meta"] == asks["meta"]
    annotation = project.annotator.save_annotation(doubtful, stored["result"])
    kept = project.annotator.call("GET", f"/api/annotations/{annotation}")
    assert kept["result"][0]["meta"] == asks["meta"]

    # Until then the project's version is the backend's title, and Label Studio counts no score (docs/label-studio.md).
    chosen = {"model_version": connected["model_version"]}
    project.annotator.call("PATCH", f"/api/projects/{project.id}/", chosen)
    view = {"type": "list", "target": "tasks", "ordering": ["tasks:predictions_score"]}
    made = project.annotator.call("POST", "/api/dm/views", {"project": project.id, "data": view})
    ordered = project.annotator.call("GET", f"/api/tasks?project={project.id}&view={made['id']}")["tasks"]
    assert [task["id"] for task in ordered] == [doubtful, good]


def test_a_propagated_task_has_a_page_on_its_own_video(
    new_project: Callable[[str], Project], backend: BackendServer
) -> None:
    project = new_project(FRAME_CONFIGS["BitmaskLabels"])
    propagated(project)
    page = requests.get(f"{backend.url}/tasks/{project.id}/{project.task}", timeout=20)
    assert page.status_code == 200
    assert f"{DISCS.frames} <span>of {DISCS.frames}" in page.text
    picture = requests.get(f"{backend.url}/tasks/{project.id}/{project.task}/frames/4.jpg", timeout=20)
    assert picture.headers["Content-Type"] == "image/jpeg"
    assert picture.headers["Cache-Control"] == "private, no-cache", "drawn on the video, not on grey"
