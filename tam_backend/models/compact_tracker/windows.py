"""Windows: how far from its own place a query looks in a remembered frame."""

from __future__ import annotations

import torch
from torch import Tensor


class Windows:
    """Squares of cells around a query's place, on one grid, for scores of one precision.

    What they hide is kept as numbers to add: 0 or -inf. Queries of one column differ only in where their window is
    cut off above and below, so one table of (w, 2 h - 1, w) per radius serves them all.

    Args:
        grid_hw: (h, w) of the grid: h lines of w cells.
    """

    def __init__(self, grid_hw: tuple[int, int]) -> None:
        self._grid_hw = grid_hw
        # By radius: as many as are smaller than the grid.
        self._tables: dict[int, Tensor] = {}
        self._beyond: dict[int, Tensor] = {}

    def lines_seen(self, first: int, count: int, radius: float) -> slice:
        """Return which lines of a frame some neighbouring lines of queries see at all.

        Args:
            first: line of queries.
            count: of them; those beyond the grid do not count.
            radius: as for `hide`.
        """
        reach = int(radius)
        return slice(max(0, first - reach), min(self._grid_hw[0], first + count + reach))

    def hide(self, scores: Tensor, first: int, first_seen: int, radius: float) -> None:
        """Set scores beyond the window to -inf.

        Args:
            scores: (q * w, l * w), changed in place: q lines of queries against l lines of one frame.
            first: of the lines of queries.
            first_seen: of the frame's lines.
            radius: how many lines or columns a cell may be away at most, the larger of both.
        """
        height, width = self._grid_hw
        if radius >= max(height, width) - 1:
            return
        if scores.device.type != "cpu":  # one large operation rather than one for each line
            queries = slice(first * width, first * width + scores.shape[0])
            elements = slice(first_seen * width, first_seen * width + scores.shape[1])
            scores.masked_fill_(self._beyond_window(int(radius), scores.device)[queries, elements], -torch.inf)
            return
        table = self._table(int(radius), scores)
        seen = scores.shape[1] // width
        for line, of_line in enumerate(torch.split(scores, width), first):
            nearest = height - 1 - line + first_seen
            of_line.view(width, seen, width).add_(table[:, nearest : nearest + seen])

    def _table(self, radius: int, like: Tensor) -> Tensor:
        """Return (w, 2 h - 1, w): by the query's column, lines apart + h - 1, and the element's column."""
        if radius not in self._tables:
            height, width = self._grid_hw
            columns = torch.arange(width, device=like.device)
            lines_far = torch.arange(1 - height, height, device=like.device).abs() > radius
            columns_far = (columns[:, None] - columns).abs() > radius
            far = lines_far[None, :, None] | columns_far[:, None, :]
            self._tables[radius] = like.new_zeros(far.shape).masked_fill_(far, -torch.inf)
        return self._tables[radius]

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
