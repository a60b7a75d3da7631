"""What is hard in a clip, measured by itself: thin parts and holes, objects beside each other, and absence.

A mean of J hides these: a chair without its legs still has most of the chair. All figures of an object are pooled over
its judged frames, so that every pixel (or frame) counts the same and a speck of an annotator weighs nothing.

Thin parts: what a morphological opening with a disc takes from the true mask (Serra, "Image Analysis and Mathematical
Morphology", 1982), where it reaches further than the disc's radius from what the opening leaves; so an object's rounded
corners are none, and an object that is thin as a whole is one. The radius is the tolerance within which the DAVIS
benchmark lets boundaries agree (`scores.BOUNDARY_TOLERANCE`): F forgives an outline that is off by so much, and two
sides off by so much are enough to lose such a part wholly. The frame's rim cuts nothing: the object goes on behind it.

Holes: pixels that are not the object's and cannot reach the frame's rim over such pixels by steps to the side, up or
down. Whatever shows there, another object too, is not this one.

The band: all pixels within the radius of a thin part or a hole. IoU on it also sees what recall does not, legs that
have grown together.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from benchmarks.scores import BoolMask, boundary_reach, disc, widened


@dataclass(frozen=True)
class Detail:
    """Pixels of an object's thin parts and holes.

    Args:
        thin: of the true mask's thin parts.
        thin_found: of these, in the answer.
        holes: of the true mask's holes.
        holes_free: of these, not in the answer.
        band_both: of the band, in the true mask and in the answer.
        band_either: of the band, in one of them at least.
    """

    thin: int
    thin_found: int
    holes: int
    holes_free: int
    band_both: int
    band_either: int


@dataclass(frozen=True)
class JudgedMask:
    """An answer for one object on one frame beside the truth.

    Args:
        area: pixels of the true mask; 0 = the object is absent.
        found: of these, in the answer.
        empty: the answer is that the object is absent.
        quality: what was told of the answer, 0..1.
        given: other object -> how many of this one's true pixels it was given.
        detail: thin parts and holes.
    """

    area: int
    found: int
    empty: bool
    quality: float
    given: Mapping[int, int]
    detail: Detail


def thin_parts(truth: BoolMask, radius: int) -> BoolMask:
    """Return the thin parts of an (H, W) mask, see above; radius in pixels."""
    mask = truth.astype(np.uint8)
    left = cv2.morphologyEx(mask, cv2.MORPH_OPEN, disc(radius)) > 0
    lost = truth & ~left
    if not left.any():
        return lost
    away = cv2.distanceTransform((~left).astype(np.uint8), cv2.DIST_L2, cv2.DIST_MASK_PRECISE) > radius
    parts, part_of = cv2.connectedComponents(lost.astype(np.uint8), connectivity=8)
    thin = np.zeros(parts, bool)
    thin[np.unique(part_of[away & lost])] = True
    return np.asarray(thin[part_of])


def holes(truth: BoolMask) -> BoolMask:
    """Return the pixels that an (H, W) mask encloses."""
    outside = np.pad(~truth, 1, constant_values=True)
    _, part_of = cv2.connectedComponents(outside.astype(np.uint8), connectivity=4)
    return np.asarray((outside & (part_of != part_of[0, 0]))[1:-1, 1:-1])


def detail_of(mask: BoolMask, truth: BoolMask) -> Detail:
    """Count the pixels of thin parts and holes; (H, W) bool each."""
    radius = boundary_reach((truth.shape[0], truth.shape[1]))
    thin, hollow = thin_parts(truth, radius), holes(truth)
    band = widened(thin | hollow, radius)
    return Detail(
        thin=np.count_nonzero(thin),
        thin_found=np.count_nonzero(thin & mask),
        holes=np.count_nonzero(hollow),
        holes_free=np.count_nonzero(hollow & ~mask),
        band_both=np.count_nonzero(band & mask & truth),
        band_either=np.count_nonzero(band & (mask | truth)),
    )


def judge(object_id: int, truth: BoolMask, masks: Mapping[int, BoolMask], quality: float) -> JudgedMask:
    """Compare the answers on a frame with one object's true mask.

    Args:
        object_id: the object.
        truth: (H, W) bool; empty = it is absent.
        masks: object id -> (H, W) bool, this object's among them; no two share a pixel.
        quality: of this object's mask, 0..1.
    """
    mask = masks[object_id]
    given = {other: np.count_nonzero(truth & theirs) for other, theirs in masks.items() if other != object_id}
    return JudgedMask(
        area=np.count_nonzero(truth),
        found=np.count_nonzero(truth & mask),
        empty=not mask.any(),
        quality=quality,
        given=given,
        detail=detail_of(mask, truth),
    )


Judged = Mapping[int, Sequence[JudgedMask]]
"""Object id -> one for each of its judged frames."""
