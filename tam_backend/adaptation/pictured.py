"""What the networks of before, the learnt ones and people say of a few held-out frames, drawn side by side."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import cv2
import numpy as np

from tam_backend.adaptation.judging import Scores
from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.outcome import ComparedFrame
from tam_backend.errors import MediaError
from tam_backend.export.painting import Painter
from tam_backend.types import BoolMask, RgbFrame

Answers = Callable[[LabeledVideo, Sequence[int]], Mapping[int, Mapping[int, BoolMask]]]
"""(video, judged frames) -> frame -> object -> (H, W) mask, as one of the networks answers there."""

PANEL_SIDE = 320
"""Pixels that a picture's three panels are wide or high at most."""
_GAP, _GREY, _QUALITY = 6, 128, 80
# Of the objects' own extent so much is shown around them, and never fewer pixels.
_MARGIN, _LEAST_MARGIN = 0.5, 24


def telling_frames(before: Scores, after: Scores) -> list[tuple[str, str, int]]:
    """Choose the frame with the largest gain, that with the median one, and that with the largest loss.

    Args:
        before, after: video -> frame -> 0..1.

    Returns:
        (which of these it is, video, frame) each; fewer where fewer frames were judged both times.
    """
    gains = sorted(
        (after[name][at] - before[name][at], name, at)
        for name in before.keys() & after.keys()
        for at in before[name].keys() & after[name].keys()
    )
    if not gains:
        return []
    lowest = "largest loss" if gains[0][0] < 0 else "smallest gain"
    highest = "largest gain" if gains[-1][0] > 0 else "smallest loss"
    places = {len(gains) - 1: highest, 0: lowest, (len(gains) - 1) // 2: "median"}
    if len(gains) < 3:
        places = {0: lowest, len(gains) - 1: highest}
    return [(places[place], *gains[place][1:]) for place in sorted(places, reverse=True)]


def compared_frames(
    network: str,
    scores: tuple[Scores, Scores],
    videos: Sequence[LabeledVideo],
    answers: tuple[Answers, Answers],
    notes: list[str],
) -> list[ComparedFrame]:
    """Draw the telling frames; of people's masks those of the objects that the networks were judged by.

    Args:
        network: what people call it.
        scores: before and after.
        videos: held out.
        answers: before and after.
        notes: gets a sentence on a video that cannot be read any more.
    """
    chosen = telling_frames(*scores)
    drawn: list[ComparedFrame] = []
    for labeled in videos:
        here = [(choice, at) for choice, name, at in chosen if name == labeled.name]
        try:
            before, after = (answer(labeled, [at for _, at in here]) if here else {} for answer in answers)
            for choice, at in here:
                said = before.get(at, {}), after.get(at, {})
                truth = labeled.masks[at]
                people = {each: np.asarray(truth == each) for each in sorted(said[0].keys() | said[1].keys())}
                jpeg = _side_by_side(labeled.video[at], (*said, people))
                then, now = (100 * score[labeled.name][at] for score in scores)
                drawn.append(ComparedFrame(network, choice, labeled.name, at, then, now, jpeg))
        except MediaError as error:
            notes.append(f"{labeled.name} could not be shown: {error.message}")
    order = [choice for choice, _, _ in chosen]
    return sorted(drawn, key=lambda each: order.index(each.choice))


def _side_by_side(frame: RgbFrame, said: Sequence[Mapping[int, BoolMask]]) -> bytes:
    """Return a JPEG with a panel for each of what was said, cut out around all of it."""
    rows, columns = _around([mask for masks in said for mask in masks.values()], frame.shape[:2])
    shown = np.ascontiguousarray(frame[rows, columns])
    scale = min(1.0, PANEL_SIDE / max(shown.shape[:2]))
    painter = Painter((max(1, round(shown.shape[0] * scale)), max(1, round(shown.shape[1] * scale))), texts=False)
    panels = [
        painter.paint_scaled(shown, {each: mask[rows, columns] for each, mask in masks.items()}, {}) for masks in said
    ]
    gap = np.full((panels[0].shape[0], _GAP, 3), _GREY, np.uint8)
    strip = np.hstack([panels[0], *(part for panel in panels[1:] for part in (gap, panel))])
    quality = [cv2.IMWRITE_JPEG_QUALITY, _QUALITY]
    _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(strip, cv2.COLOR_RGB2BGR), quality)
    return jpeg.tobytes()


def _around(masks: Sequence[BoolMask], size_hw: tuple[int, ...]) -> tuple[slice, slice]:
    """Return the rows and columns that show all masks and something around them; all, where there are none."""
    found = np.zeros(size_hw, np.bool_)
    for mask in masks:
        found |= mask
    slices = []
    for axis in (1, 0):
        there = np.flatnonzero(found.any(axis))
        if not there.size:
            return slice(None), slice(None)
        margin = max(_LEAST_MARGIN, round(_MARGIN * (there[-1] - there[0])))
        slices.append(slice(max(0, int(there[0]) - margin), int(there[-1]) + margin + 1))
    return slices[0], slices[1]
