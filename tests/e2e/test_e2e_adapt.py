"""A real Label Studio: two videos are labeled, Start training is pressed, and the third needs fewer clicks.

What the project means by a thing is a pair of discs, red and blue, that go side by side. A click on one of them cannot
tell: the package's networks answer with that disc, and it takes a second click on the other.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pytest
import requests
from labelling import FRAME_CONFIGS, Project, import_video, write_video
from masks_of import mask_of
from synthetic import MovingDiscs, iou

from demo.annotator import Annotator, TagNames
from demo.backend import BackendServer, running_backend, tam_backend
from demo.label_studio import LabelStudio
from tam_backend.adaptation.simulated_clicks import next_click
from tam_backend.labelstudio.encoding import encode_bitmask
from tam_backend.types import BoolMask

# Two minutes on two idle cores, most of it learning; a busy machine takes several times as long.
pytestmark = [pytest.mark.e2e, pytest.mark.timeout(1800)]
CONFIG = FRAME_CONFIGS["BitmaskLabels"]
CORRECTED = (0, 2, 4, 6, 8)
GOOD_IOU, MOST_CLICKS = 0.85, 6
# As many steps on every machine, however busy: minutes only bound them.
BOUNDED = {"TAM_ADAPT_ITERATIONS": "50", "TAM_ADAPT_MINUTES": "30"}
ENDS_WITHIN_S = 900


def pair(name: str, start_xy: tuple[float, float], step_xy: tuple[float, float]) -> MovingDiscs:
    """A red and a blue disc, side by side."""
    other_xy = start_xy[0] + 52, start_xy[1]
    return MovingDiscs(
        frames=10,
        height=240,
        width=320,
        radius=30,
        starts_xy=(start_xy, other_xy),
        steps_xy=(step_xy, step_xy),
        name=name,
    )


LABELED = (pair("pair1.mp4", (60, 70), (6, 3)), pair("pair2.mp4", (200, 150), (-5, -2)))
THIRD = pair("pair3.mp4", (80, 150), (7, -3))


def truth(video: MovingDiscs, frame: int) -> BoolMask:
    """What the project means: both discs."""
    return np.asarray(video.truth(frame, 1) | video.truth(frame, 2))


@dataclass(frozen=True)
class Studio:
    """A project of two labeled videos, and the third one twice: to click before they are learnt from, and after.

    Args:
        before, after: the project, as seen from these two tasks.
    """

    before: Project
    after: Project
    backend: BackendServer


@pytest.fixture(scope="module")
def studio(
    label_studio: LabelStudio, annotator: Annotator, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Studio]:
    folder = tmp_path_factory.mktemp("adapt")
    with running_backend(label_studio, folder / "data", extra_env={**BOUNDED, "TAM_DRAFT_WAIT_S": "1"}) as backend:
        number = annotator.create_project("learns", CONFIG)
        for video in (*LABELED, THIRD, replace(THIRD, name="pair3-again.mp4")):
            import_video(backend, write_video(folder / video.name, video), number)
        ml_backend = annotator.connect_backend(number, backend.url)
        *labeled, third, again = sorted(int(task["id"]) for task in annotator.tasks(number))
        before, after = (Project(annotator, number, ml_backend, task, TagNames.of(CONFIG)) for task in (third, again))
        for task, video in zip(labeled, LABELED, strict=True):
            annotator.save_annotation(task, [by_hand(before, video, frame) for frame in CORRECTED])
        yield Studio(before, after, backend)


def by_hand(project: Project, video: MovingDiscs, frame: int) -> dict[str, Any]:
    """A pair as somebody draws it."""
    value = {"imageDataURL": encode_bitmask(truth(video, frame))}
    return dict(project.page(frame).region(project.tags.masks, "bitmasklabels", value, "Red"))


def clicks_needed(project: Project, frame: int) -> int:
    """Click into the largest error on the third video until the mask is good; return how often that was."""
    meant, answer = truth(THIRD, frame), np.zeros(THIRD.size_hw, bool)
    prompts = []
    for count in range(1, MOST_CLICKS + 1):
        click = next_click(meant, answer)
        assert click is not None
        xy = click.x + 0.5, click.y + 0.5
        prompts.append(project.page(frame).click(project.tags.clicks, xy, "Red", positive=click.positive))
        [region] = project.annotator.ask(project.ml_backend, project.task, prompts)
        answer = mask_of(region)
        if iou(answer, meant) >= GOOD_IOU:
            return count
    return MOST_CLICKS + 1


def trained(studio: Studio, times: int) -> str:
    """Press Start training; return what its job says when it has ended, the one of so many."""
    project = studio.before
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
    said = {"project": f"{studio.before.id}.1", "schema": ""}
    return str(requests.post(f"{studio.backend.url}/setup", json=said, timeout=20).json()["model_version"])


def answered_by(studio: Studio) -> str:
    """Click, propagate and submit on the third video; return which networks the stored prediction is of."""
    project = studio.after
    click = project.page(0).click(project.tags.clicks, THIRD.centre(0), "Red")
    [clicked] = project.annotator.ask(project.ml_backend, project.task, [click])
    project.annotator.save_annotation(project.task, [clicked])
    deadline = time.monotonic() + ENDS_WITHIN_S
    while not (stored := project.annotator.predictions(project.task)):
        assert time.monotonic() < deadline
        time.sleep(0.5)
    return str(stored[0]["model_version"])


def test_start_training_learns_from_two_videos_and_the_third_needs_fewer_clicks(studio: Studio) -> None:
    before = [clicks_needed(studio.before, frame) for frame in (0, 5)]
    name = f"+p{studio.before.id}.1"
    said = trained(studio, 1)
    assert said.startswith("Promoted: ") and f"{name}. The segmenter is better" in said
    assert name in requests.get(studio.backend.url, timeout=20).text
    assert name in tam_backend(studio.backend, "adapt", "--project", str(studio.before.id), "--list")
    assert version_told(studio).endswith(name)
    after = [clicks_needed(studio.after, frame) for frame in (0, 5)]
    assert sum(after) < sum(before), (before, after)
    assert trained(studio, 2) == "Nothing was submitted since the last time."


def test_the_promoted_version_is_used_on_the_next_video_of_its_project_until_it_is_taken_back(studio: Studio) -> None:
    served = version_told(studio)
    assert answered_by(studio) == served
    tam_backend(studio.backend, "adapt", "--project", str(studio.before.id), "--rollback")
    assert version_told(studio) != served
