"""Objects in one picture: pixel = object id. Where masks overlap, the higher id is on top."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from tam_backend.export.dataset import LabelledFrame
from tam_backend.export.runs import Runs

IGNORED_ID = 255
"""Stands for what is not to be learnt from and not to be judged."""

OVERLAPPED = "pixels where masks overlap: they went to the object with the higher id"
BOXES = "boxes without a mask"


@dataclass(frozen=True, eq=False)
class FlatMasks:
    """A frame's objects in one picture.

    Args:
        pixels: (H, W) uint8: 0 = none, `IGNORED_ID` = ignored, else the object's id.
        overlap: whether masks lost pixels to others.
    """

    pixels: NDArray[np.uint8]
    overlap: bool


def flattened(frame: LabelledFrame, size_hw: tuple[int, int], lost: Counter[str]) -> FlatMasks:
    """Return a frame's objects in one picture.

    Args:
        frame: object ids up to 254.
        size_hw: of the picture, where the frame has no mask that tells.
        lost: takes how many pixels overlapped, and the boxes, which have no place here.
    """
    ignored, masks = frame.masks(ignored=True), frame.masks()
    height, width = frame.size_hw or size_hw
    # As pycocotools decodes: down the columns, which lie one after the other in memory.
    columns: NDArray[np.uint8] = np.zeros((width, height), np.uint8)
    for runs in ignored.values():
        _paint(columns, runs, IGNORED_ID)
    for object_id in sorted(masks):
        _paint(columns, masks[object_id], object_id)
    overlap = bool(ignored)
    if len(masks) > 1:
        shown = int(np.count_nonzero(columns)) - int(np.count_nonzero(columns == IGNORED_ID))
        overlapped = sum(runs.area for runs in masks.values()) - shown
        lost[OVERLAPPED] += overlapped
        overlap = overlap or overlapped > 0
    lost[BOXES] += sum(each.box_xyxy is not None for each in frame.shown)
    return FlatMasks(np.ascontiguousarray(columns.T), overlap)


def _paint(columns: NDArray[np.uint8], runs: Runs, value: int) -> None:
    """Give the pixels of a mask a value; `columns` is (W, H)."""
    crop, (top, left) = runs.crop()
    height, width = crop.shape
    np.copyto(columns[left : left + width, top : top + height], np.uint8(value), where=crop.T)
