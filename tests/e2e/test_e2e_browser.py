"""What an annotator sees: a stored prediction, opened in a real browser, shows its masks on their pages."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import cv2
import numpy as np
import pytest
from browser import LabelingPage, chromium
from labelling import DISCS, FRAME_CONFIGS, Project
from synthetic import iou

from demo.label_studio import LabelStudio

pytestmark = pytest.mark.e2e
SCREENSHOTS = Path(".demo/screenshots")


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_a_stored_prediction_shows_its_masks_on_their_pages(
    new_project: Callable[[str], Project], label_studio: LabelStudio, kind: str
) -> None:
    project = new_project(FRAME_CONFIGS[kind])
    annotator = project.annotator
    click = project.page(0).click(project.tags.clicks, DISCS.centre(0), "Red")
    [mask] = annotator.ask(project.ml_backend, project.task, [click])
    draft = annotator.save_draft(project.task, [mask])
    click = project.page(0).click(project.tags.clicks, DISCS.centre(0), "Propagate")
    masks = annotator.ask(project.ml_backend, project.task, [click])
    annotator.call("DELETE", f"/api/drafts/{draft}")
    annotator.save_prediction(project.task, masks, "compact", 0.9)

    with chromium() as browser:
        page = LabelingPage(browser, label_studio)
        page.open(project.id, project.task)
        assert page.regions() == DISCS.frames
        for frame in (0, 4, DISCS.frames - 1):
            page.go_to(frame + 1)
            drawn = page.drawn()
            truth = DISCS.truth(frame).astype(np.uint8)
            seen = cv2.resize(truth, drawn.shape[::-1], interpolation=cv2.INTER_NEAREST) > 0
            assert iou(drawn, seen) > 0.6, f"page {frame + 1}"
            SCREENSHOTS.mkdir(parents=True, exist_ok=True)
            browser.save_screenshot(str(SCREENSHOTS / f"{kind}-page-{frame + 1}.png"))
