"""One mask of two: from a pass that comes from the keyframe before, and one that comes from the keyframe after."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_backend.types import BoolMask, Mask

# Below this IoU the passes speak of different things, and a shape between them would be neither.
_ALIKE = 0.5
# Farther than this from an outline, in pixels, all of a mask is alike.
_REACH = 12.0


def fused(forward: Mask, backward: Mask, position: float) -> Mask:
    """Fuse the masks of two passes by how far each has come and by its quality.

    Where both are alike, outlines are averaged by signed distance; else the weightier one is taken.

    Args:
        forward: of the pass from the keyframe before; (H, W).
        backward: of the pass from the keyframe after; (H, W).
        position: 0..1, of the frame between them.
    """
    ahead, behind = (1 - position) * forward.quality, position * backward.quality
    heavier, lighter = (forward, backward) if ahead >= behind else (backward, forward)
    quality = max(forward.quality, backward.quality)
    union = int(np.count_nonzero(forward.array | backward.array))
    overlap = int(np.count_nonzero(forward.array & backward.array))
    if union == 0:
        return Mask(heavier.array, quality)
    if overlap / union < _ALIKE:
        return (
            heavier
            if heavier.area or not lighter.area
            else Mask(heavier.array, min(heavier.quality, 1 - lighter.quality))
        )
    share = ahead / max(ahead + behind, 1e-9)
    top, left, bottom, right = _bounds(forward.array | backward.array)
    window = slice(top, bottom), slice(left, right)
    depth = share * _depth(forward.array[window]) + (1 - share) * _depth(backward.array[window])
    array = np.zeros_like(forward.array)
    array[window] = depth > 0
    return Mask(array, quality)


def _depth(mask: BoolMask) -> NDArray[np.float32]:
    """Return how deep in the mask each pixel is, in pixels; negative outside; never beyond the reach."""
    inside = cv2.distanceTransform(mask.astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    outside = cv2.distanceTransform((~mask).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_3)
    depth: NDArray[np.float32] = np.clip(inside - 0.5 * mask - (outside - 0.5 * ~mask), -_REACH, _REACH).astype(
        np.float32
    )
    return depth


def _bounds(mask: BoolMask) -> tuple[int, int, int, int]:
    """Return top, left, bottom, right of a mask that is not empty, with a margin of a pixel where there is room."""
    rows, columns = np.flatnonzero(mask.any(1)), np.flatnonzero(mask.any(0))
    height, width = mask.shape
    return (
        max(0, int(rows[0]) - 1),
        max(0, int(columns[0]) - 1),
        min(height, int(rows[-1]) + 2),
        min(width, int(columns[-1]) + 2),
    )
