from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tam_backend.models.compact_tracker.memory_bank import MemoryBank, MemoryFrame, MemoryRules
from tam_backend.models.memory_reading.affinity import memory_rows, query_rows
from tam_backend.models.memory_reading.reading import Reading

GRID_HW = (2, 3)
CELLS = 6


def _frame(values: dict[int, float], time: int = 0, key: float = 0.0) -> MemoryFrame:
    rows = memory_rows(torch.full((CELLS, 2), key), torch.ones(CELLS, 1))
    return MemoryFrame(rows, {object_id: torch.full((CELLS, 1), value) for object_id, value in values.items()}, time)


def _read(bank: MemoryBank, *object_ids: int, now: int = 1) -> Reading:
    queries = query_rows(torch.zeros(CELLS, 2), torch.ones(CELLS, 2))
    return bank.read(queries, object_ids, now)


def _first_values(bank: MemoryBank, *object_ids: int) -> list[float]:
    return [round(value, 5) for value in _read(bank, *object_ids).values[:, 0, 0].tolist()]


def test_objects_read_only_frames_stored_since_they_joined() -> None:
    bank = MemoryBank(MemoryRules(top_k=100), GRID_HW)
    bank.keep_for_good(_frame({1: 1.0}, key=0.0))
    bank.keep_for_good(_frame({2: 5.0}, key=0.1))
    bank.keep_for_now(_frame({1: 3.0}, time=0))
    assert _first_values(bank, 2) == [5.0]
    assert _first_values(bank, 1, 2)[1] == 5.0
    assert 1.0 < _first_values(bank, 1, 2)[0] < 3.0


def test_answers_come_in_the_order_asked_for() -> None:
    bank = MemoryBank(MemoryRules(), GRID_HW)
    bank.keep_for_good(_frame({1: 1.0, 7: 7.0, 3: 3.0}))
    assert _first_values(bank, 7, 1, 3) == [7.0, 1.0, 3.0]


def test_indices_point_into_the_whole_reading_order_even_for_a_late_object() -> None:
    bank = MemoryBank(MemoryRules(top_k=100), GRID_HW)
    bank.keep_for_good(_frame({1: 1.0}, key=0.0))
    bank.keep_for_good(_frame({2: 5.0}, key=0.1))
    early, late = _read(bank, 1, 2).top
    assert sorted(early.indices[0].tolist()) == list(range(CELLS))
    assert sorted(late.indices[0].tolist()) == list(range(CELLS, 2 * CELLS))


def test_permanent_frames_beyond_the_limit_leave_the_first_and_the_last_added() -> None:
    bank = MemoryBank(MemoryRules(top_k=1000, permanent_frames=3), GRID_HW)
    for index in range(10):
        bank.keep_for_good(_frame({1: float(index)}, key=index * 1e-4))
    assert bank.elements == 3 * CELLS
    assert _first_values(bank, 1) == [pytest.approx((0 + 8 + 9) / 3, abs=1e-3)]


def test_an_object_keeps_its_only_frame_however_many_another_adds() -> None:
    bank = MemoryBank(MemoryRules(permanent_frames=2), GRID_HW)
    bank.keep_for_good(_frame({2: 2.0}, key=9.0))
    for index in range(5):
        bank.keep_for_good(_frame({1: 1.0}, key=index * 0.1))
    assert _first_values(bank, 2) == [2.0]


def test_the_same_image_again_replaces_values_and_keeps_those_of_others() -> None:
    bank = MemoryBank(MemoryRules(), GRID_HW)
    bank.keep_for_good(_frame({1: 1.0, 2: 2.0}))
    bank.keep_for_good(_frame({2: 4.0}))
    assert bank.elements == CELLS
    assert _first_values(bank, 1, 2) == [1.0, 4.0]


def test_working_frames_roll_and_replace_the_last_one() -> None:
    bank = MemoryBank(MemoryRules(working_frames=2), GRID_HW)
    bank.keep_for_good(_frame({1: 1.0}))
    for time in range(1, 9):
        bank.set_last(_frame({1: 1.0}, time))
        assert bank.elements <= (1 + 2 + 1) * CELLS
        bank.keep_for_now(_frame({1: 1.0}, time))
    assert bank.elements == (1 + 2) * CELLS


def test_a_window_hides_far_cells_of_recent_frames_but_not_of_permanent_ones() -> None:
    bank = MemoryBank(MemoryRules(top_k=100, window_cells=1.0, window_growth=0.0), GRID_HW)
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
    bank = MemoryBank(MemoryRules(), GRID_HW)
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
    bank = MemoryBank(MemoryRules(top_k=5), grid_hw)
    bank.keep_for_good(MemoryFrame(rows, {1: torch.randn(cells, 2, generator=generator)}, 0))
    queries = query_rows(keys, torch.ones(cells, 4))
    reading = bank.read(queries, [1], 1)
    assert reading.values.shape == (1, cells, 2)
    assert torch.equal(reading.top[0].indices[:, 0], torch.arange(cells))


@settings(max_examples=30, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    grid_hw=st.sampled_from([(1, 1), (1, 9), (9, 1), (7, 5), (12, 40)]),  # the last in more than one chunk
    ages=st.lists(st.integers(1, 60), max_size=4, unique=True),
    top_k=st.integers(1, 60),
    window_cells=st.floats(0.5, 12),
)
def test_a_read_equals_a_naive_dense_one(
    seed: int, grid_hw: tuple[int, int], ages: list[int], top_k: int, window_cells: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    cells, now = grid_hw[0] * grid_hw[1], 100
    rules = MemoryRules(top_k=top_k, window_cells=window_cells)
    bank = MemoryBank(rules, grid_hw)
    queries = query_rows(torch.randn(cells, 4, generator=generator), torch.rand(cells, 4, generator=generator))
    frames = [
        MemoryFrame(
            memory_rows(torch.randn(cells, 4, generator=generator), 1 + torch.rand(cells, 1, generator=generator)),
            {1: torch.randn(cells, 3, generator=generator)},
            now - age,
        )
        for age in [99, *sorted(ages, reverse=True)]
    ]
    bank.keep_for_good(frames[0])
    for frame in frames[1:]:
        bank.keep_for_now(frame)

    place = torch.tensor([(y, x) for y in range(grid_hw[0]) for x in range(grid_hw[1])])
    apart = (place[:, None] - place).abs().amax(2)
    hidden = [apart < 0, *(apart > rules.window_radius(now - frame.time) for frame in frames[1:])]
    scores = queries @ torch.cat([frame.rows for frame in frames]).T
    scores = scores.masked_fill(torch.cat(hidden, 1), -torch.inf)
    least = scores.sort(1, descending=True).values[:, min(top_k, scores.shape[1]) - 1 :][:, :1]
    expected = scores.masked_fill(scores < least, -torch.inf).softmax(1) @ torch.cat([f.values[1] for f in frames])

    torch.testing.assert_close(bank.read(queries, [1], now).values[0], expected, atol=1e-3, rtol=1e-3)
