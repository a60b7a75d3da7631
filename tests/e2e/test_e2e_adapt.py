"""A real Label Studio: two videos are labeled, Start training is pressed, and the third gets what was learnt.

How much better it becomes is measured elsewhere (docs/adaptation.md); 12 seconds on ten frames show the way there.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
import requests
from labelling import DISCS, FRAME_CONFIGS, Project, import_video, write_video
from safetensors.torch import load_file, save
from synthetic import MovingDiscs

from demo.annotator import Annotator, TagNames
from demo.backend import BackendServer, running_backend, tam_backend
from demo.label_studio import LabelStudio
from tam_backend.labelstudio.encoding import encode_bitmask
from tam_backend.models import zoo
from tam_backend.store.adapted_networks import AdaptedNetworks, Findings
from tam_backend.store.database import Database, sqlite_url

pytestmark = pytest.mark.e2e
CONFIG = FRAME_CONFIGS["BitmaskLabels"]
RED, CORRECTED = 1, (0, 4, 8)
ENDS_WITHIN_S = 120


@dataclass(frozen=True)
class Studio:
    """A project of three videos, of which two are labeled."""

    project: Project
    backend: BackendServer
    data_dir: Path


@pytest.fixture(scope="module")
def studio(
    label_studio: LabelStudio, annotator: Annotator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("adapt")
    videos = [replace(DISCS, name=f"discs{number}.mp4", steps_xy=((6, number), (-5, -2))) for number in (1, 2, 3)]
    extra = {"TAM_ADAPT_MINUTES": "0.2", "TAM_DRAFT_WAIT_S": "1"}
    with running_backend(label_studio, folder / "data", extra_env=extra) as backend:
        number = annotator.create_project("learns", CONFIG)
        for each in videos:
            import_video(backend, write_video(folder / each.name, each), number)
        ml_backend = annotator.connect_backend(number, backend.url)
        *labeled, third = sorted(int(task["id"]) for task in annotator.tasks(number))
        project = Project(annotator, number, ml_backend, third, TagNames.of(CONFIG))
        for task, video in zip(labeled, videos, strict=False):
            annotator.save_annotation(task, [by_hand(project, video, frame) for frame in CORRECTED])
        yield Studio(project, backend, folder / "data")


def by_hand(project: Project, video: MovingDiscs, frame: int) -> dict[str, Any]:
    """The red disc as somebody draws it."""
    value = {"imageDataURL": encode_bitmask(video.truth(frame, RED))}
    return dict(project.page(frame).region(project.tags.masks, "bitmasklabels", value, "Red"))


def trained(studio: Studio, times: int) -> str:
    """Press Start training; return what its job says when it has ended, the one of so many."""
    project = studio.project
    project.annotator.call("POST", f"/api/ml/{project.ml_backend}/train")
    deadline = time.monotonic() + ENDS_WITHIN_S
    while True:
        jobs = requests.get(f"{studio.backend.url}/jobs", timeout=20).json()["jobs"]
        ours = [job for job in jobs if job["kind"] == "adaptation" and job["project"] == str(project.id)]
        if len(ours) == times and ours[0]["ended_at"]:
            assert ours[0]["state"] == "done", ours
            return str(ours[0]["message"])
        assert time.monotonic() < deadline, jobs
        time.sleep(0.5)


def version_told(studio: Studio) -> str:
    """What the backend tells Label Studio when the project connects."""
    said = {"project": f"{studio.project.id}.1", "schema": ""}
    return str(requests.post(f"{studio.backend.url}/setup", json=said, timeout=20).json()["model_version"])


def answered_by(studio: Studio) -> str:
    """Click, propagate and submit on the third video; return which networks the stored prediction is of."""
    project = studio.project
    click = project.page(0).click(project.tags.clicks, DISCS.centre(0, RED), "Red")
    [clicked] = project.annotator.ask(project.ml_backend, project.task, [click])
    project.annotator.save_annotation(project.task, [clicked])
    deadline = time.monotonic() + ENDS_WITHIN_S
    while not (stored := project.annotator.predictions(project.task)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return str(stored[0]["model_version"])


def test_start_training_learns_from_the_labeled_videos_and_shows_what_came_of_it(studio: Studio) -> None:
    name = f"+p{studio.project.id}.1"
    assert name in trained(studio, 1)
    assert name in requests.get(studio.backend.url, timeout=20).text
    assert name in tam_backend(studio.backend, "adapt", "--project", str(studio.project.id), "--list")
    assert trained(studio, 2) == "Nothing was submitted since the last time."


def test_a_promoted_version_is_used_on_the_next_video_of_its_project(studio: Studio) -> None:
    """So short a time need not make the networks better: here a version is promoted whatever came of it."""
    _, tracker = zoo.profile("compact").weights
    adapted = AdaptedNetworks(Database(sqlite_url(studio.data_dir / "tam.sqlite")))
    project, base = str(studio.project.id), zoo.profile("compact").version
    made = adapted.add(project, base, "by hand", Findings("As if."), {"tracker": save(load_file(tracker))})
    assert version_told(studio) == made.name
    assert answered_by(studio) == made.name
    tam_backend(studio.backend, "adapt", "--project", project, "--rollback")
    assert version_told(studio) != made.name
