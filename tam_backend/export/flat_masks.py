"""Objects in one picture: pixel = object id. Where masks overlap, the higher id is on top."""

from __future__ import annotations

from collections import Counter

import numpy as np
from numpy.typing import NDArray

from tam_backend.export.dataset import LabelledFrame

IGNORED_ID = 255
"""Stands for what is not to be learnt from and not to be judged."""

OVERLAPPED = "pixels where masks overlap: they went to the object with the higher id"
BOXES = "boxes without a mask"


def flattened(frame: LabelledFrame, size_hw: tuple[int, int], lost: Counter[str]) -> NDArray[np.uint8]:
    """Return a frame's objects as (H, W) uint8: 0 = none, `IGNORED_ID` = ignored, else the object's id.

    Args:
        frame: object ids up to 254.
        size_hw: of the picture, where the frame has no mask that tells.
        lost: takes how many pixels overlapped, and the boxes, which have no place here.
    """
    ignored, masks = frame.masks(ignored=True), frame.masks()
    pixels: NDArray[np.uint8] = np.zeros(frame.size_hw or size_hw, np.uint8)
    for runs in ignored.values():
        pixels[runs.decoded()] = IGNORED_ID
    overlapped = 0
    for object_id in sorted(masks):
        mask = masks[object_id].decoded()
        if len(masks) > 1:
            under = pixels[mask]
            overlapped += int(np.count_nonzero((under > 0) & (under != IGNORED_ID)))
        pixels[mask] = object_id
    lost[OVERLAPPED] += overlapped
    lost[BOXES] += sum(each.box_xyxy is not None for each in frame.shown)
    return pixels
