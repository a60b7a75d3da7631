"""What can be drawn around or on an object, in fractions of the frame's width and height."""

from __future__ import annotations

import math
from dataclasses import dataclass

from tam_backend.types import Box


@dataclass(frozen=True)
class FractionPoint:
    """A click in fractions 0..1 of the frame's width and height; positive = on the object."""

    x: float
    y: float
    positive: bool


@dataclass(frozen=True)
class FractionBox:
    """A rectangle in fractions of the frame's width and height, turned clockwise about its top left corner."""

    x: float
    y: float
    width: float
    height: float
    rotation_deg: float = 0.0

    def enclosing(self, size_hw: tuple[int, int]) -> Box:
        """Return the upright box around it, (x0, y0, x1, y1) in pixels of a frame of that size; may leave the frame."""
        height_px, width_px = size_hw
        cos, sin = math.cos(math.radians(self.rotation_deg)), math.sin(math.radians(self.rotation_deg))
        w, h = self.width * width_px, self.height * height_px
        xs = [self.x * width_px + dx * cos - dy * sin for dx, dy in ((0, 0), (w, 0), (0, h), (w, h))]
        ys = [self.y * height_px + dx * sin + dy * cos for dx, dy in ((0, 0), (w, 0), (0, h), (w, h))]
        return min(xs), min(ys), max(xs), max(ys)


@dataclass(frozen=True)
class FractionEllipse:
    """An ellipse in fractions of the frame's width and height, turned clockwise about its centre (x, y)."""

    x: float
    y: float
    radius_x: float
    radius_y: float
    rotation_deg: float = 0.0

    def enclosing(self, size_hw: tuple[int, int]) -> Box:
        """Return the upright box around it, (x0, y0, x1, y1) in pixels of a frame of that size; may leave the frame."""
        height_px, width_px = size_hw
        cos, sin = math.cos(math.radians(self.rotation_deg)), math.sin(math.radians(self.rotation_deg))
        rx, ry = self.radius_x * width_px, self.radius_y * height_px
        half_width, half_height = math.hypot(rx * cos, ry * sin), math.hypot(rx * sin, ry * cos)
        x, y = self.x * width_px, self.y * height_px
        return x - half_width, y - half_height, x + half_width, y + half_height


@dataclass(frozen=True)
class FractionPolygon:
    """A polygon; its corners (x, y) in fractions of the frame's width and height."""

    corners: tuple[tuple[float, float], ...]

    def enclosing(self, size_hw: tuple[int, int]) -> Box:
        """Return the upright box around it, (x0, y0, x1, y1) in pixels of a frame of that size; may leave the frame."""
        height_px, width_px = size_hw
        xs, ys = [x * width_px for x, _ in self.corners], [y * height_px for _, y in self.corners]
        return min(xs), min(ys), max(xs), max(ys)


Outline = FractionBox | FractionEllipse | FractionPolygon
"""What is drawn around an object."""
