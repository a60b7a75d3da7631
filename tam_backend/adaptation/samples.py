"""Stills and short clips cut out of kept videos, as a camera elsewhere would have seen them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_backend.adaptation.camera import photograph
from tam_backend.adaptation.kept_video import KeptVideo
from tam_backend.adaptation.track_lesson import UNKNOWN
from tam_backend.types import BoolMask

Sample = tuple[NDArray[np.uint8], NDArray[np.uint8]]

# A window's side as a share of the frame's shorter side; mostly it holds all of the object, and this much around it.
_WINDOW, _ROOM, _HOLDS_ALL = (0.5, 1.05), 1.15, 0.8
_STEPS = (1, 2, 3)
_SMALLEST_PX = 30
_TRIES = 50


@dataclass(frozen=True)
class _View:
    """A window onto a frame: what is at `centre_xy` (kept pixels) comes to the middle, `zoom` times as large."""

    centre_xy: NDArray[np.float64]
    zoom: float
    mirrored: bool
    turn: float

    def of(self, picture: NDArray[np.uint8], side: int, labels: bool) -> NDArray[np.uint8]:
        """Return (side, side, ...)."""
        cos, sin = np.cos(self.turn) * self.zoom, np.sin(self.turn) * self.zoom
        matrix = np.array([[-cos if self.mirrored else cos, -sin], [-sin if self.mirrored else sin, cos]])
        shift = np.array([side / 2, side / 2]) - matrix @ self.centre_xy
        return np.asarray(
            cv2.warpAffine(
                picture,
                np.hstack([matrix, shift[:, None]]),
                (side, side),
                flags=cv2.INTER_NEAREST if labels else cv2.INTER_LINEAR,
                borderMode=cv2.BORDER_REFLECT_101,
            ),
            np.uint8,
        )


class Samples:
    """Draws from kept videos, each as often as the others.

    Args:
        videos: each with an object on one of its labeled frames at least.
        side: of the samples, pixels.
    """

    def __init__(self, videos: Sequence[KeptVideo], side: int) -> None:
        self._videos, self._side = videos, side
        self._shown = [[at for at, ids in video.ids.items() if ids.any()] for video in videos]

    def still(self, rng: np.random.Generator) -> Sample:
        """Return a picture, (S, S, 3) uint8 RGB, and the mask of one object on it, (S, S) uint8 0 or 1."""
        for _ in range(_TRIES):
            video, at, target = self._draw(rng)
            view = _view(rng, target, self._side)
            mask = view.of(target.astype(np.uint8), self._side, labels=True)
            if np.count_nonzero(mask) >= _SMALLEST_PX:
                break
        picture = view.of(video.frames[at], self._side, labels=False)
        return photograph(picture[None].astype(np.float32), rng)[0], mask

    def film(self, rng: np.random.Generator, length: int) -> Sample:
        """Return a clip, (T, S, S, 3) uint8 RGB, and (T, S, S) uint8 labels of two objects at most; UNKNOWN if none."""
        for _ in range(_TRIES):
            video, at, target = self._draw(rng)
            moments = _moments(rng, list(video.frames), at, length)
            one = int(video.ids[at][target][0])
            others = [int(each) for each in np.unique(video.ids[at]) if each not in (0, one)]
            table = np.zeros(256, np.uint8)
            table[[one, *rng.permutation(others)[:1].tolist()]] = (1, 2)[: 1 + bool(others)]
            pictures, labels = self._drift(rng, video, moments, _view(rng, target, self._side), table)
            if np.count_nonzero(labels[0] == 1) >= _SMALLEST_PX:
                break
        return photograph(pictures, rng), labels

    def _draw(self, rng: np.random.Generator) -> tuple[KeptVideo, int, BoolMask]:
        """Return a video, a labeled frame of it and one object there, (h, w) bool."""
        which = int(rng.integers(len(self._videos)))
        video = self._videos[which]
        at = self._shown[which][int(rng.integers(len(self._shown[which])))]
        ids = [int(each) for each in np.unique(video.ids[at]) if each]
        return video, at, video.ids[at] == ids[int(rng.integers(len(ids)))]

    def _drift(
        self,
        rng: np.random.Generator,
        video: KeptVideo,
        moments: Sequence[int],
        first: _View,
        table: NDArray[np.uint8],
    ) -> tuple[NDArray[np.float32], NDArray[np.uint8]]:
        side = self._side
        pace, growth, spin = rng.normal(0, 0.02, 2), rng.normal(0, 0.03), rng.normal(0, 0.03)
        pictures = np.empty((len(moments), side, side, 3), np.float32)
        labels = np.full((len(moments), side, side), UNKNOWN, np.uint8)
        for t, at in enumerate(moments):
            shift = (pace * t + rng.normal(0, 0.005, 2)) * side / first.zoom
            view = _View(
                first.centre_xy + shift, first.zoom * np.exp(growth * t), first.mirrored, first.turn + spin * t
            )
            pictures[t] = view.of(video.frames[at], side, labels=False)
            if at in video.ids:
                labels[t] = view.of(cv2.LUT(video.ids[at], table).astype(np.uint8), side, labels=True)
        return pictures, labels


def _view(rng: np.random.Generator, target: BoolMask, side: int) -> _View:
    height, width = target.shape
    x, y, w, h = cv2.boundingRect(target.astype(np.uint8))
    size = rng.uniform(*_WINDOW) * min(height, width)
    if rng.random() < _HOLDS_ALL:
        size = max(size, _ROOM * max(w, h))
    size = min(size, max(height, width))
    reach = np.minimum(np.array([width, height]) / 2, size / 2)
    centre = np.array([x + w / 2, y + h / 2]) + rng.normal(0, 0.15, 2) * size
    centre = np.clip(centre, reach, np.array([width, height]) - reach)
    return _View(centre, side / size, bool(rng.random() < 0.5), float(rng.normal(0, 0.06)))


def _moments(rng: np.random.Generator, frames: Sequence[int], start: int, length: int) -> list[int]:
    """Return `length` of the kept frames, every so many of them, forth or back, turning round at the ends."""
    step = int(rng.choice(_STEPS)) if len(frames) > 2 * max(_STEPS) else 1
    at, way = frames.index(start), 1 if rng.random() < 0.5 else -1
    moments = [start]
    while len(moments) < length:
        if not 0 <= at + way * step < len(frames):
            way = -way
        at = min(max(at + way * step, 0), len(frames) - 1)
        moments.append(frames[at])
    return moments
