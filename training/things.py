"""Whole things for training, beside the regions people cut: what a teacher network found, and ready cut-outs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.segments import AnnotatedImage, describe

_LARGEST_ID = 254
_SURE = 0.85
_SMALLEST_SHARE = 0.004
_SMALLEST_SIDE, _LARGEST_SIDE = 100, 480
_MARGIN = 0.1
_MOST_FILLED = 0.97
_SHADOW = 160


def taught(images: Sequence[AnnotatedImage], foregrounds: Path, agreed: float = 0.6) -> list[AnnotatedImage]:
    """Add whole things that a teacher found (`training.teacher`), or that people marked, as one more annotator's.

    Args:
        images: photographs with human segmentations.
        foregrounds: a folder with NAME.png for each of them, (H, W) uint8 opacities, or a mask of 0 and 1.
        agreed: only what people cut too is taken: the least mean agreement with unions of their regions.

    Raises:
        FileNotFoundError: one of the images has no foreground.
    """
    return [_taught(image, foregrounds / f"{image.name}.png", agreed) for image in images]


def _taught(image: AnnotatedImage, file: Path, agreed: float) -> AnnotatedImage:
    opacity = cv2.imread(str(file), cv2.IMREAD_GRAYSCALE)
    if opacity is None:
        raise FileNotFoundError(f"{file} is missing: run `python -m training.teacher` on the photographs.")
    things = _connected_things(np.asarray(opacity if opacity.max() > 1 else 255 * opacity, np.uint8))
    regions = (*image.regions, things)
    found = [describe(regions, len(image.regions), (int(i),)) for i in np.unique(things[things > 0])]
    whole = tuple(replace(segment, taught=True) for segment in found if segment.agreement >= agreed)
    return replace(image, regions=regions, segments=(*image.segments, *whole))


def _connected_things(opacity: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return (H, W) uint8 ids of the connected parts that the teacher was sure of; 0 elsewhere."""
    count, labels, stats, _ = cv2.connectedComponentsWithStats((opacity > 127).astype(np.uint8))
    things = np.zeros(opacity.shape, np.uint8)
    for label in range(1, min(count, _LARGEST_ID)):
        part = labels == label
        if stats[label, cv2.CC_STAT_AREA] > _SMALLEST_SHARE * part.size and opacity[part].mean() > _SURE * 255:
            things[part] = label
    return things


def load_cutouts(folder: Path) -> list[AnnotatedImage]:
    """Read pictures of single things on a transparent ground, such as the stamps of Tux Paint.

    Pictures without transparency, small ones (under 100 pixels) and almost rectangular ones are left out.

    Args:
        folder: searched for *.png with all its folders.
    """
    found = [_cutout(file) for file in sorted(folder.rglob("*.png"))]
    return [image for image in found if image is not None]


def _cutout(file: Path) -> AnnotatedImage | None:
    picture = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if picture is None or picture.ndim != 3 or picture.shape[2] != 4 or max(picture.shape[:2]) < _SMALLEST_SIDE:
        return None
    shrink = min(1.0, _LARGEST_SIDE / max(picture.shape[:2]))
    picture = cv2.resize(picture, None, fx=shrink, fy=shrink, interpolation=cv2.INTER_AREA)
    height, width = picture.shape[:2]
    margin = int(_MARGIN * max(height, width))
    picture = cv2.copyMakeBorder(picture, margin, margin, margin, margin, cv2.BORDER_CONSTANT, value=(0, 0, 0, 0))
    # What is half transparent is mostly a shadow or a halo.
    thing = (picture[..., 3] > _SHADOW).astype(np.uint8)
    if not _SMALLEST_SHARE * thing.size <= thing.sum() <= _MOST_FILLED * height * width:
        return None
    segment = replace(describe((thing,), 0, (1,)), taught=True)
    image = np.ascontiguousarray(picture[..., 2::-1], np.uint8)
    return AnnotatedImage(str(file), _bled(image, thing), (thing,), (segment,))


def _bled(image: NDArray[np.uint8], thing: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Continue the thing's colours over its edge, so that feathering mixes in no colour of nothing."""
    _, labels = cv2.distanceTransformWithLabels(1 - thing, cv2.DIST_L2, 3, labelType=cv2.DIST_LABEL_PIXEL)
    colours = np.zeros((int(labels.max()) + 1, 3), np.uint8)
    inside = thing > 0
    colours[labels[inside]] = image[inside]
    return np.where(inside[..., None], image, colours[labels])
