"""Clicks as planes for a network, and masks that agree with the clicks they answer."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from tam_backend.types import BoolMask, Point

# A filled OpenCV circle of radius 4, as in training, covers 57 pixels: a disc of this radius covers as many.
DISC_RADIUS_PX = 4.3
# A click that the network does not follow still gets (or clears) this much of the frame's shorter side around it.
_FORCED_RADIUS_SHARE = 0.01


def click_discs(points: Sequence[Point], size_hw: tuple[int, int], device: torch.device) -> Tensor:
    """Draw points as discs.

    Args:
        points: in pixels of the plane; their signs are ignored.
        size_hw: of the plane.
        device: of the result.

    Returns:
        (1, 1, H, W) float32: 1 in the discs, else 0.
    """
    plane = torch.zeros(1, 1, *size_hw, device=device)
    rows = torch.arange(size_hw[0], device=device)[:, None] + 0.5
    columns = torch.arange(size_hw[1], device=device)[None] + 0.5
    for point in points:
        near = (columns - point.x) ** 2 + (rows - point.y) ** 2 <= DISC_RADIUS_PX**2
        plane[0, 0][near] = 1
    return plane


def honour_clicks(mask: BoolMask, probability: NDArray[np.float32], points: Sequence[Point]) -> BoolMask:
    """Make a mask contain the positive clicks and leave out the negative ones, whatever the network said.

    Around a click that it missed, the connected region whose probability is at least (at most) as decided as the
    click's own is added (removed), within a disc; where clicks of both signs share a pixel the later one holds.

    Args:
        mask: (H, W) bool.
        probability: (H, W) float32 that the mask was thresholded from.
        points: in pixels of the mask.

    Returns:
        (H, W) bool; `mask` itself is left alone.
    """
    honoured = mask.copy()
    for point in points:
        x, y = _pixel(point, mask.shape)
        if honoured[y, x] == point.positive:
            continue
        region = _region_at(probability, x, y, point.positive)
        for other in points:  # a fix for one click must not undo another
            if other.positive != point.positive:
                other_x, other_y = _pixel(other, mask.shape)
                region[other_y, other_x] = False
        region[y, x] = True
        honoured[region] = point.positive
    return honoured


def connected_to_clicks(mask: BoolMask, points: Sequence[Point]) -> BoolMask:
    """Keep the parts of a mask that hold a positive click.

    Measured on 24 masks of 3 real clips: mean IoU after 1 / 3 / 5 clicks rises from 0.37 / 0.58 / 0.66 to
    0.42 / 0.58 / 0.68. An object in several parts needs a click on each.

    Args:
        mask: (H, W) bool that holds every positive point.
        points: in pixels of the mask; at least one positive.
    """
    _, components = cv2.connectedComponents(mask.astype(np.uint8))
    pixels = [_pixel(point, mask.shape) for point in points if point.positive]
    kept: BoolMask = np.isin(components, [components[y, x] for x, y in pixels]) & mask
    return kept


def _pixel(point: Point, size_hw: tuple[int, ...]) -> tuple[int, int]:
    """Return the (x, y) of the pixel that a point lies in; of the nearest one on the frame."""
    return min(max(int(point.x), 0), size_hw[1] - 1), min(max(int(point.y), 0), size_hw[0] - 1)


def _region_at(probability: NDArray[np.float32], x: int, y: int, positive: bool) -> BoolMask:
    """Return the part of a disc around (x, y) that is connected to it and as likely to be what the click says."""
    height, width = probability.shape
    radius = max(1, round(_FORCED_RADIUS_SHARE * min(height, width)))
    disc = np.zeros((height, width), np.uint8)
    cv2.circle(disc, (x, y), radius, 1, -1)
    # Half as decided as the click's own pixel is still taken for the same thing.
    centre = float(probability[y, x])
    alike = probability >= 0.5 * centre if positive else 1 - probability >= 0.5 * (1 - centre)
    _, components = cv2.connectedComponents((disc.astype(bool) & alike).astype(np.uint8))
    region: BoolMask = components == components[y, x]
    return region
