"""A small video made on the spot, of which the truth is known."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from tam_backend.errors import FrameOutOfRangeError
from tam_backend.types import BoolMask, RgbFrame


@dataclass
class MovingDiscs:
    """A video made on demand: coloured discs that move over a grey, textured ground. The truth is known.

    Disc i (1-based) starts at `starts_xy[i-1]` and moves by `steps_xy[i-1]` a frame.
    """

    frames: int = 12
    height: int = 96
    width: int = 128
    radius: int = 14
    starts_xy: tuple[tuple[float, float], ...] = ((30, 40),)
    steps_xy: tuple[tuple[float, float], ...] = ((4, 1),)
    colours: tuple[tuple[int, int, int], ...] = ((220, 40, 30), (30, 60, 220))
    name: str = "discs"
    fps: float | None = 24.0
    reads: int = 0

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.height, self.width

    def __len__(self) -> int:
        return self.frames

    def truth(self, frame: int, disc: int = 1) -> BoolMask:
        yy, xx = np.mgrid[: self.height, : self.width]
        x = self.starts_xy[disc - 1][0] + frame * self.steps_xy[disc - 1][0]
        y = self.starts_xy[disc - 1][1] + frame * self.steps_xy[disc - 1][1]
        return np.asarray((xx - x) ** 2 + (yy - y) ** 2 <= self.radius**2)

    def centre(self, frame: int, disc: int = 1) -> tuple[float, float]:
        (x, y), (dx, dy) = self.starts_xy[disc - 1], self.steps_xy[disc - 1]
        return x + frame * dx, y + frame * dy

    def __getitem__(self, index: int) -> RgbFrame:
        if not 0 <= index < self.frames:
            raise FrameOutOfRangeError(f"Frame {index} is not in {self.name}.")
        self.reads += 1
        ground = np.random.default_rng(7).integers(110, 140, (self.height, self.width, 1), dtype=np.uint8)
        image = np.repeat(ground, 3, axis=2)
        for disc in range(1, len(self.starts_xy) + 1):
            image[self.truth(index, disc)] = self.colours[disc - 1]
        return image

    def __iter__(self) -> Iterator[RgbFrame]:
        return (self[index] for index in range(self.frames))

    def close(self) -> None:
        return


def iou(a: BoolMask, b: BoolMask) -> float:
    """Intersection over union; 1 where both are empty."""
    union = np.count_nonzero(a | b)
    return np.count_nonzero(a & b) / union if union else 1.0
