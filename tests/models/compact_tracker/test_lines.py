from __future__ import annotations

import pytest
import torch

from tam_backend.models.compact_tracker.lines import by_rows, short_lines, sorted_lines
from tam_backend.models.memory_reading.affinity import TopK
from tam_backend.models.memory_reading.reading import Reading


def test_lines_are_the_shorter_side() -> None:
    planes = torch.arange(6).view(1, 1, 2, 3)
    assert short_lines(planes)[0, :, 0].tolist() == [0, 3, 1, 4, 2, 5]  # column by column
    assert short_lines(planes.transpose(2, 3))[0, :, 0].tolist() == [0, 3, 1, 4, 2, 5]
    assert sorted_lines(2, 3) == sorted_lines(3, 2) == (3, 2)


@pytest.mark.parametrize("grid_hw", [(2, 3), (3, 2), (1, 1), (4, 4)])
def test_what_was_read_line_by_line_is_given_row_by_row(grid_hw: tuple[int, int]) -> None:
    height, width = grid_hw
    planes = torch.randn(2, 5, height, width, generator=torch.Generator().manual_seed(0))
    row_by_row, line_by_line = planes.flatten(2).transpose(1, 2), short_lines(planes)
    top = TopK(line_by_line[0], 2 * line_by_line[0], (100 * line_by_line[0]).long())
    turned = by_rows(Reading(line_by_line, (top, top)), grid_hw)
    assert torch.equal(turned.values, row_by_row)
    assert torch.equal(turned.top[1].similarity, row_by_row[0])
    assert torch.equal(turned.top[1].weights, 2 * row_by_row[0])
    assert torch.equal(turned.top[1].indices, (100 * row_by_row[0]).long())
    assert turned.top[0] is turned.top[1]
