"""The order of a grid's cells in which neighbours lie close together: line by line, a line being its shorter side.

What lies within a few cells of a line is then one stretch of memory, as short as it can be.
"""

from __future__ import annotations

from dataclasses import replace

from torch import Tensor

from tam_backend.models.memory_reading.inputs import element_rows
from tam_backend.models.memory_reading.reading import Reading


def sorted_lines(height: int, width: int) -> tuple[int, int]:
    """Return how many lines a grid of rows and columns has, and of how many cells: its columns if it is wider."""
    return (width, height) if width > height else (height, width)


def short_lines(planes: Tensor) -> Tensor:
    """(B, C, h, w) -> (B, h * w, C) contiguous, line by line."""
    return element_rows(planes.transpose(2, 3) if planes.shape[3] > planes.shape[2] else planes)


def by_rows(reading: Reading, grid_hw: tuple[int, int]) -> Reading:
    """Bring what was read for queries line by line into the order row by row.

    Args:
        reading: of queries in the order of `short_lines`.
        grid_hw: (h, w) of the queries.
    """
    height, width = grid_hw
    if width <= height:
        return reading

    def turned(queries: Tensor) -> Tensor:
        """Turn (w * h, C) to (h * w, C)."""
        return queries.view(width, height, -1).transpose(0, 1).flatten(0, 1)

    turned_tops = {
        id(top): replace(
            top, similarity=turned(top.similarity), weights=turned(top.weights), indices=turned(top.indices)
        )
        for top in reading.top
    }
    values = reading.values.view(len(reading.values), width, height, -1).transpose(1, 2).flatten(1, 2)
    return Reading(values, tuple(turned_tops[id(top)] for top in reading.top))
