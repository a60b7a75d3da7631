"""How well a mask agrees with the truth: J (region) and F (boundary), as the DAVIS benchmark defines them."""

from __future__ import annotations

from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

BoolMask = NDArray[np.bool_]

# Perazzi et al., "A Benchmark Dataset and Evaluation Methodology for Video Object Segmentation", CVPR 2016: boundaries
# agree if they are no further apart than this share of the image's diagonal.
BOUNDARY_TOLERANCE = 0.008


class Score(NamedTuple):
    """Region similarity J and contour accuracy F, 0..1 each."""

    region: float
    boundary: float

    @property
    def mean(self) -> float:
        """J&F."""
        return (self.region + self.boundary) / 2


def score(mask: BoolMask, truth: BoolMask) -> Score:
    """Compare two masks of one shape, (H, W) bool."""
    return Score(region_similarity(mask, truth), boundary_accuracy(mask, truth))


def region_similarity(mask: BoolMask, truth: BoolMask) -> float:
    """Return the intersection over union; 1 if both are empty."""
    union = np.count_nonzero(mask | truth)
    return np.count_nonzero(mask & truth) / union if union else 1.0


def boundary_accuracy(mask: BoolMask, truth: BoolMask, tolerance: float = BOUNDARY_TOLERANCE) -> float:
    """Return the F-measure of the boundaries' precision and recall.

    Args:
        mask: (H, W) bool.
        truth: (H, W) bool.
        tolerance: share of the diagonal; the distance is rounded up to whole pixels.
    """
    reach = boundary_reach((mask.shape[0], mask.shape[1]), tolerance)
    found, real = boundary(mask), boundary(truth)
    if not found.any() and not real.any():
        return 1.0
    if not found.any() or not real.any():
        return 0.0
    precision = np.count_nonzero(found & widened(real, reach)) / np.count_nonzero(found)
    recall = np.count_nonzero(real & widened(found, reach)) / np.count_nonzero(real)
    return 2 * precision * recall / (precision + recall) if precision + recall else 0.0


def boundary_reach(size_hw: tuple[int, int], tolerance: float = BOUNDARY_TOLERANCE) -> int:
    """Return how far apart two boundaries may be that still agree, in whole pixels; `tolerance` as above."""
    return int(np.ceil(tolerance * np.hypot(*size_hw)))


def boundary(mask: BoolMask) -> BoolMask:
    """Return the pixels that differ from the one to the right, below, or right below; the image's rim is none."""
    padded = np.pad(mask, ((0, 1), (0, 1)), mode="edge")
    right, below, diagonal = padded[:-1, 1:], padded[1:, :-1], padded[1:, 1:]
    edge: BoolMask = (mask != right) | (mask != below) | (mask != diagonal)
    return edge


def disc(reach: int) -> NDArray[np.uint8]:
    """Return the (2 * reach + 1, 2 * reach + 1) pixels that are no further than `reach` from the middle one, 0 or 1."""
    y, x = np.mgrid[-reach : reach + 1, -reach : reach + 1]
    return np.asarray(x * x + y * y <= reach * reach, np.uint8)


def widened(mask: BoolMask, reach: int) -> NDArray[Any]:
    """Return the pixels that are no further than `reach` from some pixel of the mask, (H, W) bool."""
    return cv2.dilate(mask.astype(np.uint8), disc(reach)).astype(bool)
