from __future__ import annotations

import math

import torch
from hardware import needs_bfloat16
from hypothesis import given, settings
from hypothesis import strategies as st

from tam_backend.models.memory_reading.affinity import (
    largest,
    memory_rows,
    narrow_memory,
    narrow_queries,
    padded_rows,
    query_rows,
    read_out,
    similarity,
    top_k_softmax,
)


def test_similarity_of_one_element_is_the_formula_worked_by_hand() -> None:
    # s = 3, e = (1, 0.5), k_m = (1, 2), k_q = (3, 4), Ck = 2: -3 (1 * 4 + 0.5 * 4) / sqrt(2)
    memory = memory_rows(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0]]))
    query = query_rows(torch.tensor([[3.0, 4.0]]), torch.tensor([[1.0, 0.5]]))
    torch.testing.assert_close(similarity(query, memory), torch.tensor([[-18 / math.sqrt(2)]]))


@settings(max_examples=30, deadline=None)
@given(seed=st.integers(0, 10**6), elements=st.integers(1, 40), queries=st.integers(1, 9), top_k=st.integers(1, 50))
def test_reading_equals_a_naive_dense_implementation(seed: int, elements: int, queries: int, top_k: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    key_m, key_q = torch.randn(elements, 5, generator=generator), torch.randn(queries, 5, generator=generator)
    shrinkage = 1 + torch.rand(elements, 1, generator=generator)
    selection, values = torch.rand(queries, 5, generator=generator), torch.randn(elements, 3, generator=generator)

    distance = (selection[:, None] * (key_m[None] - key_q[:, None]) ** 2).sum(2)
    naive = -shrinkage[:, 0] * distance / math.sqrt(5)
    kept = naive >= naive.sort(1, descending=True).values[:, min(top_k, elements) - 1 :][:, :1]
    dense = naive.masked_fill(~kept, -torch.inf).softmax(1)

    scores = similarity(query_rows(key_q, selection), memory_rows(key_m, shrinkage))
    torch.testing.assert_close(scores, naive, atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(read_out(top_k_softmax(scores, top_k), values), dense @ values, atol=1e-3, rtol=1e-3)


@settings(max_examples=50, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    columns=st.integers(1, 700),
    count=st.integers(1, 12),
    levels=st.sampled_from([3, 10**6]),  # few: many ties
    masked=st.sampled_from([0.0, 0.5, 0.995]),
)
def test_the_largest_scores_are_those_of_a_full_sort(
    seed: int, columns: int, count: int, levels: int, masked: float
) -> None:
    generator = torch.Generator().manual_seed(seed)
    scores = torch.randint(levels, (5, columns), generator=generator).float()
    scores[torch.rand(5, columns, generator=generator) < masked] = -torch.inf
    count = min(count, columns)
    values, indices = largest(scores, count)
    assert torch.equal(values, scores.sort(1, descending=True).values[:, :count])
    assert torch.equal(values, scores.gather(1, indices))
    assert all(len(set(row)) == count for row in indices.tolist())


def test_very_dissimilar_elements_do_not_become_nan() -> None:
    top = top_k_softmax(torch.tensor([[-5000.0, -5001.0, -9000.0]]), 2)
    torch.testing.assert_close(top.weights, torch.tensor([[1.0, math.exp(-1)]]) / (1 + math.exp(-1)))
    assert top.indices.tolist() == [[0, 1]]


def test_top_k_larger_than_the_memory_reads_all_of_it() -> None:
    top = top_k_softmax(torch.zeros(2, 3), 30)
    torch.testing.assert_close(top.weights, torch.full((2, 3), 1 / 3))


def test_masked_elements_get_no_weight_and_a_masked_row_reads_nothing() -> None:
    scores = torch.tensor([[0.0, -torch.inf, -torch.inf], [-torch.inf] * 3])
    top = top_k_softmax(scores, 2)
    assert top.weights.tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_similarity_has_gradients_for_training_and_the_same_numbers_without() -> None:
    generator = torch.Generator().manual_seed(3)
    queries, memory = torch.randn(40, 129, generator=generator), torch.randn(50, 129, generator=generator)
    quick = similarity(queries, memory)
    slow = similarity(queries.requires_grad_(), memory)
    slow.sum().backward()
    assert queries.grad is not None
    torch.testing.assert_close(quick, slow.detach(), atol=1e-4, rtol=1e-4)


@needs_bfloat16
def test_narrow_similarity_is_right_to_a_hundredth_although_its_terms_are_far_larger() -> None:
    # Keys as long as the compact tracker's, 12.6: sums of 20 and more are taken from each other.
    generator = torch.Generator().manual_seed(2)
    key = 12.6 * torch.nn.functional.normalize(torch.randn(300, 64, generator=generator), dim=1)
    queries = query_rows(key[:50] + 0.5 * torch.randn(50, 64, generator=generator), torch.ones(50, 64))
    memory = memory_rows(key, torch.full((300, 1), 1.1))
    exact, narrow = similarity(queries, memory), similarity(narrow_queries(queries), narrow_memory(memory))
    assert narrow.dtype == torch.bfloat16
    assert (narrow.float() - exact).abs().sub(0.01 * exact.abs()).amax() < 0.1
    assert torch.equal(narrow.float().argmax(1), exact.argmax(1))


def test_appended_rows_are_farther_than_any_element() -> None:
    generator = torch.Generator().manual_seed(5)
    rows = memory_rows(50 * torch.randn(13, 8, generator=generator), torch.full((13, 1), 30.0))
    queries = query_rows(-50 * torch.randn(4, 8, generator=generator), torch.full((4, 8), 1e-3))
    scores = similarity(queries, padded_rows(rows, 8))
    assert scores.shape == (4, 16)
    assert scores[:, 13:].amax() < scores[:, :13].amin()
    assert padded_rows(rows[:8], 8).shape == (8, 17)
