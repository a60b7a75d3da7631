"""Labeling a list of frames: what comes back for clicks, boxes and Propagate, through a real Label Studio."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import pytest
import requests
from labelling import DISCS, FRAME_CONFIGS, Project
from masks_of import label_of, mask_of
from synthetic import iou

from demo.backend import BackendServer
from tam_backend.labelstudio.encoding import encode_bitmask

pytestmark = pytest.mark.e2e
RED, BLUE = 1, 2


@pytest.fixture
def bitmask_project(new_project: Callable[[str], Project]) -> Project:
    return new_project(FRAME_CONFIGS["BitmaskLabels"])


def click_on(project: Project, frame: int, disc: int, label: str) -> dict:
    return project.page(frame).click(project.tags.clicks, DISCS.centre(frame, disc), label)


def test_imported_frames_can_be_drawn_by_a_browser(bitmask_project: Project) -> None:
    data = bitmask_project.annotator.task(bitmask_project.task)["data"]
    assert len(data["frames"]) == DISCS.frames
    reply = requests.get(data["frames"][4], timeout=10)
    assert reply.headers["Content-Type"] == "image/jpeg"
    assert reply.headers["Access-Control-Allow-Origin"] == "*"
    unsigned = requests.get(data["frames"][4].split("?")[0], timeout=10)
    assert unsigned.status_code == 401
    again = requests.get(data["frames"][4], headers={"If-None-Match": reply.headers["ETag"]}, timeout=10)
    assert again.status_code == 304


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_a_smart_click_answers_with_the_mask_of_its_page_only(new_project: Callable[[str], Project], kind: str) -> None:
    project = new_project(FRAME_CONFIGS[kind])
    [region] = project.annotator.ask(project.ml_backend, project.task, [click_on(project, 2, RED, "Red")])
    assert region["type"] == kind.lower()
    assert (region["item_index"], region["from_name"], region["to_name"]) == (2, "shapes", "pages")
    assert (region["original_width"], region["original_height"]) == (DISCS.width, DISCS.height)
    assert label_of(region) == "Red"
    assert iou(mask_of(region), DISCS.truth(2, RED)) > 0.7


def test_a_negative_click_takes_its_place_out_of_the_mask(bitmask_project: Project) -> None:
    page = bitmask_project.page(0)
    positive = click_on(bitmask_project, 0, RED, "Red")
    away = DISCS.centre(0, BLUE)
    both = page.box(bitmask_project.tags.boxes, (5, 5, 315, 235), "Red")
    bitmask_project.annotator.save_draft(bitmask_project.task, [both])
    negative = page.click(bitmask_project.tags.clicks, away, "Red", positive=False)
    [region] = bitmask_project.annotator.ask(bitmask_project.ml_backend, bitmask_project.task, [positive, negative])
    mask = mask_of(region)
    red_x, red_y = (int(value) for value in DISCS.centre(0, RED))
    assert mask[red_y, red_x]
    assert not mask[int(away[1]), int(away[0])]


def test_a_box_becomes_the_mask_of_what_is_in_it(bitmask_project: Project) -> None:
    x, y = DISCS.centre(5, BLUE)
    box = bitmask_project.page(5).box(bitmask_project.tags.boxes, (x - 34, y - 34, x + 34, y + 34), "Blue")
    [region] = bitmask_project.annotator.ask(bitmask_project.ml_backend, bitmask_project.task, [box])
    assert region["item_index"] == 5
    assert label_of(region) == "Blue"
    assert iou(mask_of(region), DISCS.truth(5, BLUE)) > 0.7


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_propagate_follows_two_objects_with_two_labels_over_all_pages(
    new_project: Callable[[str], Project], kind: str
) -> None:
    project = new_project(FRAME_CONFIGS[kind])
    ask = project.annotator.ask
    [red] = ask(project.ml_backend, project.task, [click_on(project, 0, RED, "Red")])
    [blue] = ask(project.ml_backend, project.task, [click_on(project, 4, BLUE, "Blue")])
    assert red["id"] != blue["id"]
    project.annotator.save_draft(project.task, [red, blue])

    answer = ask(project.ml_backend, project.task, [click_on(project, 4, BLUE, "Propagate")])
    by_place = {(label_of(region), region["item_index"]): region for region in answer}
    assert len(by_place) == len(answer), "one region per object and page"
    assert len({region["id"] for region in answer}) == len(answer)
    for label, disc, given in (("Red", RED, 0), ("Blue", BLUE, 4)):
        pages = {page for (found, page) in by_place if found == label}
        assert pages | {given} == set(range(DISCS.frames))
        overlaps = [iou(mask_of(by_place[label, page]), DISCS.truth(page, disc)) for page in pages]
        assert min(overlaps) > 0.6, overlaps
    assert all(0 <= region["score"] <= 1 for region in answer)

    # The same again gives the same regions: the editor replaces by id instead of piling up.
    again = ask(project.ml_backend, project.task, [click_on(project, 4, BLUE, "Propagate")])
    assert {region["id"] for region in again} == {region["id"] for region in answer}


@pytest.mark.parametrize("origin", ["manual", "prediction-changed"])
def test_a_mask_that_the_annotator_drew_or_changed_is_not_sent_back(bitmask_project: Project, origin: str) -> None:
    ask = bitmask_project.annotator.ask
    [first] = ask(bitmask_project.ml_backend, bitmask_project.task, [click_on(bitmask_project, 3, RED, "Red")])
    truth = {"imageDataURL": encode_bitmask(DISCS.truth(3, RED)), "bitmasklabels": ["Red"]}
    given = {**first, "value": truth, "origin": origin}
    bitmask_project.annotator.save_draft(bitmask_project.task, [given])
    answer = ask(bitmask_project.ml_backend, bitmask_project.task, [click_on(bitmask_project, 3, RED, "Propagate")])
    assert first["id"] not in {region["id"] for region in answer}
    assert {region["item_index"] for region in answer} == set(range(DISCS.frames)) - {3}
    overlaps = [iou(mask_of(region), DISCS.truth(region["item_index"], RED)) for region in answer]
    assert min(overlaps) > 0.7, overlaps


def test_a_propagated_result_is_stored_as_a_prediction(bitmask_project: Project) -> None:
    annotator = bitmask_project.annotator
    [red] = annotator.ask(bitmask_project.ml_backend, bitmask_project.task, [click_on(bitmask_project, 0, RED, "Red")])
    annotator.save_draft(bitmask_project.task, [red])
    answer = annotator.ask(
        bitmask_project.ml_backend, bitmask_project.task, [click_on(bitmask_project, 0, RED, "Propagate")]
    )
    regions = {region["id"]: region for region in (red, *answer)}
    annotator.save_prediction(bitmask_project.task, list(regions.values()), "compact", 0.9)
    [stored] = annotator.predictions(bitmask_project.task)
    assert {region["item_index"] for region in stored["result"]} == set(range(DISCS.frames))


def test_a_batch_call_without_prompts_answers_at_once(bitmask_project: Project) -> None:
    started_s = time.monotonic()
    bitmask_project.annotator.call(
        "POST",
        f"/api/dm/actions?id=retrieve_tasks_predictions&project={bitmask_project.id}",
        {"selectedItems": {"all": True, "excluded": []}, "project": str(bitmask_project.id)},
    )
    assert time.monotonic() - started_s < 5
    bitmask_project.annotator.task(bitmask_project.task)


def test_health_is_quick_while_the_model_works(bitmask_project: Project, backend: BackendServer) -> None:
    ask = bitmask_project.annotator.ask
    [red] = ask(bitmask_project.ml_backend, bitmask_project.task, [click_on(bitmask_project, 0, RED, "Red")])
    bitmask_project.annotator.save_draft(bitmask_project.task, [red])
    working = threading.Thread(
        target=ask,
        args=(bitmask_project.ml_backend, bitmask_project.task, [click_on(bitmask_project, 0, RED, "Propagate")]),
    )
    working.start()
    waits_s = []
    while working.is_alive():
        started_s = time.monotonic()
        assert requests.get(f"{backend.url}/health", timeout=10).ok
        waits_s.append(time.monotonic() - started_s)
        working.join(0.1)
    assert len(waits_s) >= 3, "the propagation was over too soon to tell"
    assert max(waits_s) < 1, "Label Studio gives /health one second"
