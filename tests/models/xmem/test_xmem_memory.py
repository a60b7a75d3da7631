from __future__ import annotations

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from tam_backend.models.memory_reading.affinity import query_rows
from tam_backend.models.memory_reading.reading import Reading
from tam_backend.models.xmem import three_memories
from tam_backend.models.xmem.elements import Elements, ObjectValues, consolidated, most_used
from tam_backend.models.xmem.three_memories import XMemMemory
from tam_backend.models.xmem.xmem_config import XMemConfig

CK, CV = 4, 3
SMALL = XMemConfig(
    min_mid_term_frames=2,
    max_mid_term_frames=4,
    num_prototypes=3,
    max_long_term_elements=7,
    top_k=5,
    permanent_memory=False,
)


def frame(seed: int, ids: tuple[int, ...] = (1,), cells: int = 6) -> Elements:
    generator = torch.Generator().manual_seed(seed)
    return Elements.of_frame(
        torch.randn(cells, CK, generator=generator),
        1 + torch.rand(cells, 1, generator=generator),
        torch.rand(cells, CK, generator=generator),
        {object_id: torch.randn(cells, CV, generator=generator) for object_id in ids},
    )


def queries(seed: int, count: int = 6) -> Tensor:
    generator = torch.Generator().manual_seed(1000 + seed)
    return query_rows(torch.randn(count, CK, generator=generator), torch.rand(count, CK, generator=generator))


def scores_of(elements: Elements, key: Tensor, selection: Tensor) -> Tensor:
    """(queries, elements), term by term as the paper writes it."""
    distance = (selection[:, None] * (elements.key[None] - key[:, None]) ** 2).sum(2)
    return -elements.shrinkage[:, 0] * distance / math.sqrt(CK)


def dense_read(elements: Elements, seed: int, object_id: int, top_k: int) -> tuple[Tensor, Tensor]:
    """Read by a whole matrix: (Q, CV) values and (n,) use of the elements that know the object."""
    generator = torch.Generator().manual_seed(1000 + seed)
    key, selection = torch.randn(6, CK, generator=generator), torch.rand(6, CK, generator=generator)
    held = elements.values[object_id]
    scores = scores_of(elements, key, selection)[:, held.elements]
    least = scores.sort(1, descending=True).values[:, min(top_k, scores.shape[1]) - 1]
    affinity = scores.masked_fill(scores < least[:, None], -torch.inf).softmax(1)
    return affinity @ held.values, affinity.sum(0)


def values_read(reading: Reading, row: int = 0) -> Tensor:
    return reading.values[row]


@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 10**6), frames=st.integers(1, 3), late=st.integers(0, 3), top_k=st.integers(1, 30))
def test_reading_equals_a_dense_implementation_for_early_and_late_objects(
    seed: int, frames: int, late: int, top_k: int
) -> None:
    stored = [frame(seed + i, (1, 2) if i >= late else (1,)) for i in range(frames)]
    memory = XMemMemory(replace(SMALL, top_k=top_k), CV)
    for elements in stored:
        memory.add(elements, False)
    reading = memory.read(queries(seed), [1, 2])
    everything = Elements.joined(stored)
    torch.testing.assert_close(values_read(reading), dense_read(everything, seed, 1, top_k)[0], atol=1e-4, rtol=1e-4)
    if late < frames:
        expected = dense_read(everything, seed, 2, top_k)[0]
        torch.testing.assert_close(values_read(reading, 1), expected, atol=1e-4, rtol=1e-4)
        assert (reading.top[1].indices >= 6 * late).all()
    else:
        assert (values_read(reading, 1) == 0).all()  # nothing knows it
        assert reading.top[1].indices.shape == (6, 0)


def test_many_queries_are_read_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    memory = XMemMemory(SMALL, CV)
    memory.add(frame(0), False)
    many = queries(0, 700)
    whole = memory.read(many, [1])
    parts = [memory.read(part, [1]) for part in many.split([123, 577])]
    torch.testing.assert_close(whole.values, torch.cat([part.values for part in parts], 1))
    assert torch.equal(whole.top[0].indices, torch.cat([part.top[0].indices for part in parts]))


def test_usage_is_the_affinity_of_the_first_group_per_read_lived_through() -> None:
    memory = XMemMemory(SMALL, CV)
    first, second = frame(0), frame(1, (1, 2))
    memory.add(first, False)
    memory.read(queries(0), [1])
    memory.add(second, False)
    memory.read(queries(1), [1, 2])
    once = dense_read(first, 0, 1, 5)[1]
    twice = dense_read(Elements.joined([frame(0), frame(1, (1, 2))]), 1, 1, 5)[1]
    torch.testing.assert_close(first.use, once + twice[:6], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(second.use, twice[6:], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(first.life, torch.full((6,), 2 + 1e-7))
    torch.testing.assert_close(second.usage, twice[6:], atol=1e-4, rtol=1e-4)


def test_unread_elements_have_usage_zero() -> None:
    assert frame(0).usage.tolist() == [0.0] * 6


def test_full_working_memory_is_consolidated_between_the_first_and_the_last_frames() -> None:
    memory = XMemMemory(SMALL, CV)
    stored = [frame(i) for i in range(4)]
    for i, elements in enumerate(stored):
        assert memory.long_term_elements == 0
        memory.add(elements, False)
        if i < 3:
            memory.read(queries(i), [1])
    # Frames 1 and 2 went; 0 and the last min - 1 = 1 stayed.
    assert memory.working_frames == 2
    assert memory.long_term_elements == 3
    prototypes = consolidated(Elements.joined(stored[1:3]), 3)
    expected = Elements.joined([prototypes, stored[0], stored[3]])
    torch.testing.assert_close(
        values_read(memory.read(queries(7), [1])), dense_read(expected, 7, 1, 5)[0], atol=1e-4, rtol=1e-4
    )


def test_with_the_usual_numbers_frames_1_to_5_of_10_are_consolidated() -> None:
    memory = XMemMemory(XMemConfig(), CV)
    for i in range(9):
        memory.add(frame(i), False)
    assert (memory.working_frames, memory.long_term_elements) == (9, 0)
    memory.add(frame(9), False)
    assert (memory.working_frames, memory.long_term_elements) == (5, 5 * 6)  # fewer than 128 candidates: all of them


def test_prototypes_are_the_most_used_with_values_and_shrinkage_read_anew() -> None:
    candidates = frame(3, cells=10)
    candidates.use = torch.tensor([0.0, 5, 1, 9, 2, 0, 0, 0, 0, 8])
    candidates.life = torch.tensor([1.0, 1, 1, 9, 1, 1, 1, 1, 1, 2])
    made = consolidated(candidates, 3)  # usage 5 and 4 and 2
    chosen = [1, 9, 4]
    assert torch.equal(made.key, candidates.key[chosen])
    affinity = scores_of(candidates, candidates.key[chosen], candidates.selection[chosen]).softmax(1)
    torch.testing.assert_close(made.values[1].values, affinity @ candidates.values[1].values, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(made.shrinkage, affinity @ candidates.shrinkage, atol=1e-4, rtol=1e-4)
    assert made.usage.tolist() == [0.0] * 3


def test_late_object_gets_prototypes_only_from_candidates_that_know_it() -> None:
    candidates = Elements.joined([frame(0), frame(1, (1, 2))])
    candidates.use = torch.arange(12.0).flip(0)  # the most used: 0, 1, 2 ... of which only 6 and 7 know object 2
    candidates.life = torch.ones(12)
    made = consolidated(candidates, 8)
    assert made.values[1].elements.tolist() == list(range(8))
    assert made.values[2].elements.tolist() == [6, 7]
    late = candidates.chosen(torch.arange(6, 12))
    affinity = scores_of(late, candidates.key[6:8], candidates.selection[6:8]).softmax(1)
    torch.testing.assert_close(made.values[2].values, affinity @ late.values[2].values, atol=1e-4, rtol=1e-4)
    assert 2 not in consolidated(candidates, 6).values  # none of them knows it


def test_late_object_still_meets_its_own_keys_after_consolidations() -> None:
    """Upstream matches it against the wrong keys from the first consolidation on (its defect 1)."""
    memory = XMemMemory(replace(SMALL, num_prototypes=7), CV)
    for i in range(7):
        memory.add(frame(i, (1, 2) if i > 1 else (1,)), False)
    memory.add(frame(99, (1, 2)), False)
    newest = frame(99, (1, 2))
    exact = query_rows(newest.key * 1.0, torch.full_like(newest.key, 50.0))  # finds nothing but itself
    reading = memory.read(exact, [1, 2])
    torch.testing.assert_close(values_read(reading, 0), newest.values[1].values, atol=1e-2, rtol=1e-2)
    torch.testing.assert_close(values_read(reading, 1), newest.values[2].values, atol=1e-2, rtol=1e-2)


def test_long_term_memory_lets_its_least_used_elements_go_first() -> None:
    elements = frame(0, (1, 2), cells=5)
    elements.use, elements.life = torch.tensor([4.0, 1, 3, 0, 2]), torch.ones(5)
    kept = most_used(elements, 3)
    assert torch.equal(kept.key, elements.key[[0, 2, 4]])
    assert torch.equal(kept.values[2].values, elements.values[2].values[[0, 2, 4]])
    assert kept.values[2].elements.tolist() == [0, 1, 2]


def test_equally_used_elements_do_not_all_go() -> None:
    """Upstream keeps none of 10 untouched elements when asked for 8 (its defect 2); here the oldest 2 go."""
    elements = frame(0, cells=10)
    assert torch.equal(most_used(elements, 8).key, elements.key[2:])
    assert len(most_used(elements, 10)) == 10
    assert len(most_used(elements, 0)) == 0


@pytest.mark.parametrize("prototypes", [3, 7])
@pytest.mark.parametrize("count_usage", [True, False])
def test_long_term_memory_never_exceeds_its_limit_also_with_several_groups(count_usage: bool, prototypes: int) -> None:
    config = replace(SMALL, enable_long_term_count_usage=count_usage, num_prototypes=prototypes)
    memory = XMemMemory(config, CV)
    sizes = []
    for i in range(40):
        memory.add(frame(i, (1, 2, 3)[: 1 + i // 10]), False)
        memory.read(queries(i), [1])
        sizes.append(memory.long_term_elements)
    assert max(sizes) <= 7
    assert sizes[-1] == 7
    assert torch.isfinite(memory.read(queries(0), [1, 2, 3]).values).all()


def test_store_at_exactly_its_limit_less_one_consolidation_keeps_everything() -> None:
    """Upstream crashes there (its defect 2)."""
    memory = XMemMemory(replace(SMALL, max_long_term_elements=6), CV)
    for i in range(6):
        memory.add(frame(i), False)
    assert memory.long_term_elements == 6  # two consolidations of 3


def test_long_term_usage_counts_only_if_asked_for() -> None:
    def least_used_survivor(count_usage: bool) -> Tensor:
        memory = XMemMemory(replace(SMALL, enable_long_term_count_usage=count_usage), CV)
        for i in range(30):
            memory.add(frame(i), False)
            memory.read(queries(i % 2), [1])
        return values_read(memory.read(queries(50), [1]))

    assert not torch.equal(least_used_survivor(True), least_used_survivor(False))


def test_without_long_term_memory_the_oldest_frames_after_the_first_are_dropped(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Upstream never lets any go (its defect 4)."""
    monkeypatch.setattr(three_memories, "_MOST_ELEMENTS_WITHOUT_LONG_TERM", 32 * 6 + 5)
    memory = XMemMemory(replace(SMALL, enable_long_term=False), CV)
    for i in range(200):
        memory.add(frame(i), False)
    assert memory.working_frames == 32
    assert memory.long_term_elements == 0
    kept = Elements.joined([frame(i) for i in (0, *range(169, 200))])
    torch.testing.assert_close(
        values_read(memory.read(queries(3), [1])), dense_read(kept, 3, 1, 5)[0], atol=1e-4, rtol=1e-4
    )


@pytest.mark.parametrize("long_term", [True, False])
def test_permanent_frames_are_neither_consolidated_nor_dropped(
    long_term: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(three_memories, "_MOST_ELEMENTS_WITHOUT_LONG_TERM", 32 * 6)
    memory = XMemMemory(replace(SMALL, enable_long_term=long_term), CV)
    for i in range(100):
        memory.add(frame(i), permanent=i in (5, 40))
    assert memory.permanent_frames == 2
    for i in (0, 5, 40):
        exact = query_rows(frame(i).key, torch.full((6, CK), 50.0))
        torch.testing.assert_close(
            values_read(memory.read(exact, [1])), frame(i).values[1].values, atol=1e-2, rtol=1e-2
        )
    assert memory.working_frames <= (4 if long_term else 32) + 2


def test_without_long_term_memory_frames_are_dropped_as_late_as_memory_allows() -> None:
    """As upstream's as long as that is affordable: a video may be of small frames."""
    config = replace(SMALL, enable_long_term=False, max_mid_term_frames=3)
    small, large = XMemMemory(config, CV), XMemMemory(config, CV)
    for i in range(100):
        small.add(frame(i), False)
    for i in range(5):
        large.add(frame(i, cells=30_000), False)
    assert small.working_frames == 100
    assert large.working_frames == 3


def test_even_permanent_frames_are_bounded() -> None:
    memory = XMemMemory(SMALL, CV)
    sizes = []
    for i in range(150):
        memory.add(frame(i, cells=2), permanent=True)
        sizes.append(memory.elements)
    assert memory.permanent_frames == 64
    assert max(sizes) <= 2 * (64 + 4) + 7
    assert max(sizes[70:100]) == max(sizes[120:])


def test_permanent_frame_of_the_same_image_takes_the_place_of_the_earlier() -> None:
    memory = XMemMemory(SMALL, CV)
    memory.add(frame(0, (1,)), True)
    memory.read(queries(0), [1])
    corrected = frame(0, (2,))
    memory.add(corrected, True)
    assert memory.working_frames == 1
    reading = memory.read(queries(0), [1, 2])
    both = frame(0, (1,))
    both.values.update(corrected.values)
    torch.testing.assert_close(values_read(reading, 0), dense_read(both, 0, 1, 5)[0], atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(values_read(reading, 1), dense_read(both, 0, 2, 5)[0], atol=1e-4, rtol=1e-4)


def test_removed_object_leaves_the_others_as_they_were_and_its_own_elements_go() -> None:
    with_it, without_it = XMemMemory(SMALL, CV), XMemMemory(SMALL, CV)
    for i in range(10):
        with_it.add(frame(i, (1, 2) if i < 8 else (1,)), False)
        without_it.add(frame(i, (1,)), False)
    with_it.remove(2)
    torch.testing.assert_close(with_it.read(queries(0), [1]).values, without_it.read(queries(0), [1]).values)
    with_it.remove(1)
    assert with_it.elements == 0
    assert (with_it.read(queries(0), [1]).values == 0).all()


def test_elements_that_only_a_removed_object_knew_go_from_long_term_memory() -> None:
    early, late = frame(0, (1,)), frame(1, (1, 2))
    joined = Elements.joined([early, late])
    rest = joined.without(1)
    assert rest is not None
    assert torch.equal(rest.key, late.key)
    assert rest.values[2].elements.tolist() == list(range(6))
    assert rest.without(2) is None


def test_values_are_shared_with_the_layout_not_doubled() -> None:
    memory = XMemMemory(SMALL, CV)
    stored = [frame(0), frame(1)]
    for elements in stored:
        memory.add(elements, False)
    memory.read(queries(0), [1])
    storages = {elements.values[1].values.untyped_storage().data_ptr() for elements in stored}
    assert len(storages) == 1


def test_very_distant_memory_is_no_nan_and_top_k_may_exceed_the_memory() -> None:
    """Upstream's defect 3."""
    far = frame(0)
    memory = XMemMemory(replace(SMALL, top_k=1000), CV)
    memory.add(Elements.of_frame(far.key + 1e3, far.shrinkage, far.selection, {1: far.values[1].values}), False)
    reading = memory.read(queries(0), [1])
    assert torch.isfinite(reading.values).all()
    torch.testing.assert_close(reading.top[0].weights.sum(1), torch.ones(6))


def test_chosen_elements_keep_the_values_of_those_who_know_them() -> None:
    elements = Elements.joined([frame(0, (1,)), frame(1, (1, 2))])
    kept = elements.chosen(torch.tensor([1, 7, 8]))
    assert kept.values[1].elements.tolist() == [0, 1, 2]
    assert kept.values[2].elements.tolist() == [1, 2]
    assert torch.equal(kept.values[2].values, elements.values[2].values[[1, 2]])
    assert 2 not in elements.chosen(torch.tensor([1])).values
    assert isinstance(kept.values[1], ObjectValues)
