"""Start from what is there, in a real Label Studio: a detector's predictions, and boxes that a team drew."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable

import pytest
from labelling import DISCS, FRAME_CONFIGS, Project
from masks_of import label_of, mask_of
from synthetic import iou

from demo.annotator import Region
from demo.backend import BackendServer, console_script

pytestmark = pytest.mark.e2e
RED, BLUE = 1, 2
TEAM = """<RectangleLabels name="team" toName="pages"><Label value="Red"/><Label value="Blue"/></RectangleLabels>
<Number name="track_id" toName="pages" perRegion="true"/></View>"""
CONFIG = FRAME_CONFIGS["BrushLabels"].replace("</View>", TEAM)


def asking(source: str) -> str:
    return CONFIG.replace("valueList", f'tamPromptFrom="{source}" valueList')


def team_box(project: Project, frame: int, disc: int, name: str) -> Region:
    (x, y), r = DISCS.centre(frame, disc), DISCS.radius + 3
    drawn = project.page(frame).box("team", (x - r, y - r, x + r, y + r), "Red" if disc == RED else "Blue")
    return {**drawn, "id": name}


def numbered(box: Region, track: int) -> list[Region]:
    """A box and, as the editor writes it, what a human put into the Number tag of its region."""
    return [box, {**box, "from_name": "track_id", "type": "number", "value": {**box["value"], "number": track}}]


def assert_both_are_followed(results: list[Region]) -> None:
    masks = {(each["item_index"], label_of(each)): mask_of(each) for each in results}
    wanted = {(frame, label): disc for frame in range(DISCS.frames) for label, disc in (("Red", RED), ("Blue", BLUE))}
    assert masks.keys() == wanted.keys()
    for (frame, label), disc in wanted.items():
        assert iou(masks[frame, label], DISCS.truth(frame, disc)) > 0.7, (frame, label)
    assert len({each["id"].split("-")[1] for each in results}) == 2, "two objects"


def propagated(project: Project) -> list[Region]:
    return project.annotator.ask(
        project.ml_backend, project.task, [project.page(3).click(project.tags.clicks, (5, 5), "Propagate")]
    )


def run_propagate(backend: BackendServer, project: Project, *options: str) -> str:
    """Run the real `tam-backend propagate`; return what it says."""
    done = subprocess.run(
        [console_script(), "propagate", "--project", str(project.id), *options],
        env={**os.environ, **backend.env, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stderr


def test_propagate_without_a_click_begins_with_a_detectors_predictions(new_project: Callable[[str], Project]) -> None:
    project = new_project(asking("predictions"))
    boxes = [team_box(project, 0, RED, "red"), team_box(project, 4, BLUE, "blue")]
    project.annotator.save_prediction(project.task, boxes, "detector", 0.8)
    assert_both_are_followed(propagated(project))


def test_propagate_without_a_click_begins_with_what_a_team_drew(new_project: Callable[[str], Project]) -> None:
    project = new_project(asking("team"))
    boxes = [team_box(project, 0, RED, "red"), team_box(project, 4, BLUE, "blue")]
    project.annotator.save_annotation(project.task, boxes)
    assert_both_are_followed(propagated(project))


def test_the_command_line_tracks_a_project_and_stores_predictions(
    new_project: Callable[[str], Project], backend: BackendServer
) -> None:
    project = new_project(CONFIG)
    boxes = [
        *numbered(team_box(project, 0, RED, "r0"), 1),
        *numbered(team_box(project, 0, BLUE, "b0"), 2),
        *numbered(team_box(project, 9, RED, "r9"), 1),
        *numbered(team_box(project, 9, BLUE, "b9"), 2),
    ]
    annotation = project.annotator.save_annotation(project.task, boxes)
    said = run_propagate(backend, project, "--prompt-from", "team", "--dry-run")
    assert "4 of 4 regions" in said and "4 tied by an id" in said
    assert project.annotator.predictions(project.task) == []
    said = run_propagate(backend, project, "--prompt-from", "team")
    assert "1 of 1 tasks were tracked" in said
    [prediction] = project.annotator.predictions(project.task)
    assert_both_are_followed(prediction["result"])
    sources = {(each["item_index"], each["meta"]["tam_source"]) for each in prediction["result"]}
    assert {frame for frame, source in sources if source == "started"} == {0, 9}
    [kept] = project.annotator.task(project.task)["annotations"]
    assert (kept["id"], [each["id"] for each in kept["result"]]) == (annotation, [each["id"] for each in boxes])
