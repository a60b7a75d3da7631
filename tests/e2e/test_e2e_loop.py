"""The loop on a real Label Studio: what annotators submit and correct comes back as predictions, by itself."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from labelling import DISCS, FRAME_CONFIGS, Project, import_video, write_video
from masks_of import label_of, mask_of
from synthetic import iou

from demo.annotator import Annotator, Region, TagNames
from demo.backend import BackendServer, running_backend
from demo.label_studio import LabelStudio
from demo.processes import free_port
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.types import BoolMask

pytestmark = pytest.mark.e2e
RED, BLUE = 1, 2
CONFIG = FRAME_CONFIGS["BrushLabels"]
LONGER = replace(DISCS, frames=40, steps_xy=((4, 0.5), (-4, 0.5)), name="longer.mp4")
"""Long enough for a kill in the middle of its propagation."""

Masks = dict[tuple[str, int], Region]
"""(label, page) -> region."""


def until(happens: Callable[[], Any], timeout_s: float = 180) -> Any:
    """Wait for `happens` to return something true, and return that."""
    deadline_s = time.monotonic() + timeout_s
    while not (found := happens()):
        assert time.monotonic() < deadline_s, f"nothing within {timeout_s} s"
        time.sleep(0.3)
    return found


def by_place(regions: list[Region]) -> Masks:
    found = {(label_of(region), region["item_index"]): region for region in regions}
    assert len(found) == len(regions), "one region per object and page"
    return found


def drawn(region: Region, mask: BoolMask) -> Region:
    """Return a region as the editor saves it after brush and eraser."""
    value = {**region["value"], "rle": encode_brush(mask)}
    return {**region, "origin": "prediction-changed", "value": value}


def jobs_of(backend_url: str, task: int) -> list[dict[str, Any]]:
    """Return a task's jobs, the newest first."""
    jobs = requests.get(f"{backend_url}/jobs", timeout=10).json()["jobs"]
    return [job for job in jobs if job["task"] == task]


def click(project: Project, disc: int, label: str) -> Region:
    """Return a click on a disc of the first page."""
    return project.page(0).click(project.tags.clicks, DISCS.centre(0, disc), label)


def proposed(project: Project, discs: Mapping[int, str]) -> list[Region]:
    """Click on discs of the first page, press Propagate, and return all regions that the editor shows then."""
    ask = project.annotator.ask
    accepted: list[Region] = []
    for disc, label in discs.items():
        accepted += ask(project.ml_backend, project.task, [click(project, disc, label)])
        project.annotator.save_draft(project.task, accepted)
    answer = ask(project.ml_backend, project.task, [click(project, RED, "Propagate")])
    return list({region["id"]: region for region in (*accepted, *answer)}.values())


def pushed(project: Project, after: int = 0) -> tuple[int, Masks]:
    """Wait for a prediction that is newer than the one of id `after`; return its id and what it holds."""

    def newest() -> dict[str, Any] | None:
        newer = [each for each in project.annotator.predictions(project.task) if each["id"] > after and each["result"]]
        return max(newer, key=lambda each: int(each["id"]), default=None)

    found = until(newest)
    return int(found["id"]), by_place(found["result"])


@pytest.fixture
def project(new_project: Callable[[str], Project]) -> Project:
    return new_project(CONFIG)


@pytest.fixture
def secret_address(project: Project, backend: BackendServer) -> str:
    """Where Label Studio sends the project's events, as `tam-backend import` told it."""
    [address] = [url for url in project.annotator.webhooks(project.id) if url.startswith(f"{backend.url}/webhook/")]
    return address


def test_what_annotators_submit_correct_and_erase_comes_back_as_predictions(
    project: Project, backend: BackendServer
) -> None:
    # Submitted: the first page is a keyframe by its clicks; pages 2 and 8 were corrected by hand before.
    submitted = by_place(proposed(project, {RED: "Red", BLUE: "Blue"}))
    for page in (2, 8):
        submitted["Red", page] = drawn(submitted["Red", page], DISCS.truth(page, RED))
    annotation = project.annotator.save_annotation(project.task, list(submitted.values()))
    first_id, first = pushed(project)
    everywhere = {(label, page) for label in ("Red", "Blue") for page in range(DISCS.frames)}
    assert set(first) == everywhere - {("Red", 2), ("Red", 8)}, "everything but what was drawn by hand"
    for (label, page), region in first.items():
        assert iou(mask_of(region), DISCS.truth(page, RED if label == "Red" else BLUE)) > 0.6, (label, page)

    # Corrected: the annotator erases the lower half of the disc on page 5 and adds a bar to its left.
    mask = mask_of(submitted["Red", 5])
    x, y = (int(value) for value in DISCS.centre(5, RED))
    mask[y:] = False
    mask[y - 8 : y, x - 50 : x] = True
    corrected = {**submitted, ("Red", 5): drawn(submitted["Red", 5], mask)}
    project.annotator.update_annotation(annotation, list(corrected.values()))
    second_id, second = pushed(project, after=first_id)
    assert set(second) == set(first) - {("Red", 5)}, "the corrected page is the annotator's, and not sent back"
    changed = {place for place in second if second[place]["value"]["rle"] != first[place]["value"]["rle"]}
    assert changed
    assert {page for _, page in changed} <= {3, 4, 6, 7}, "the pages up to the next ones that were drawn by hand"
    assert {("Red", 4), ("Red", 6)} <= changed
    stored = by_place(project.annotator.task(project.task)["annotations"][0]["result"])
    assert np.array_equal(mask_of(stored["Red", 5]), mask)

    # Erased: the disc is taken away from page 9, where it came from us.
    rest = {place: region for place, region in corrected.items() if place != ("Red", 9)}
    project.annotator.update_annotation(annotation, list(rest.values()))
    third_id, third = pushed(project, after=second_id)
    assert set(third) == set(second) - {("Red", 9)}, "gone from that page, and from no other"
    assert all(third[place]["value"] == second[place]["value"] for place in third), "nothing lies behind page 9"

    # Done: nothing that we stored was taken for news, and the newest prediction replaced the older ones.
    until(lambda: all(job["ended_at"] for job in jobs_of(backend.url, project.task)))
    assert [each["id"] for each in project.annotator.predictions(project.task)] == [third_id]
    states = [job["state"] for job in jobs_of(backend.url, project.task)]
    assert set(states) == {"done"}, states


def test_an_event_counts_only_at_the_secret_address(
    project: Project, backend: BackendServer, secret_address: str
) -> None:
    regions = project.annotator.ask(project.ml_backend, project.task, [click(project, RED, "Red")])
    event = {
        "action": "ANNOTATION_CREATED",
        "annotation": {"id": 10**6, "result": regions},
        "task": {"id": project.task, "data": project.annotator.task(project.task)["data"]},
        "project": {"id": project.id, "label_config": CONFIG},
    }
    assert requests.post(f"{backend.url}/webhook", json=event, timeout=10).status_code == 201
    assert requests.post(f"{secret_address[:-1]}-", json=event, timeout=10).status_code == 401
    assert jobs_of(backend.url, project.task) == []
    assert requests.post(secret_address, json=event, timeout=10).status_code == 201
    assert jobs_of(backend.url, project.task)


def test_the_next_task_of_a_chain_begins_with_what_the_last_one_ended_with(
    annotator: Annotator, backend: BackendServer, discs_video: Path
) -> None:
    number = annotator.create_project("chain", CONFIG)
    import_video(backend, discs_video, number, "--max-frames", "5")
    first, second = (int(task["id"]) for task in annotator.tasks(number))
    ml_backend = annotator.connect_backend(number, backend.url)
    project = Project(annotator, number, ml_backend, first, TagNames.of(CONFIG))
    annotator.save_annotation(first, proposed(project, {RED: "Red"}))
    _, found = pushed(replace(project, task=second))
    assert set(found) == {("Red", page) for page in range(5)}
    overlaps = [iou(mask_of(region), DISCS.truth(5 + page, RED)) for (_, page), region in found.items()]
    assert min(overlaps) > 0.6, overlaps


def test_a_job_of_a_killed_backend_is_finished_after_the_restart(
    annotator: Annotator, label_studio: LabelStudio, tmp_path: Path
) -> None:
    slow = {"TAM_TIME_BUDGET_S": "1", "TAM_TRACKER_SIDE": "720", "TAM_DRAFT_WAIT_S": "0"}
    video = write_video(tmp_path / LONGER.name, LONGER)
    number = annotator.create_project("killed", CONFIG)
    with running_backend(label_studio, tmp_path / "backend", extra_env=slow) as backend:
        import_video(backend, video, number, "--max-frames", "0")
        [task] = annotator.tasks(number)
        ml_backend = annotator.connect_backend(number, backend.url)
        project = Project(annotator, number, ml_backend, int(task["id"]), TagNames.of(CONFIG))
        at_once = by_place(proposed(project, {RED: "Red"}))
        assert len(at_once) < LONGER.frames, "the time budget is too short for all of it"

        def under_way() -> dict[str, Any] | None:
            job = jobs_of(backend.url, project.task)[0]
            return job if job["state"] == "running" and job["frames_done"] > len(at_once) + 1 else None

        before = until(under_way)
        os.killpg(backend.process.pid, signal.SIGKILL)
        assert annotator.predictions(project.task) == [], "it was killed in the middle"
    port = int(backend.env["TAM_PORT"])
    until(lambda: free_port(port) == port)
    with running_backend(label_studio, tmp_path / "backend", port=port, extra_env=slow) as again:
        assert again.url == backend.url
        job = until(lambda: [each for each in jobs_of(again.url, project.task) if each["state"] == "done"])[0]
        assert job["id"] == before["id"]
        # Others may be there, who must not see what follows from a draft: its owner presses Propagate again.
        rest = annotator.ask(ml_backend, project.task, [click(project, RED, "Propagate")])
        found = by_place([at_once["Red", 0], *rest])
        assert {page for _, page in found} == set(range(LONGER.frames))
        assert all(found[place]["value"] == region["value"] for place, region in at_once.items())
        overlaps = [iou(mask_of(region), LONGER.truth(page, RED)) for (_, page), region in found.items()]
        assert min(overlaps) > 0.6, overlaps
        metrics = dict(
            line.rsplit(" ", 1) for line in requests.get(f"{again.url}/metrics", timeout=10).text.splitlines()
        )
        tracked_again = float(metrics["tam_frames_propagated_total"])
        assert 0 < tracked_again < LONGER.frames, "what the killed process tracked is not tracked again"
