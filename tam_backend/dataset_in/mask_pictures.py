"""Pictures whose pixels are ids, or black and white: read exactly, without guessing what a softer one might mean."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import InvalidInputError, UnreadableMediaError
from tam_backend.types import BoolMask
from tam_backend.video.images import image_size_hw

VOID = 255
"""In a picture of ids: not judged."""

_WHITE = 128


def read_ids(path: Path) -> NDArray[np.int64]:
    """Read a picture of ids: with a palette, or grey of 8 or 16 bit.

    Grey pixels of only 0 and 255 are one object's mask (DAVIS 2016): it gets the id 1.

    Returns:
        (H, W); 0 is the ground, and `VOID` not judged.

    Raises:
        InvalidInputError: it has colours, which tell no ids.
        MediaError: it is no picture, or too large.
    """
    mode, pixels = _pixels(path)
    if pixels.ndim != 2:
        raise InvalidInputError(
            f"{path.name} is a picture in colours ({mode}), whose pixels are no ids.",
            "Save it as an indexed PNG, pixel = object id.",
        )
    ids = pixels.astype(np.int64)
    if mode == "L" and not np.any((ids > 0) & (ids < VOID)):
        return np.asarray(ids == VOID, np.int64)
    return ids


def read_black_and_white(path: Path) -> BoolMask:
    """Read one object's mask, (H, W): what is white by half, or where there are only 0 and 1, what is 1.

    Raises:
        InvalidInputError: it has colours.
        MediaError: it is no picture, or too large.
    """
    mode, pixels = _pixels(path)
    if pixels.ndim != 2:
        raise InvalidInputError(f"{path.name} is a picture in colours ({mode}), no mask.", "Save it black and white.")
    return np.asarray(pixels > 0 if pixels.max(initial=0) <= 1 else pixels >= _WHITE)


def _pixels(path: Path) -> tuple[str, NDArray[Any]]:
    """Return Pillow's name of the kind of picture, and its pixels as they are stored."""
    from PIL import Image  # noqa: PLC0415 - not needed for `--help`

    image_size_hw(path)  # refuses what is too large before a pixel is decoded
    try:
        with Image.open(path) as image:
            return image.mode, np.asarray(image)
    except (OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise UnreadableMediaError(f"{path.name} cannot be decoded.", "Check that it opens in a viewer.") from error
