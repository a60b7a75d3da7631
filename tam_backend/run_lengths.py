"""COCO's compressed run lengths and pixels, by way of the part of a frame that a mask fills: mostly a tenth of it.

pycocotools writes and reads the same bytes, but always goes over the whole frame.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

_Mask = NDArray[np.bool_]


def code_of(mask: _Mask) -> bytes:
    """Return the code of an (H, W) mask."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if not len(rows):
        return code_of_crop(mask[:0, :0], (0, 0), mask.shape)
    top, left = int(rows[0]), int(columns[0])
    return code_of_crop(mask[top : rows[-1] + 1, left : columns[-1] + 1], (top, left), mask.shape)


def code_of_crop(crop: _Mask, corner_yx: tuple[int, int], size_hw: Sequence[int]) -> bytes:
    """Return the code of a mask that lies in a part of its frame; see `EncodedMask.of_crop`."""
    height, width = int(size_hw[0]), int(size_hw[1])
    columns: _Mask = np.zeros((crop.shape[1], crop.shape[0] + 2), np.bool_)
    columns[:, 1:-1] = crop.T
    # Down the columns: first pixel of a run, first pixel after it, and again.
    column, row = np.divmod(np.flatnonzero(columns[:, 1:] != columns[:, :-1]), crop.shape[0] + 1)
    places = (column + corner_yx[1]) * height + row + corner_yx[0]
    # A run that ends at the frame's lower edge goes on at the upper edge of the next column.
    goes_on = np.flatnonzero(places[1:-1:2] == places[2::2])
    places = np.delete(places, np.concatenate((2 * goes_on + 1, 2 * goes_on + 2)))
    counts = np.diff(np.concatenate(([0], places, [height * width])))
    if len(places) and not counts[-1]:
        counts = counts[:-1]  # pycocotools writes none after a run that ends with the frame
    return bytes(coco.frPyObjects({"size": [height, width], "counts": counts.tolist()}, height, width)["counts"])


def crop_of(code: bytes, size_hw: tuple[int, int]) -> tuple[_Mask, tuple[int, int]]:
    """Return the part of a mask with something in it, (h, w) bool, and where its upper left pixel (y, x) lies.

    Raises:
        ValueError: the code does not fill a frame of this size.
    """
    height, width = size_hw
    ends = np.cumsum(_lengths(code))
    if not len(ends) or ends[-1] != height * width or (np.diff(ends) < 0).any() or ends[0] < 0:
        raise ValueError("Invalid run lengths.")
    starts, stops = ends[: len(ends) // 2 * 2 : 2], ends[1::2]
    is_run = stops > starts
    starts, stops = starts[is_run], stops[is_run]
    if not len(starts):
        return np.zeros((0, 0), np.bool_), (0, 0)
    left, right = int(starts[0]) // height, (int(stops[-1]) - 1) // height + 1
    top, bottom = 0, height
    if (starts // height == (stops - 1) // height).all():
        top, bottom = int((starts % height).min()), int(((stops - 1) % height).max()) + 1
    edges = np.concatenate(([left * height], np.stack((starts, stops), axis=1).ravel(), [right * height]))
    columns = np.repeat(np.arange(len(edges) - 1) % 2 == 1, np.diff(edges)).reshape(right - left, height)
    return columns[:, top:bottom].T, (top, left)


def mask_of(code: bytes, size_hw: tuple[int, int]) -> _Mask:
    """Return the (H, W) mask of a code; its columns lie one after the other in memory, as pycocotools gives them.

    Raises: as `crop_of`.
    """
    crop, (top, left) = crop_of(code, size_hw)
    columns: _Mask = np.zeros(size_hw[::-1], np.bool_)
    columns[left : left + crop.shape[1], top : top + crop.shape[0]] = crop.T
    return columns.T


def _lengths(code: bytes) -> NDArray[np.int64]:
    """Return the run lengths down the columns, those outside of the mask first.

    Each is written in digits of 5 bits, the lowest first, as characters from "0" on; 32 says that more follow, and 16
    in the last one that the number is negative. From the fourth number on each is told by what it differs from the one
    two before it.
    """
    digits = np.frombuffer(code, np.uint8).astype(np.int64) - ord("0")
    lasts = np.flatnonzero(digits & 32 == 0)
    if not len(lasts):
        return np.zeros(0, np.int64)
    firsts = np.concatenate(([0], lasts[:-1] + 1))
    places = np.arange(lasts[-1] + 1) - np.repeat(firsts, lasts - firsts + 1)
    numbers = np.add.reduceat((digits[: lasts[-1] + 1] & 31) << 5 * places, firsts)
    numbers -= np.where(digits[lasts] & 16, np.int64(1) << 5 * (places[lasts] + 1), 0)
    numbers[1::2] = np.cumsum(numbers[1::2])
    numbers[2::2] = np.cumsum(numbers[2::2])
    return numbers
