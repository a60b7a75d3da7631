# ruff: noqa: F811 - fixtures are imported
"""Masks as polygons in Label Studio's own editor: drawn as they are, corrected by their corners, and tracked from."""

from __future__ import annotations

import time
from collections.abc import Callable

import cv2
import numpy as np
import pytest
from editor import Editor
from in_the_editor import backend, editor, shot  # noqa: F401 - fixtures
from labelling import DISCS, FRAME_CONFIGS, Project
from synthetic import iou

from demo.annotator import Region
from tam_backend.labelstudio.polygons import decode_polygon, encode_polygon
from tam_backend.types import BoolMask

pytestmark = pytest.mark.e2e
CONFIG = FRAME_CONFIGS["BrushLabels"].replace("BrushLabels", "PolygonLabels")
SIZE_HW = (DISCS.height, DISCS.width)
RED = 1
FAINT = 6


def shown(region: Region) -> BoolMask:
    return decode_polygon(region["value"], SIZE_HW)


def test_the_editor_draws_holes_and_parts_as_they_are(new_project: Callable[[str], Project], editor: Editor) -> None:
    project = new_project(CONFIG)
    canvas = np.zeros(SIZE_HW, np.uint8)
    cv2.circle(canvas, (100, 120), 70, 1, -1)
    cv2.circle(canvas, (100, 120), 35, 0, -1)
    cv2.circle(canvas, (250, 120), 40, 1, -1)
    mask = canvas > 0
    ring = {
        **project.page(0).region("shapes", "polygonlabels", encode_polygon(mask)[0], "Red"),
        "id": "tam-ring-0f",
        "origin": "prediction",
    }
    project.annotator.save_prediction(project.task, [ring], "imported-by-hand", 0.9)
    editor.open(project.id, project.task)
    shot(editor, "polygon-ring")
    drawn = editor.drawn(FAINT)  # the fill is nearly transparent
    small = cv2.resize(drawn.astype(np.uint8), SIZE_HW[::-1], interpolation=cv2.INTER_NEAREST) > 0
    assert small[165:178, 95:105].mean() > 0.95 and small[95:105, 245:255].mean() > 0.95, "both parts are filled"
    assert not small[110:130, 90:110].any(), "the hole is open"
    assert not small[20:40, 180:300].any() and small[100:150, 175:205].mean() < 0.2, "but a line lies between the parts"


def test_click_propagate_and_a_polygon_that_a_human_moves(
    new_project: Callable[[str], Project], editor: Editor
) -> None:
    project = new_project(CONFIG)
    editor.open(project.id, project.task)
    editor.auto_annotation(auto_accept=True)
    editor.prompt("Red", DISCS.centre(0, RED))
    editor.prompt("Propagate", (300, 20))
    masks = {each["item_index"]: each for each in editor.masks()}
    assert sorted(masks) == list(range(DISCS.frames))
    assert all(iou(shown(each), DISCS.truth(frame, RED)) > 0.7 for frame, each in masks.items())
    editor.submit()
    [annotation] = project.annotator.task(project.task)["annotations"]
    stored = {each["item_index"]: each for each in annotation["result"] if each["type"] == "polygonlabels"}
    assert all((shown(stored[frame]) == shown(each)).all() for frame, each in masks.items()), "saved as it was sent"
    prediction = waited_for(project, lambda found: len(found) == DISCS.frames)
    assert all((shown(prediction[frame]) == shown(each)).all() for frame, each in masks.items()), "nobody changed any"

    editor.open(project.id, project.task)
    editor.select_in_list(masks[0]["id"])
    x, y = DISCS.centre(0, RED)
    editor.drag((x, y), (x - 12, y))
    shot(editor, "polygon-moved")
    [moved] = [each for each in editor.masks() if each["id"] == masks[0]["id"]]
    assert 0.3 < iou(shown(moved), shown(masks[0])) < 0.9
    assert moved["origin"] == "prediction", "the editor says that nobody changed it: the corners tell"
    project.annotator.update_annotation(annotation["id"], editor.results())
    corrected = waited_for(project, lambda found: bool(found) and 0 not in found)
    assert sorted(corrected) == list(range(1, DISCS.frames)), "the human's mask is never sent back"


def waited_for(project: Project, condition: Callable[[dict[int, Region]], bool]) -> dict[int, Region]:
    """Wait until the backend has stored a prediction of which this is true; return its masks by their pages."""
    until_s = time.monotonic() + 60
    while time.monotonic() < until_s:
        for each in project.annotator.predictions(project.task):
            found = {region["item_index"]: region for region in each["result"]}
            if condition(found):
                return found
        time.sleep(0.5)
    raise AssertionError(project.annotator.predictions(project.task))
