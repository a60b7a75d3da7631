"""Windows: how far from its own place a query looks in a remembered frame."""

from __future__ import annotations

import torch
from torch import Tensor

from tam_backend.models.memory_reading.nearest import infinite_where


class Windows:
    """Squares of cells around a query's place, on one grid.

    Args:
        grid_hw: (h, w) of the grid: h lines of w cells.
    """

    def __init__(self, grid_hw: tuple[int, int]) -> None:
        self._grid_hw = grid_hw
        # By radius: as many as are smaller than the grid.
        self._beyond: dict[int, Tensor] = {}
        # By radius, lines of queries (one number, and what is left over), lines around them, and precision.
        self._far: dict[tuple[int, int, int, int, torch.dtype], Tensor] = {}

    def lines_seen(self, first: int, count: int, radius: float) -> slice:
        """Return which lines of a frame some neighbouring lines of queries see at all.

        Args:
            first: line of queries.
            count: of them; those beyond the grid do not count.
            radius: how many lines or columns a cell may be away at most, the larger of both.
        """
        reach = int(radius)
        return slice(max(0, first - reach), min(self._grid_hw[0], first + count + reach))

    def hides_nothing(self, radius: float) -> bool:
        """Whether every query sees the whole grid."""
        return radius >= max(self._grid_hw) - 1

    def hide(self, scores: Tensor, first: int, first_seen: int, radius: float) -> None:
        """Set scores beyond the window to -inf.

        Args:
            scores: (q * w, l * w), changed in place: q lines of queries against l lines of one frame.
            first: of the lines of queries.
            first_seen: of the frame's lines.
            radius: as for `lines_seen`.
        """
        width = self._grid_hw[1]
        queries = slice(first * width, first * width + scores.shape[0])
        elements = slice(first_seen * width, first_seen * width + scores.shape[1])
        scores.masked_fill_(self._beyond_window(int(radius), scores.device)[queries, elements], -torch.inf)

    def far(self, distances: Tensor, first: int, first_seen: int, radius: float) -> Tensor:
        """Return for `push_away` which elements lie beyond the window, the shape of the distances.

        Lines of queries differ in what they see only where the grid ends, so few tables serve them all.

        Args:
            distances: (l * w, q * w): l lines of one frame against q lines of queries.
            first: of the lines of queries.
            first_seen: of the frame's lines.
            radius: as for `lines_seen`.
        """
        width = self._grid_hw[1]
        seen, queries = (length // width for length in distances.shape)
        before = max(int(radius), first - first_seen)
        after = max(int(radius), first_seen + seen - first - queries)
        of_whole = (int(radius), queries, before, after, distances.dtype)
        if of_whole not in self._far:
            self._far[of_whole] = self._around(*of_whole)
        skipped = (first_seen - first + before) * width
        return self._far[of_whole][skipped : skipped + len(distances)]

    def _around(self, radius: int, queries: int, before: int, after: int, dtype: torch.dtype) -> Tensor:
        """Return ((before + queries + after) * w, queries * w) bits, for lines before, beside and after the queries."""
        lines, columns = torch.arange(-before, queries + after), torch.arange(self._grid_hw[1])
        lines_far = (lines[:, None] - torch.arange(queries)).abs() > radius
        columns_far = (columns[:, None] - columns).abs() > radius
        far = lines_far[:, None, :, None] | columns_far[None, :, None, :]
        return infinite_where(far.flatten(2).flatten(0, 1), dtype)

    def _beyond_window(self, radius: int, device: torch.device) -> Tensor:
        """Return (h * w, h * w) bool: which elements lie beyond which query's window."""
        if radius not in self._beyond:
            height, width = self._grid_hw
            lines, columns = (torch.arange(length, device=device) for length in (height, width))
            lines_far = (lines[:, None] - lines).abs() > radius
            columns_far = (columns[:, None] - columns).abs() > radius
            far = lines_far[:, None, :, None] | columns_far[None, :, None, :]
            self._beyond[radius] = far.view(height * width, height * width)
        return self._beyond[radius]
