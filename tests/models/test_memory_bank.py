from __future__ import annotations

import pytest
import torch

from tam_backend.models.xmem.affinity import memory_rows, query_rows
from tam_backend.models.xmem.memory import MemoryBank, MemoryFrame, MemoryRules, Reading

GRID_HW = (2, 3)
CELLS = 6


def _frame(values: dict[int, float], time: int = 0, key: float = 0.0) -> MemoryFrame:
    rows = memory_rows(torch.full((CELLS, 2), key), torch.ones(CELLS, 1))
    return MemoryFrame(rows, {object_id: torch.full((CELLS, 1), value) for object_id, value in values.items()}, time)


def _read(bank: MemoryBank, *object_ids: int, now: int = 1) -> Reading:
    queries = query_rows(torch.zeros(CELLS, 2), torch.ones(CELLS, 2))
    return bank.read(queries, GRID_HW, object_ids, now)


def _first_values(bank: MemoryBank, *object_ids: int) -> list[float]:
    return [round(value, 5) for value in _read(bank, *object_ids).values[:, 0, 0].tolist()]


def test_objects_read_only_frames_stored_since_they_joined() -> None:
    bank = MemoryBank(MemoryRules(top_k=100))
    bank.keep_for_good(_frame({1: 1.0}, key=0.0))
    bank.keep_for_good(_frame({2: 5.0}, key=0.1))
    bank.keep_for_now(_frame({1: 3.0}, time=0))
    assert _first_values(bank, 2) == [5.0]
    assert _first_values(bank, 1, 2)[1] == 5.0
    assert 1.0 < _first_values(bank, 1, 2)[0] < 3.0


def test_answers_come_in_the_order_asked_for() -> None:
    bank = MemoryBank(MemoryRules())
    bank.keep_for_good(_frame({1: 1.0, 7: 7.0, 3: 3.0}))
    assert _first_values(bank, 7, 1, 3) == [7.0, 1.0, 3.0]


def test_indices_point_into_the_whole_reading_order_even_for_a_late_object() -> None:
    bank = MemoryBank(MemoryRules(top_k=100))
    bank.keep_for_good(_frame({1: 1.0}, key=0.0))
    bank.keep_for_good(_frame({2: 5.0}, key=0.1))
    early, late = _read(bank, 1, 2).top
    assert sorted(early.indices[0].tolist()) == list(range(CELLS))
    assert sorted(late.indices[0].tolist()) == list(range(CELLS, 2 * CELLS))


def test_permanent_frames_beyond_the_limit_leave_the_first_and_the_last_added() -> None:
    bank = MemoryBank(MemoryRules(top_k=1000, permanent_frames=3))
    for index in range(10):
        bank.keep_for_good(_frame({1: float(index)}, key=index * 1e-4))
    assert bank.elements == 3 * CELLS
    assert _first_values(bank, 1) == [pytest.approx((0 + 8 + 9) / 3, abs=1e-3)]


def test_an_object_keeps_its_only_frame_however_many_another_adds() -> None:
    bank = MemoryBank(MemoryRules(permanent_frames=2))
    bank.keep_for_good(_frame({2: 2.0}, key=9.0))
    for index in range(5):
        bank.keep_for_good(_frame({1: 1.0}, key=index * 0.1))
    assert _first_values(bank, 2) == [2.0]


def test_the_same_image_again_replaces_values_and_keeps_those_of_others() -> None:
    bank = MemoryBank(MemoryRules())
    bank.keep_for_good(_frame({1: 1.0, 2: 2.0}))
    bank.keep_for_good(_frame({2: 4.0}))
    assert bank.elements == CELLS
    assert _first_values(bank, 1, 2) == [1.0, 4.0]


def test_working_frames_roll_and_replace_the_last_one() -> None:
    bank = MemoryBank(MemoryRules(working_frames=2))
    bank.keep_for_good(_frame({1: 1.0}))
    for time in range(1, 9):
        bank.set_last(_frame({1: 1.0}, time))
        assert bank.elements <= (1 + 2 + 1) * CELLS
        bank.keep_for_now(_frame({1: 1.0}, time))
    assert bank.elements == (1 + 2) * CELLS


def test_a_window_hides_far_cells_of_recent_frames_but_not_of_permanent_ones() -> None:
    bank = MemoryBank(MemoryRules(top_k=100, window_cells=1.0, window_growth=0.0))
    bank.keep_for_good(_frame({1: 0.0}))
    bank.set_last(_frame({1: 0.0}, time=1))
    top = _read(bank, 1, now=2).top[0]
    read_by_first_cell = {i for i, w in zip(top.indices[0].tolist(), top.weights[0].tolist(), strict=True) if w > 0}
    # Cell 0 is at row 0, column 0: in the last frame it may look at columns 0 and 1 of both rows.
    assert read_by_first_cell == {*range(CELLS), CELLS + 0, CELLS + 1, CELLS + 3, CELLS + 4}


def test_windows_grow_with_age_up_to_their_limit() -> None:
    rules = MemoryRules(window_cells=8, window_growth=0.15, window_limit=3)
    assert [rules.window_radius(age) for age in (0, 1, 11, 100)] == [8, 8, pytest.approx(20), 24]


def test_removed_object_takes_its_frames_along() -> None:
    bank = MemoryBank(MemoryRules())
    bank.keep_for_good(_frame({1: 1.0, 2: 2.0}))
    bank.keep_for_now(_frame({2: 2.0}, time=1))
    bank.set_last(_frame({2: 2.0}, time=2))
    bank.remove(2)
    assert bank.elements == CELLS
    assert _first_values(bank, 1) == [1.0]


def test_query_chunks_do_not_change_the_answer() -> None:
    grid_hw, cells = (20, 30), 600  # more than one chunk
    generator = torch.Generator().manual_seed(0)
    keys = torch.randn(cells, 4, generator=generator)
    rows = memory_rows(keys, torch.ones(cells, 1))
    bank = MemoryBank(MemoryRules(top_k=5))
    bank.keep_for_good(MemoryFrame(rows, {1: torch.randn(cells, 2, generator=generator)}, 0))
    queries = query_rows(keys, torch.ones(cells, 4))
    reading = bank.read(queries, grid_hw, [1], 1)
    assert reading.values.shape == (1, cells, 2)
    assert torch.equal(reading.top[0].indices[:, 0], torch.arange(cells))
