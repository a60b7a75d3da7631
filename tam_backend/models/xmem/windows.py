"""Windows: how far from its own place a query looks in a remembered frame."""

from __future__ import annotations

import torch
from torch import Tensor


class Windows:
    """Squares of cells around a query's place, on one grid.

    What they hide is kept as numbers to add: 0 or -inf. Queries of one column differ only in where their window is
    cut off above and below, so one table of (w, 2 h - 1, w) per radius serves them all.

    Args:
        grid_hw: (h, w) of the grid.
    """

    def __init__(self, grid_hw: tuple[int, int]) -> None:
        self._grid_hw = grid_hw
        self._tables: dict[int, Tensor] = {}  # by radius: as many as are smaller than the grid

    def hide(self, scores: Tensor, first_row: int, radius: float) -> None:
        """Set scores beyond the window to -inf.

        Args:
            scores: (r * w, h * w) float32, changed in place: r rows of the grid against one frame.
            first_row: of those r.
            radius: how many rows or columns a cell may be away at most, the larger of both.
        """
        height, width = self._grid_hw
        if radius >= max(height, width) - 1:
            return
        table = self._table(int(radius), scores.device)
        for row, of_row in enumerate(torch.split(scores, width), first_row):
            of_row.view(width, height, width).add_(table[:, height - 1 - row : 2 * height - 1 - row])

    def _table(self, radius: int, device: torch.device) -> Tensor:
        """Return (w, 2 h - 1, w) float32: by the query's column, rows apart + h - 1, and the element's column."""
        if radius not in self._tables:
            height, width = self._grid_hw
            columns = torch.arange(width, device=device)
            rows_far = torch.arange(1 - height, height, device=device).abs() > radius
            columns_far = (columns[:, None] - columns).abs() > radius
            far = rows_far[None, :, None] | columns_far[:, None, :]
            self._tables[radius] = torch.zeros(far.shape, device=device).masked_fill_(far, -torch.inf)
        return self._tables[radius]
