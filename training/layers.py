"""What synthetic clips are made of: cut-outs of photographs, and thin procedural shapes with photographed skin."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from training.segments import AnnotatedImage, Segment

_THIN_CANVAS = 256


@dataclass(frozen=True, eq=False)
class Layer:
    """A picture with its opacity.

    Args:
        image: (h, w, 3) uint8 RGB.
        alpha: (h, w) uint8.
        box_xyxy: where the alpha is not zero, pixels.
    """

    image: NDArray[np.uint8]
    alpha: NDArray[np.uint8]
    box_xyxy: tuple[int, int, int, int]

    @property
    def centre(self) -> tuple[float, float]:
        """The middle of the box, (x, y)."""
        x0, y0, x1, y1 = self.box_xyxy
        return (x0 + x1) / 2, (y0 + y1) / 2

    @property
    def extent(self) -> float:
        """The longer side of the box, at least 8 pixels."""
        x0, y0, x1, y1 = self.box_xyxy
        return float(max(x1 - x0, y1 - y0, 8))


class SegmentPicker:
    """Draws segments: of any image, or of one; the more a thing they look, the more often.

    Taught segments are drawn half of the time where an image has any.

    Args:
        images: photographs.
        max_border, area_range: which segments are drawn at all.
        wholeness: how much things are preferred to parts; 0 = not.
        weights: how often each image is drawn, one number each; None = all alike.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        max_border: float,
        area_range: tuple[float, float],
        wholeness: float = 1.0,
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.images = images
        self._kept: list[tuple[list[Segment], NDArray[np.float64]]] = []
        for image in images:
            kept = [s for s in image.segments if s.border < max_border and area_range[0] < s.area < area_range[1]]
            weight = np.array([_thingness(s) for s in kept]) ** wholeness
            self._kept.append((kept, _shares(weight, np.array([s.taught for s in kept], bool))))
        self.usable = [index for index, (kept, _) in enumerate(self._kept) if kept]
        own = np.ones(len(images)) if weights is None else weights
        # Summed up once: a draw is a search then.
        self._cumulative = np.cumsum(own[self.usable])

    def image(self, rng: np.random.Generator) -> int:
        """Return the index of an image with at least one segment."""
        at = np.searchsorted(self._cumulative, rng.random() * self._cumulative[-1], side="right")
        return self.usable[min(int(at), len(self.usable) - 1)]

    def segment(self, rng: np.random.Generator, image: int) -> Segment:
        """Return one of the image's segments."""
        kept, weight = self._kept[image]
        return kept[int(rng.choice(len(kept), p=weight))]


def _shares(weight: NDArray[np.float64], taught: NDArray[np.bool_]) -> NDArray[np.float64]:
    """Return weights that add up to 1, those of the taught to a half if there are others too."""
    if taught.any() and not taught.all():
        weight = weight / np.where(taught, weight[taught].sum(), weight[~taught].sum())
    return weight / weight.sum() if len(weight) else weight


def _thingness(segment: Segment) -> float:
    """Weigh up: others saw it too, the annotator cut coarsely, it does not run out of the frame, it is not tiny."""
    agreed = 0.1 + segment.agreement**2
    coarse = 1 / np.sqrt(segment.regions_of_annotator)
    return float(agreed * coarse * np.exp(-4 * segment.border) * min(1.0, segment.area / 0.02) ** 0.5)


def cut_out(image: AnnotatedImage, segment: Segment, rng: np.random.Generator) -> Layer:
    """Return the segment as a layer; now and then with holes."""
    alpha = image.mask(segment)
    if rng.random() < 0.1:
        alpha = _punched(alpha, segment.box_xyxy, rng)
    return Layer(image.image, alpha, segment.box_xyxy)


def _punched(
    alpha: NDArray[np.uint8], box_xyxy: tuple[int, int, int, int], rng: np.random.Generator
) -> NDArray[np.uint8]:
    holed = alpha.copy()
    x0, y0, x1, y1 = box_xyxy
    for _ in range(int(rng.integers(1, 4))):
        centre = (int(rng.uniform(x0, x1)), int(rng.uniform(y0, y1)))
        axes = (int(max(2, (x1 - x0) * rng.uniform(0.06, 0.2))), int(max(2, (y1 - y0) * rng.uniform(0.06, 0.2))))
        cv2.ellipse(holed, centre, axes, float(rng.uniform(0, 180)), 0, 360, 0, -1)
    # A shape that the holes ate is of no use.
    return holed if np.count_nonzero(holed) > 0.6 * np.count_nonzero(alpha) else alpha


def thin_shape(skin: NDArray[np.uint8], rng: np.random.Generator) -> Layer:
    """Return a shape of strokes, rings and plates that hang together, like furniture, bicycles or railings."""
    side = _THIN_CANVAS
    alpha = np.zeros((side, side), np.uint8)
    nodes = rng.uniform(0.15 * side, 0.85 * side, (int(rng.integers(4, 8)), 2)).astype(np.int32)
    for a, b in itertools.pairwise(nodes):
        cv2.line(alpha, a.tolist(), b.tolist(), 255, int(rng.integers(4, 16)), cv2.LINE_AA)
    for _ in range(int(rng.integers(0, 3))):
        centre = nodes[int(rng.integers(len(nodes)))].tolist()
        axes = (int(rng.integers(12, 50)), int(rng.integers(12, 50)))
        cv2.ellipse(alpha, centre, axes, float(rng.uniform(0, 180)), 0, 360, 255, int(rng.integers(4, 12)), cv2.LINE_AA)
    if rng.random() < 0.5:
        cv2.fillConvexPoly(alpha, cv2.convexHull(nodes[rng.permutation(len(nodes))[:4]]), 255, cv2.LINE_AA)
    rows, columns = np.flatnonzero(alpha.any(1)), np.flatnonzero(alpha.any(0))
    height, width = skin.shape[:2]
    crop = int(rng.uniform(0.3, 0.9) * min(height, width))
    top, left = int(rng.integers(height - crop + 1)), int(rng.integers(width - crop + 1))
    image = cv2.resize(skin[top : top + crop, left : left + crop], (side, side), interpolation=cv2.INTER_AREA)
    # Mostly one paint, with what is left of the photograph as shading.
    paint = rng.uniform(0, 255, 3).astype(np.float32)
    keep = rng.uniform(0.15, 0.8)
    painted = np.clip(image * keep + paint * (1 - keep), 0, 255).astype(np.uint8)
    return Layer(painted, alpha, (int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1))


def without(image: NDArray[np.uint8], alpha: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Return the image with the layer's place filled in from around it, roughly."""
    small = cv2.resize(image, None, fx=0.25, fy=0.25, interpolation=cv2.INTER_AREA)
    hole = cv2.resize(cv2.dilate(alpha, np.ones((9, 9), np.uint8)), small.shape[1::-1], interpolation=cv2.INTER_AREA)
    filled = cv2.inpaint(small, (hole > 0).astype(np.uint8), 3, cv2.INPAINT_TELEA)
    filled = cv2.resize(filled, image.shape[1::-1], interpolation=cv2.INTER_LINEAR)
    blend = (
        cv2.GaussianBlur(cv2.dilate(alpha, np.ones((7, 7), np.uint8)), (0, 0), 2)[..., None].astype(np.float32) / 255
    )
    return (image * (1 - blend) + filled * blend).astype(np.uint8)
