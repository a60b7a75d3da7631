"""What neighbouring queries see of the memory: bands of its frames, and the nearest elements in them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tam_backend.models.compact_tracker.windows import Windows
from tam_backend.models.memory_reading.affinity import TopK, similarity, top_k_softmax
from tam_backend.models.memory_reading.nearest import distances, nearest, push_away


@dataclass(frozen=True, eq=False)
class Band:
    """Some neighbouring lines of one remembered frame.

    Args:
        rows: (l * w, K), of l lines of w cells; as in `MemoryFrame`.
        first: of these lines.
        radius: of the window that queries look at the frame through; None if they see it all.
    """

    rows: Tensor
    first: int
    radius: float | None


def nearest_in(
    bands: Sequence[Band],
    groups: Sequence[Sequence[int]],
    queries: Tensor,
    first: int,
    windows: Windows,
    top_k: int,
    *,
    by_distance: bool,
) -> list[TopK]:
    """Find what is nearest to neighbouring lines of queries, anew for each group of bands.

    Args:
        bands: what they see.
        groups: indices of bands, ascending.
        queries: (q * w, K).
        first: of their lines.
        windows: of the grid.
        top_k: how many elements each query gets.
        by_distance: the quicker way on a CPU, which no other device knows; the same up to rounding.

    Returns:
        One for each group; its indices count the elements of its bands, one band after the other.
    """
    # The layouts differ: distances are elements by queries, scores are queries by elements.
    rows = torch.cat([band.rows for band in bands])
    compared = distances(queries, rows) if by_distance else similarity(queries, rows)
    parts = torch.split(compared, [len(band.rows) for band in bands], dim=0 if by_distance else 1)
    for band, part in zip(bands, parts, strict=True):
        if band.radius is None or windows.hides_nothing(band.radius):
            continue
        if by_distance:
            push_away(part, windows.far(part, first, band.first, band.radius))
        else:
            windows.hide(part, first, band.first, band.radius)
    found = []
    for group in groups:
        own = compared if len(group) == len(bands) else torch.cat([parts[i] for i in group], 0 if by_distance else 1)
        found.append(nearest(own, top_k) if by_distance else top_k_softmax(own, top_k))
    return found
