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
    height, width = mask.shape
    for point in points:
        x, y = min(max(int(point.x), 0), width - 1), min(max(int(point.y), 0), height - 1)
        if honoured[y, x] == point.positive:
            continue
        region = _region_at(probability, x, y, point.positive)
        for other in points:  # a fix for one click must not undo another
            if other.positive != point.positive:
                other_x, other_y = min(max(int(other.x), 0), width - 1), min(max(int(other.y), 0), height - 1)
                region[other_y, other_x] = False
        region[y, x] = True
        honoured[region] = point.positive
    return honoured


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
