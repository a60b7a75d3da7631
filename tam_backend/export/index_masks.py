"""Masks leave as indexed PNGs, as DAVIS has them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import InvalidInputError
from tam_backend.export.palette import davis_palette
from tam_backend.png import mask_png
from tam_backend.types import BoolMask

MAX_OBJECT_ID = 255
"""An indexed PNG has one byte per pixel."""


def save_index_mask(path: str | Path, masks: Mapping[int, BoolMask]) -> None:
    """Write masks as one indexed palette PNG: pixel = object id, 0 = background, DAVIS palette.

    Args:
        path: the PNG; its folder must exist.
        masks: object id (1 to 255) -> (H, W) bool at the original size; where they overlap the higher id is on top.

    Raises:
        InvalidInputError: an id that does not fit in a byte, no masks, or masks of different sizes.
    """
    if not masks:
        raise InvalidInputError(f"There are no masks for {Path(path).name}.", "Give an empty mask for absent objects.")
    shapes = {np.shape(mask) for mask in masks.values()}
    if len(shapes) > 1:
        raise InvalidInputError(f"The masks for {Path(path).name} differ in size: {sorted(shapes)}.", "")
    pixels: NDArray[np.uint8] = np.zeros(shapes.pop(), np.uint8)
    for object_id in sorted(masks):
        if not 1 <= object_id <= MAX_OBJECT_ID:
            raise InvalidInputError(
                f"Object id {object_id} does not fit into an indexed PNG.", f"Use ids from 1 to {MAX_OBJECT_ID}."
            )
        pixels[np.asarray(masks[object_id], bool)] = object_id
    shown = np.flatnonzero(pixels.any(axis=1))
    top, below = (int(shown[0]), int(shown[-1]) + 1) if len(shown) else (0, 0)
    picture = mask_png(pixels[top:below], top, len(pixels), davis_palette().tobytes())
    Path(path).write_bytes(picture)
