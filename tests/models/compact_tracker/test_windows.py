from __future__ import annotations

import pytest
import torch

from tam_backend.models.compact_tracker.windows import Windows
from tam_backend.models.memory_reading.nearest import push_away


def _hidden(scores: torch.Tensor) -> list[str]:
    return ["".join("." if hidden else "o" for hidden in row) for row in torch.isneginf(scores).tolist()]


def test_a_query_sees_the_square_around_its_place_cut_off_at_the_borders() -> None:
    grid_hw = (4, 5)
    scores = torch.zeros(20, 20)
    Windows(grid_hw).hide(scores, 0, 0, 1)
    first, second_row_third_column = scores[0].view(grid_hw), scores[1 * 5 + 2].view(grid_hw)
    assert _hidden(first) == ["oo...", "oo...", ".....", "....."]
    assert _hidden(second_row_third_column) == [".ooo.", ".ooo.", ".ooo.", "....."]


def test_some_rows_of_queries_are_hidden_as_they_are_among_all() -> None:
    everything, part = torch.zeros(20, 20), torch.zeros(10, 20)
    windows = Windows((4, 5))
    windows.hide(everything, 0, 0, 1)
    windows.hide(part, 2, 0, 1)
    assert torch.equal(part, everything[10:])


def test_what_is_seen_keeps_its_score() -> None:
    scores = torch.randn(20, 20, generator=torch.Generator().manual_seed(0))
    before = scores.clone()
    Windows((4, 5)).hide(scores, 0, 0, 2)
    seen = ~torch.isneginf(scores)
    assert torch.equal(scores[seen], before[seen])


@pytest.mark.parametrize("radius", [1.0, 1.9])
def test_a_radius_counts_whole_cells(radius: float) -> None:
    scores = torch.zeros(6, 6)
    Windows((1, 6)).hide(scores, 0, 0, radius)
    assert _hidden(scores)[2] == ".ooo.."


@pytest.mark.parametrize(("radius", "sees_all"), [(3.9, False), (4, True)])
def test_a_window_as_wide_as_the_grid_hides_nothing(radius: float, sees_all: bool) -> None:
    scores = torch.zeros(20, 20)
    windows = Windows((4, 5))
    windows.hide(scores, 0, 0, radius)
    assert windows.hides_nothing(radius) == (not torch.isneginf(scores).any()) == sees_all


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("radius", [1.0, 2.9, 6.0])
@pytest.mark.parametrize("whole_frame", [False, True])
def test_distances_are_pushed_away_where_scores_are_hidden(
    dtype: torch.dtype, radius: float, whole_frame: bool
) -> None:
    height, width = grid_hw = (7, 4)
    windows = Windows(grid_hw)
    for first in range(0, height, 2):  # the last line of queries is alone
        seen = slice(0, height) if whole_frame else windows.lines_seen(first, 2, radius)
        queries = min(height, first + 2) - first
        distances = torch.ones((seen.stop - seen.start) * width, queries * width, dtype=dtype)
        scores = -distances.t().float()
        windows.hide(scores, first, seen.start, radius)
        push_away(distances, windows.far(distances, first, seen.start, radius))
        assert torch.equal(-distances.t().float(), scores)


def test_neighbouring_lines_of_queries_see_a_band_of_lines_and_all_that_is_in_their_windows() -> None:
    height, width = grid_hw = (7, 4)
    windows = Windows(grid_hw)
    whole = torch.zeros(28, 28)
    windows.hide(whole, 0, 0, 2)
    for first, count, band in ((0, 2, slice(0, 4)), (3, 2, slice(1, 7)), (6, 2, slice(4, 7))):
        assert windows.lines_seen(first, count, 2.9) == band
        queries = slice(first * width, min(height, first + count) * width)
        cells = slice(band.start * width, band.stop * width)
        part = torch.zeros(queries.stop - queries.start, cells.stop - cells.start)
        windows.hide(part, first, band.start, 2)
        assert torch.equal(part, whole[queries, cells])
        beyond = whole[queries].clone()
        beyond[:, cells] = -torch.inf
        assert torch.isneginf(beyond).all()
