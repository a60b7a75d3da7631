from __future__ import annotations

import pytest
import torch

from tam_backend.models.xmem.windows import Windows


def _hidden(scores: torch.Tensor) -> list[str]:
    return ["".join("." if hidden else "o" for hidden in row) for row in torch.isneginf(scores).tolist()]


def test_a_query_sees_the_square_around_its_place_cut_off_at_the_borders() -> None:
    grid_hw = (4, 5)
    scores = torch.zeros(20, 20)
    Windows(grid_hw).hide(scores, 0, 1)
    first, second_row_third_column = scores[0].view(grid_hw), scores[1 * 5 + 2].view(grid_hw)
    assert _hidden(first) == ["oo...", "oo...", ".....", "....."]
    assert _hidden(second_row_third_column) == [".ooo.", ".ooo.", ".ooo.", "....."]


def test_some_rows_of_queries_are_hidden_as_they_are_among_all() -> None:
    everything, part = torch.zeros(20, 20), torch.zeros(10, 20)
    windows = Windows((4, 5))
    windows.hide(everything, 0, 1)
    windows.hide(part, 2, 1)
    assert torch.equal(part, everything[10:])


def test_what_is_seen_keeps_its_score() -> None:
    scores = torch.randn(20, 20, generator=torch.Generator().manual_seed(0))
    before = scores.clone()
    Windows((4, 5)).hide(scores, 0, 2)
    seen = ~torch.isneginf(scores)
    assert torch.equal(scores[seen], before[seen])


@pytest.mark.parametrize("radius", [1.0, 1.9])
def test_a_radius_counts_whole_cells(radius: float) -> None:
    scores = torch.zeros(6, 6)
    Windows((1, 6)).hide(scores, 0, radius)
    assert _hidden(scores)[2] == ".ooo.."


def test_a_window_as_wide_as_the_grid_hides_nothing() -> None:
    scores = torch.zeros(20, 20)
    Windows((4, 5)).hide(scores, 0, 4)
    assert not torch.isneginf(scores).any()
