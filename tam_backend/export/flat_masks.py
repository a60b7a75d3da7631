"""Objects in one picture: pixel = object id. Where masks overlap, the higher id is on top."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_backend.export.dataset import LabelledFrame

IGNORED_ID = 255
"""Stands for what is not to be learnt from and not to be judged."""

OVERLAPPED = "pixels where masks overlap: they went to the object with the higher id"
BOXES = "boxes without a mask"


@dataclass(frozen=True, eq=False)
class FlatMasks:
    """A frame's objects in one picture.

    Args:
        rows: (h, W) uint8: the rows with something in them; 0 = none, `IGNORED_ID` = ignored, else the object's id.
        top: the first one's place in the picture.
        size_hw: of the picture.
        overlap: whether masks lost pixels to others.
    """

    rows: NDArray[np.uint8]
    top: int
    size_hw: tuple[int, int]
    overlap: bool


def flattened(frame: LabelledFrame, size_hw: tuple[int, int], lost: Counter[str]) -> FlatMasks:
    """Return a frame's objects in one picture.

    Args:
        frame: object ids up to 254.
        size_hw: of the picture, where the frame has no mask that tells.
        lost: takes how many pixels overlapped, and the boxes, which have no place here.
    """
    ignored, masks = frame.masks(ignored=True), frame.masks()
    painted = [(IGNORED_ID, mask.crop()) for mask in ignored.values()]
    painted += [(object_id, masks[object_id].crop()) for object_id in sorted(masks)]
    painted = [(value, (crop, corner)) for value, (crop, corner) in painted if crop.size]
    top = min((corner[0] for _, (_, corner) in painted), default=0)
    bottom = max((corner[0] + len(crop) for _, (crop, corner) in painted), default=0)
    height, width = frame.size_hw or size_hw
    rows: NDArray[np.uint8] = np.zeros((bottom - top, width), np.uint8)
    for value, (crop, (y, x)) in painted:
        np.copyto(rows[y - top : y - top + crop.shape[0], x : x + crop.shape[1]], np.uint8(value), where=crop)
    overlap = bool(ignored)
    if len(masks) > 1:
        shown = int(np.count_nonzero(rows)) - int(np.count_nonzero(rows == IGNORED_ID))
        overlapped = sum(mask.area for mask in masks.values()) - shown
        lost[OVERLAPPED] += overlapped
        overlap = overlap or overlapped > 0
    lost[BOXES] += sum(each.box_xyxy is not None for each in frame.shown)
    return FlatMasks(rows, top, (height, width), overlap)
