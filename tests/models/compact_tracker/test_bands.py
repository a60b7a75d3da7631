from __future__ import annotations

import pytest
import torch

from tam_backend.models.compact_tracker.bands import Band, nearest_in
from tam_backend.models.compact_tracker.windows import Windows
from tam_backend.models.memory_reading.affinity import memory_rows, query_rows

HEIGHT, WIDTH = GRID_HW = (9, 4)


def _rows(lines: int, seed: int) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    cells = lines * WIDTH
    return memory_rows(torch.randn(cells, 5, generator=generator), 1 + torch.rand(cells, 1, generator=generator))


@pytest.mark.parametrize("first", [0, 3, 6])
def test_distances_on_a_cpu_and_scores_elsewhere_find_the_same(first: int) -> None:
    windows, lines = Windows(GRID_HW), 3
    seen = windows.lines_seen(first, lines, 2.5)
    bands = [
        Band(_rows(HEIGHT, 0), 0, None),
        Band(_rows(seen.stop - seen.start, 1), seen.start, 2.5),
        Band(_rows(HEIGHT, 2), 0, 8.0),  # a window as wide as the grid
    ]
    generator = torch.Generator().manual_seed(9)
    cells = lines * WIDTH
    queries = query_rows(torch.randn(cells, 5, generator=generator), torch.rand(cells, 5, generator=generator))
    groups = [(0, 1, 2), (1,), (0, 2)]
    one, other = (
        nearest_in(bands, groups, queries, first, windows, 6, by_distance=by_distance) for by_distance in (True, False)
    )
    for near, similar in zip(one, other, strict=True):
        torch.testing.assert_close(near.similarity, similar.similarity.clamp(max=0), atol=1e-5, rtol=1e-5)
        torch.testing.assert_close(near.weights, similar.weights, atol=1e-5, rtol=1e-4)
        assert torch.equal(near.indices, similar.indices)
