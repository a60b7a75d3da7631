"""Masks -> polygons, for what has nothing else: the edges of pixels (COCO), or one closed line (YOLO, Label Studio)."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.types import BoolMask, EncodedMask

LEAST_IOU = 0.98
"""So much of a mask its polygon keeps, whatever the tolerance, where it can."""

MOST_RINGS = 100
"""Parts and holes of a mask beyond it are specks."""

MOST_PIXEL_RINGS = 1000
"""As `MOST_RINGS`, where a polygon is to show every pixel: so many are joined in less than a second."""

_LEAST_CORNERS = 3
_LEAST_TOLERANCE_PX = 0.1
_MOST_PAIRS = 1_000_000


def edge_polygons(runs: EncodedMask) -> list[list[float]] | None:
    """Return the outlines of a mask's parts, along the edges of its pixels, each as [x, y, x, y, ..].

    Filled by pycocotools they are the mask again, but for single pixels at slants.

    Args:
        runs: the mask.

    Returns:
        None where the mask has holes, which COCO's polygons cannot tell; [] where it is empty.
    """
    import cv2  # noqa: PLC0415 - not needed for `--help`

    crop, (top, left) = runs.crop()
    # Every pixel becomes four, so that the centres of the outer ones lie within, a quarter from its edge.
    fine = np.repeat(np.repeat(crop.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, hierarchy = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if hierarchy is not None and (hierarchy[0, :, 3] >= 0).any():
        return None
    corners = [(contour[:, 0, :] + 0.5) / 2 + np.array([left, top]) for contour in contours]
    return [each.ravel().tolist() for each in corners]


def one_polygon(runs: EncodedMask) -> tuple[NDArray[np.int64], float]:
    """Return one closed line around all parts and holes of a mask; parts are joined by a line, there and back.

    Filled by OpenCV's `fillPoly` it is the mask again, and the pixels of the joining lines. Of parts and holes the
    `MOST_PIXEL_RINGS` with the longest outlines count.

    Args:
        runs: the mask.

    Returns:
        (N, 2) corners (x, y), the centres of pixels; N = 0 for an empty mask, else 3 at least. And the IoU of the mask
        and its polygon, which only joining lines and specks beyond `MOST_PIXEL_RINGS` can take from 1.
    """
    import cv2  # noqa: PLC0415 - the same

    crop, (top, left) = runs.crop()
    contours, _ = cv2.findContours(np.ascontiguousarray(crop, np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not contours:
        return np.zeros((0, 2), np.int64), 1.0
    is_one = len(contours) == 1
    # Not by corners: a large rectangle has four.
    largest = sorted(contours, key=lambda contour: cv2.arcLength(contour, closed=True), reverse=True)[:MOST_PIXEL_RINGS]
    line = _joined([np.asarray(contour[:, 0, :], np.int64) for contour in largest])
    if len(line) < _LEAST_CORNERS:
        line = np.concatenate((line, np.repeat(line[-1:], _LEAST_CORNERS - len(line), axis=0)))
    return line + np.array([left, top]), 1.0 if is_one else _overlap(crop, line)


def keyhole_polygon(mask: BoolMask, tolerance_px: float) -> tuple[NDArray[np.float64], float]:
    """Return one closed line of few corners around a mask, along the edges of its pixels.

    Holes are cut open and parts are joined by lines of no width, there and back: filled by whatever rule, they are no
    part of it. Where the tolerance would change the mask by more than 2 %, as with thin and small ones, it is halved
    until it does not. Of parts and holes the `MOST_RINGS` largest count.

    Args:
        mask: (H, W).
        tolerance_px: so far may the line leave the outline.

    Returns:
        (N, 2) corners (x, y) in pixels from the upper left corner of the frame; N = 0 for an empty mask, else 3 at
        least. And the IoU of the mask and its polygon, filled as pycocotools does.
    """
    import cv2  # noqa: PLC0415 - the same

    runs = EncodedMask.of(mask)
    crop, (top, left) = runs.crop()
    if not crop.size:
        return np.zeros((0, 2), np.float64), 1.0
    fine = np.repeat(np.repeat(crop.astype(np.uint8), 2, axis=0), 2, axis=1)
    contours, _ = cv2.findContours(fine, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)
    largest = sorted(contours, key=len, reverse=True)[:MOST_RINGS]
    best, overlap = np.zeros((0, 2), np.float64), -1.0
    tolerance = tolerance_px
    while overlap < LEAST_IOU:
        simple = [cv2.approxPolyDP(contour, 2 * tolerance, closed=True) for contour in largest]  # of half pixels
        rings = [ring[:, 0, :].astype(np.float64) for ring in simple if len(ring) >= _LEAST_CORNERS]
        if rings:
            line = (_joined(rings) + 0.5) / 2 + np.array([left, top])
            found = runs.iou(EncodedMask.of_polygon([(x, y) for x, y in line.tolist()], runs.size_hw))
            if found > overlap:
                best, overlap = line, found
        if not tolerance:
            break
        tolerance = tolerance / 2 if tolerance > _LEAST_TOLERANCE_PX else 0.0
    return best, overlap


def _joined(rings: list[NDArray[Any]]) -> NDArray[Any]:
    """Return one closed line along all rings, which goes there and back between them where they are nearest."""
    line = rings[0]
    # Corners of the rings that are not in the line yet: of which ring, how far off, and from which corner of the line.
    corners = np.concatenate(rings[1:] or [line[:0]])
    owners = np.repeat(np.arange(len(rings) - 1), [len(ring) for ring in rings[1:]])
    gaps, nearest = _nearest(corners, line)
    while len(corners):
        closest = np.flatnonzero(gaps == gaps.min())
        closest = closest[owners[closest] == owners[closest[0]]]
        start = closest[nearest[closest].argmin()]
        here, is_next = nearest[start], owners == owners[start]
        ring = np.concatenate((corners[start:][is_next[start:]], corners[:start][is_next[:start]]))
        line = np.concatenate((line[: here + 1], ring, ring[:1], line[here:]))
        corners, owners, gaps, nearest = (each[~is_next] for each in (corners, owners, gaps, nearest))
        nearest[nearest > here] += len(ring) + 2  # it lies behind what came into the line
        # Only what came in can be nearer; of two as near, the one earlier in the line counts.
        new_gaps, new_nearest = _nearest(corners, ring)
        is_nearer = (new_gaps < gaps) | ((new_gaps == gaps) & (nearest > here))
        gaps, nearest = np.where(is_nearer, new_gaps, gaps), np.where(is_nearer, here + 1 + new_nearest, nearest)
    return line


def _overlap(crop: BoolMask, corners: NDArray[np.int64]) -> float:
    """Return the IoU of a mask and its polygon, as readers fill it."""
    import cv2  # noqa: PLC0415 - the same

    filled: NDArray[np.uint8] = np.zeros(crop.shape, np.uint8)
    cv2.fillPoly(filled, [corners.astype(np.int32)], (1,))
    return float(np.count_nonzero(crop & (filled > 0)) / np.count_nonzero(crop | (filled > 0)))


def _nearest(corners: NDArray[Any], line: NDArray[Any]) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Return for each corner the smallest squared distance to a corner of a line, and which one that is: the first."""
    at_once = max(1, _MOST_PAIRS // len(line))  # all against all would take gigabytes for ragged masks
    gaps, nearest = np.zeros(len(corners), line.dtype), np.zeros(len(corners), np.int64)
    for first in range(0, len(corners), at_once):
        part = slice(first, first + at_once)
        squared = (corners[part, :1] - line[:, 0]) ** 2 + (corners[part, 1:] - line[:, 1]) ** 2
        nearest[part] = squared.argmin(axis=1)
        gaps[part] = squared.min(axis=1)
    return gaps, nearest
