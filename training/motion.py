"""How a layer moves through a clip: smooth paths, deformation, exits and re-entries, as sampling maps for cv2.remap."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float32]

# A layer's place in the frame is looked for on a grid of every so many pixels; maps are smooth over such distances.
_COARSE = 8


@dataclass(frozen=True)
class Placement:
    """Where a layer begins.

    Args:
        source_centre: the source's pixel (x, y) that is put at `start`.
        start: (x, y) in output pixels at frame 0.
        scale: output pixels per source pixel at frame 0.
        source_box: only the part of the output that shows this part of the source, (x0, y0, x1, y1) pixels, is wanted;
            None = all.
    """

    source_centre: tuple[float, float]
    start: tuple[float, float]
    scale: float
    source_box: tuple[int, int, int, int] | None = None


class Sampling(NamedTuple):
    """Where the pixels of a part of the output come from in the source.

    Args:
        map_x, map_y: (h, w) float32 source pixels, for `cv2.remap`.
        place: the part, as the (rows, columns) of the output.
    """

    map_x: Floats
    map_y: Floats
    place: tuple[slice, slice]


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
    placement: Placement,
    camera: Floats,
    tilt: float,
) -> Iterator[Sampling]:
    """Yield for every frame where in the source each output pixel comes from.

    Of a placement with a box, a little more than what shows the box is sampled, or nothing if nothing shows it.

    Args:
        rng: the clip's.
        style: how lively.
        side: the output's side in pixels.
        placement: where the source begins.
        camera: (frames, 2) pixels that the whole scene is shaken by.
        tilt: standard deviation of the first frame's rotation, radians.
    """
    frames, k = len(camera), style.speed
    # Long clips must not turn every path into an exit: speed is shared out over the clip.
    pace = k * min(1.0, 5 / frames)
    position = (
        smooth_path(rng, frames, 2, 0.05 * side * pace, 0.012 * side * pace)
        + camera
        + np.array(placement.start, np.float32)
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

    def maps(t: int, rows: slice, columns: slice) -> tuple[Floats, Floats]:
        part = (rows, columns)
        bend = rest[part] + drift[part] * np.float32(t * min(k, 1.0) * min(1.0, 5 / frames))
        bend += swing[part] * np.float32(np.sin(swing_rate * t))
        dx, dy = x[part] - position[t, 0] + bend[..., 0], y[part] - position[t, 1] + bend[..., 1]
        angle, shear = first_turn + turn[t, 0], turn[t, 1] * 0.5
        zoom = 1 / (placement.scale * np.exp(log_scale[t, 0]))
        cos, sin = np.cos(angle), np.sin(angle)
        from_x = dx * np.float32(zoom * cos * flip) + dy * np.float32(zoom * (sin + shear) * flip)
        tall = zoom * stretch * np.exp(0.4 * log_scale[t, 1])
        from_y = dx * np.float32(-sin * tall) + dy * np.float32(cos * tall)
        return (
            np.ascontiguousarray(placement.source_centre[0] + from_x, dtype=np.float32),
            np.ascontiguousarray(placement.source_centre[1] + from_y, dtype=np.float32),
        )

    every = slice(0, side)
    for t in range(frames):
        rows, columns = every, every
        if placement.source_box is not None:
            margin = 2 * _COARSE / (placement.scale * np.exp(log_scale[t, 0]))
            coarse = slice(0, side, _COARSE)
            rows, columns = _place(*maps(t, coarse, coarse), placement.source_box, float(margin), side)
        yield Sampling(*maps(t, rows, columns), (rows, columns))


def _place(
    map_x: Floats, map_y: Floats, box_xyxy: tuple[int, int, int, int], margin: float, side: int
) -> tuple[slice, slice]:
    """Return the (rows, columns) of the output that hold all coarse samples within the box, and one step more."""
    x0, y0, x1, y1 = box_xyxy
    inside = (map_x > x0 - margin) & (map_x < x1 + margin) & (map_y > y0 - margin) & (map_y < y1 + margin)
    found = [np.flatnonzero(inside.any(axis)) * _COARSE for axis in (1, 0)]
    if not len(found[0]):
        return slice(0, 0), slice(0, 0)
    rows, columns = (slice(max(0, int(at[0]) - _COARSE), min(side, int(at[-1]) + 2 * _COARSE)) for at in found)
    return rows, columns
