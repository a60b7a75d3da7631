"""Run lengths, polygons and pictures that others wrote -> masks, checked before anything of their size is made."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from tam_backend.errors import InvalidInputError
from tam_backend.types import EncodedMask
from tam_backend.video.limits import check_pixel_count

MAX_RUNS = 2_000_000
"""The most runs of a mask: noise at 1080p has half as many."""

_MAX_CODE = 6 * MAX_RUNS
_MAX_CORNERS = 100_000
_MAX_POLYGONS = 10_000  # to join them takes time by the square
_FIRST, _LAST = 48, 48 + 63  # the characters of COCO's code: six bits each
_MOST_DIGITS = 12  # of five bits: more than a run of any frame takes
_REMEDY = "Write the dataset anew with pycocotools."


def from_code(code: str | bytes, size_hw: tuple[int, int], name: str) -> EncodedMask:
    """Take COCO's compressed run lengths.

    Args:
        code: what pycocotools calls counts.
        size_hw: (height, width) of the frame.
        name: of the mask, for messages.

    Raises:
        InvalidInputError: it is no such code, or of a frame of another size.
        MediaTooLargeError: the frame is too large.
    """
    try:
        data = code.encode("ascii") if isinstance(code, str) else code
    except UnicodeEncodeError as error:
        raise _broken(name) from error
    if len(data) > _MAX_CODE or (data and not _FIRST <= min(data) <= max(data) <= _LAST):
        raise _broken(name)
    return from_lengths(_lengths(data, name), size_hw, name)


def _lengths(data: bytes, name: str) -> list[int]:
    """Decode: five bits a character, the sixth says that more follow; from the third run on, what one has more than
    the run two before it.
    """
    lengths: list[int] = []
    value = digits = 0
    for byte in data:
        part = byte - _FIRST
        value |= (part & 0x1F) << 5 * digits
        digits += 1
        if part & 0x20:
            if digits > _MOST_DIGITS:
                raise _broken(name)
            continue
        if part & 0x10:
            value -= 1 << 5 * digits
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = digits = 0
    if digits:
        raise _broken(name)
    return lengths


def from_lengths(lengths: Sequence[Any], size_hw: tuple[int, int], name: str) -> EncodedMask:
    """Take run lengths down the columns, the first of them outside of the mask.

    Raises: as `from_code`.
    """
    height, width = size_hw
    check_pixel_count(name, width, height)
    if len(lengths) > MAX_RUNS or not all(type(each) is int and 0 <= each <= height * width for each in lengths):
        raise _broken(name)
    if sum(lengths) != height * width:
        raise InvalidInputError(
            f"The run lengths of {name} make {sum(lengths)} pixels; its frame of {width} x {height} has "
            f"{height * width}.",
            _REMEDY,
        )
    # Where the mask begins and ends; two at one place (a run of no pixels) cancel out, so that a mask has one code.
    places, times = np.unique(np.cumsum(np.asarray(lengths[:-1], np.int64)), return_counts=True)
    turns = places[(times % 2 == 1) & (places < height * width)]
    canonical = np.diff(np.concatenate(([0], turns, [height * width]))).tolist()
    code = coco.frPyObjects({"size": [height, width], "counts": canonical}, height, width)
    return EncodedMask(bytes(code["counts"]), size_hw)


def from_segmentation(drawn: Any, size_hw: tuple[int, int], name: str) -> EncodedMask:
    """Take what COCO calls a segmentation: polygons, or run lengths with their size.

    Raises: as `from_code` and `from_polygons`.
    """
    if isinstance(drawn, list):
        return from_polygons(drawn, size_hw, name)
    if not isinstance(drawn, dict) or drawn.get("size") != list(size_hw):
        raise InvalidInputError(
            f"The mask of {name} is not of its image's size, {size_hw[1]} x {size_hw[0]}.", "Write the dataset anew."
        )
    counts = drawn.get("counts")
    if isinstance(counts, list):
        return from_lengths(counts, size_hw, name)
    if not isinstance(counts, str):
        raise InvalidInputError(f"The mask of {name} has no run lengths.", "Write the dataset anew.")
    return from_code(counts, size_hw, name)


def from_polygons(polygons: Sequence[Any], size_hw: tuple[int, int], name: str) -> EncodedMask:
    """Fill polygons, each [x, y, x, y, ..] in pixels, as COCO's tools do.

    Raises:
        InvalidInputError: one has fewer than three corners, or lies far outside of the frame; or there are more of
            them, or more ragged ones, than can be filled.
        MediaTooLargeError: the frame is too large.
    """
    height, width = size_hw
    check_pixel_count(name, width, height)
    if len(polygons) > _MAX_POLYGONS:
        raise InvalidInputError(f"The mask of {name} has {len(polygons):,} polygons.", _REMEDY)
    outlines = []
    for each in polygons:
        corners = numbers(each, name)
        if len(corners) < 6 or len(corners) % 2:
            raise InvalidInputError(f"A polygon of {name} has {len(corners) / 2:g} corners.", "It takes 3 at least.")
        x, y = corners[::2], corners[1::2]
        # Filling takes time and memory by the length of the edges.
        if min(x.min() / width, y.min() / height) < -1 or max(x.max() / width, y.max() / height) > 2:
            raise InvalidInputError(
                f"A polygon of {name} lies outside of its frame of {width} x {height} pixels.",
                "Corners are pixels, from the upper left.",
            )
        outlines.append(corners.reshape(-1, 2))
    try:
        return EncodedMask.of_polygons(outlines, size_hw)
    except InvalidInputError as error:
        raise InvalidInputError(f"The mask of {name} cannot be filled. {error.message}", _REMEDY) from error


def numbers(values: Any, name: str) -> NDArray[np.float64]:
    """Return a list of JSON as numbers.

    Raises:
        InvalidInputError: it is none, or too long.
    """
    is_list = isinstance(values, list) and len(values) <= 2 * _MAX_CORNERS
    if not is_list or not all(isinstance(each, (int, float)) and not isinstance(each, bool) for each in values):
        raise InvalidInputError(f"{name} has a polygon that is no list of numbers.", "Correct the file.")
    try:
        found = np.asarray(values, np.float64)
    except OverflowError:
        found = np.array([np.inf])
    if not np.isfinite(found).all():
        raise InvalidInputError(f"{name} has a corner that is no number.", "Correct the file.")
    return found


def _broken(name: str) -> InvalidInputError:
    return InvalidInputError(f"The run lengths of {name} are damaged.", _REMEDY)
