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
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.results import mask_results

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
    assert len(masks) == DISCS.frames - 1, "the accepted mask stands in the draft, and is not sent again"
    annotator.save_prediction(project.task, [mask, *masks], "compact", 0.9)

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


def test_a_doubtful_mask_says_that_it_needs_review_and_still_does_when_submitted(
    new_project: Callable[[str], Project], label_studio: LabelStudio
) -> None:
    project = new_project(FRAME_CONFIGS["BrushLabels"])
    config = parse_config(FRAME_CONFIGS["BrushLabels"])
    media = next(each for each in config.media if each.name == project.tags.frames)
    masks = [
        dict(each)
        for frame, quality in enumerate((0.4, 0.9))
        for each in mask_results(
            config.output(media), media, key="red", frame=frame, labels=("Red",), mask=DISCS.truth(frame),
            quality=quality,
            source="propagated",
        )
    ]  # fmt: skip
    prediction = project.annotator.save_prediction(project.task, masks, "compact", 0.4)
    with chromium() as browser:
        page = LabelingPage(browser, label_studio)
        page.open(project.id, project.task)
        assert "needs review" not in page.select(1)
        assert "needs review" in page.select(0)
        page.submit()
    [annotation] = project.annotator.task(project.task)["annotations"]
    assert annotation["parent_prediction"] == prediction, "the report compares with it"
    assert [region["meta"] for region in annotation["result"]] == [region["meta"] for region in masks]
    assert masks[0]["meta"]["text"] == "needs review"
