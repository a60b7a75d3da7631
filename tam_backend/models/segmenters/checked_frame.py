"""What every segmenter asks of a frame before it looks at it."""

from __future__ import annotations

import numpy as np

from tam_backend.errors import InvalidInputError
from tam_backend.types import RgbFrame


def frame_size_hw(frame: RgbFrame) -> tuple[int, int]:
    """Return the (height, width) of a frame.

    Raises:
        InvalidInputError: it is no (H, W, 3) uint8 array, or has no pixels.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8 or frame.size == 0:
        raise InvalidInputError(f"A frame must be (H, W, 3) uint8 RGB, not {frame.shape} {frame.dtype}.")
    return frame.shape[0], frame.shape[1]
