"""Clips cut out of real videos: a drifting window over every n-th frame, forth or back."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_backend.adaptation.camera import photograph
from training.clips import Clip
from training.motion import smooth_path
from training.photographs import Film

_STRIDES = (1, 2, 3, 5)
# The window's side, as a share of the film's shorter side.
_WINDOW = (0.5, 1.0)
_DRIFT = 0.02
_SMALLEST_SHARE = 0.002


class FilmedClips:
    """Draws clips. The same seed gives the same clips.

    Args:
        films: real videos with masks.
        side: of the frames, pixels.
        length: frames per clip.
        seed: of everything.

    Raises:
        ValueError: no film is as long as a clip.
    """

    def __init__(self, films: Sequence[Film], side: int, length: int, seed: int) -> None:
        self._films = [film for film in films if len(film) >= length]
        if not self._films:
            raise ValueError(f"No film has {length} frames.")
        self._side, self._length = side, length
        self._rng = np.random.default_rng(seed)

    def __iter__(self) -> Iterator[Clip]:
        cv2.setNumThreads(0)
        while True:
            clip = self._cut()
            if clip is not None:
                yield clip

    def _cut(self) -> Clip | None:
        rng = self._rng
        film = self._films[int(rng.integers(len(self._films)))]
        chosen = self._moments(len(film))
        ids = [int(i) for i in np.unique(film.labels[chosen[0]]) if i]
        if not ids:
            return None
        asked = [int(i) for i in rng.permutation(ids)[:2]]
        frames, labels = self._window(film, chosen, film.labels[chosen[0]] == asked[0], asked)
        if (labels[0] == 1).mean() < _SMALLEST_SHARE:
            return None
        labels[labels == 2] *= np.uint8((labels[0] == 2).mean() > _SMALLEST_SHARE / 2)
        return Clip(photograph(frames, rng), labels)

    def _moments(self, frames: int) -> list[int]:
        rng = self._rng
        stride = int(rng.choice([s for s in _STRIDES if (self._length - 1) * s < frames]))
        reach = (self._length - 1) * stride
        start = int(rng.integers(frames - reach))
        moments = list(range(start, start + reach + 1, stride))
        return moments if rng.random() < 0.5 else moments[::-1]

    def _window(
        self, film: Film, chosen: Sequence[int], target: NDArray[np.bool_], asked: Sequence[int]
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        """Return (T, S, S, 3) and (T, S, S) labels, seen through a window that begins on the target."""
        rng, side = self._rng, self._side
        height, width = film.labels.shape[1:]
        size = rng.uniform(*_WINDOW) * min(height, width)
        x, y, w, h = cv2.boundingRect(target.astype(np.uint8))
        centre = np.array([x + w / 2, y + h / 2]) + rng.normal(0, 0.15, 2) * size
        path = centre + smooth_path(rng, self._length, 2, _DRIFT * size, 0.3 * _DRIFT * size)
        path = np.clip(path, size / 2, np.array([width, height]) - size / 2)
        zoom = side / size
        flip = -1 if rng.random() < 0.5 else 1
        table = np.zeros(256, np.uint8)
        table[list(asked)] = range(1, len(asked) + 1)
        frames = np.empty((self._length, side, side, 3), np.float32)
        labels = np.empty((self._length, side, side), np.uint8)
        for t, (at, (cx, cy)) in enumerate(zip(chosen, path, strict=True)):
            matrix = np.array([[zoom * flip, 0, side / 2 - zoom * flip * cx], [0, zoom, side / 2 - zoom * cy]])
            frames[t] = cv2.warpAffine(film.frames[at], matrix, (side, side), borderMode=cv2.BORDER_REFLECT_101)
            ids = cv2.LUT(film.labels[at], table)
            labels[t] = cv2.warpAffine(
                ids, matrix, (side, side), flags=cv2.INTER_NEAREST, borderMode=cv2.BORDER_REFLECT_101
            )
        return frames, labels
