"""How a layer moves through a clip: smooth paths, deformation, exits and re-entries, as sampling maps for cv2.remap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]


@dataclass(frozen=True)
class MotionStyle:
    """How lively a layer is.

    Args:
        speed: 1 = about 5 % of the frame's side, 5 % of scale and 4 degrees per frame (one standard deviation).
        bend: standard deviation of the displacement field, in pixels of the output.
        exit_and_return: leave the frame in the middle of the clip and come back.
    """

    speed: float
    bend: float
    exit_and_return: bool = False


def smooth_path(rng: np.random.Generator, frames: int, dimensions: int, velocity: float, acceleration: float) -> Floats:
    """Return (frames, dimensions): a parabola with a little jitter, zero at frame 0."""
    t = np.arange(frames)[:, None]
    straight = rng.normal(0, velocity, dimensions) * t + rng.normal(0, acceleration, dimensions) * t * t / 2
    jitter = rng.normal(0, velocity * 0.25, (frames, dimensions)) * (t > 0)
    path: Floats = (straight + jitter).astype(np.float32)
    return path


def exit_path(rng: np.random.Generator, frames: int, distance: float) -> Floats:
    """Return (frames, 2): out by `distance` in a random direction around the middle frame, back at the ends."""
    angle = rng.uniform(0, 2 * np.pi)
    phase = np.linspace(0, np.pi, frames)
    way = np.sin(phase)[:, None] ** 2 * distance * np.array([np.cos(angle), np.sin(angle)])
    path: Floats = way.astype(np.float32)
    return path


def displacement_field(rng: np.random.Generator, side: int, amplitude: float) -> Floats:
    """Return (side, side, 2): a smooth random displacement in pixels."""
    cells = int(rng.integers(3, 7))
    coarse = rng.normal(0, 1, (cells, cells, 2)).astype(np.float32) * amplitude
    return np.asarray(cv2.resize(coarse, (side, side), interpolation=cv2.INTER_CUBIC), np.float32)


def sampling_maps(
    rng: np.random.Generator,
    style: MotionStyle,
    side: int,
    source_centre: tuple[float, float],
    scale: float,
    start: tuple[float, float],
    camera: Floats,
    tilt: float,
) -> Iterator[tuple[Floats, Floats]]:
    """Yield one (map_x, map_y) per frame: where in the source each output pixel comes from.

    Args:
        rng: the clip's.
        style: how lively.
        side: the output's side in pixels.
        source_centre: the source's pixel (x, y) that is put at `start`.
        scale: output pixels per source pixel at frame 0.
        start: (x, y) in output pixels at frame 0.
        camera: (frames, 2) pixels that the whole scene is shaken by.
        tilt: standard deviation of the first frame's rotation, radians.
    """
    frames, k = len(camera), style.speed
    # Long clips must not turn every path into an exit: speed is shared out over the clip.
    pace = k * min(1.0, 5 / frames)
    position = (
        smooth_path(rng, frames, 2, 0.05 * side * pace, 0.012 * side * pace) + camera + np.array(start, np.float32)
    )
    if style.exit_and_return:
        position += exit_path(rng, frames, side * rng.uniform(0.7, 1.1))
    log_scale = smooth_path(rng, frames, 2, 0.05 * pace, 0.01 * pace)
    turn = smooth_path(rng, frames, 2, 0.07 * pace, 0.02 * pace)
    rest, drift = displacement_field(rng, side, style.bend * 0.6), displacement_field(rng, side, style.bend * 0.35)
    swing = displacement_field(rng, side, style.bend * 0.5)
    swing_rate = rng.uniform(0.3, 1.2)
    first_turn, stretch = rng.normal(0, tilt), np.exp(rng.normal(0, 0.1))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    y, x = np.mgrid[0:side, 0:side].astype(np.float32)
    for t in range(frames):
        bend = rest + drift * (t * min(k, 1.0) * min(1.0, 5 / frames)) + swing * np.float32(np.sin(swing_rate * t))
        dx, dy = x - position[t, 0] + bend[..., 0], y - position[t, 1] + bend[..., 1]
        angle, shear = first_turn + turn[t, 0], turn[t, 1] * 0.5
        zoom = 1 / (scale * np.exp(log_scale[t, 0]))
        cos, sin = np.cos(angle), np.sin(angle)
        from_x = zoom * (cos * dx + (sin + shear) * dy) * flip
        from_y = zoom * (-sin * dx + cos * dy) * stretch * np.exp(0.4 * log_scale[t, 1])
        yield (
            np.ascontiguousarray(source_centre[0] + from_x, dtype=np.float32),
            np.ascontiguousarray(source_centre[1] + from_y, dtype=np.float32),
        )
