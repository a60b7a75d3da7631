"""Crops of photographs with the mask of one thing in them, to learn clicks on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from training.clips import ClipMaker
from training.layers import SegmentPicker
from training.segments import AnnotatedImage

_PASTED_SHARE, _PASTED_SHARE_OF_CUTOUTS = 0.25, 0.4


class StillMaker:
    """Draws stills. The same seed gives the same stills.

    Args:
        images: photographs.
        side: of the stills, pixels.
        seed: of everything.
        wholeness: how much things are preferred to parts.
        cutouts: things on nothing (`training.things`).
        weights: how often each photograph is drawn, one number each; None = all alike.
    """

    def __init__(
        self,
        images: Sequence[AnnotatedImage],
        side: int,
        seed: int,
        wholeness: float = 1.0,
        cutouts: Sequence[AnnotatedImage] = (),
        weights: NDArray[np.float64] | None = None,
    ) -> None:
        self.images, self.side = images, side
        self._pasted_share = _PASTED_SHARE_OF_CUTOUTS if cutouts else _PASTED_SHARE
        self._picker = SegmentPicker(images, 0.7, (0.005, 0.6), wholeness, weights)
        self._rng = np.random.default_rng(seed)
        self._clips = iter(ClipMaker(images, side, 1, seed + 1, cutouts=cutouts, weights=weights))

    def __iter__(self) -> Iterator[tuple[NDArray[np.uint8], NDArray[np.uint8]]]:
        """Yield ((S, S, 3) uint8 RGB, (S, S) uint8 0 or 1)."""
        cv2.setNumThreads(0)
        while True:
            if self._rng.random() < self._pasted_share:
                clip = next(self._clips)
                yield clip.frames[0], (clip.labels[0] == 1).astype(np.uint8)
                continue
            image, mask = self._crop()
            if 0.004 < mask.mean() < 0.8:
                yield image, mask

    def _crop(self) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
        rng, side = self._rng, self.side
        index = self._picker.image(rng)
        source = self.images[index]
        segment = self._picker.segment(rng, index)
        height, width = source.image.shape[:2]
        x0, y0, x1, y1 = segment.box_xyxy
        # From a frame that shows the whole photograph to one that the thing nearly fills.
        scale = np.exp(rng.uniform(np.log(0.6), np.log(1.8)))
        scale = min(max(scale, side / min(height, width) * 0.8), side * 1.3 / max(x1 - x0, y1 - y0))
        half = side / scale / 2
        centre = np.array([(x0 + x1) / 2, (y0 + y1) / 2]) + rng.normal(0, 0.3, 2) * half
        size = np.array([width, height])
        centre = np.clip(centre, np.minimum(half, size / 2), np.maximum(size - half, size / 2))
        angle = rng.normal(0, 0.1)
        turn = np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]) * scale
        turn[0] *= -1 if rng.random() < 0.5 else 1
        matrix = np.concatenate([turn, (side / 2 - turn @ centre)[:, None]], 1)
        smooth = cv2.GaussianBlur(source.image, (0, 0), 0.35 / scale) if scale < 0.75 else source.image
        image = cv2.warpAffine(smooth, matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101)
        mask = cv2.warpAffine(
            source.mask(segment), matrix, (side, side), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REFLECT_101
        )
        return self._photograph(np.asarray(image, np.uint8)), (np.asarray(mask) > 127).astype(np.uint8)

    def _photograph(self, image: NDArray[np.uint8]) -> NDArray[np.uint8]:
        rng = self._rng
        gain = np.exp(rng.normal(0, 0.07, 3) + rng.normal(0, 0.2)).astype(np.float32)
        shot = image * gain + np.float32(rng.normal(0, 12))
        if rng.random() < 0.05:
            shot = np.repeat(shot.mean(2, keepdims=True), 3, 2)
        if rng.random() < 0.2:
            shot = np.asarray(cv2.GaussianBlur(shot, (0, 0), rng.uniform(0.5, 1.5)), np.float32)
        if rng.random() < 0.2:
            shot = shot + rng.normal(0, 5, shot.shape).astype(np.float32)
        taken: NDArray[np.uint8] = np.clip(shot, 0, 255).astype(np.uint8)
        if rng.random() < 0.3:
            _, packed = cv2.imencode(".jpg", taken, [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(25, 90))])
            taken = np.asarray(cv2.imdecode(packed, cv2.IMREAD_COLOR), np.uint8)
        return taken
