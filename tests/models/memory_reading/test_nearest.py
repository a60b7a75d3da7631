from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from tam_backend.models.memory_reading.affinity import memory_rows, query_rows, similarity, top_k_softmax
from tam_backend.models.memory_reading.nearest import distances, infinite_where, nearest, push_away

DTYPES = [torch.float32, torch.bfloat16]


@settings(max_examples=60, deadline=None)
@given(
    seed=st.integers(0, 10**6),
    elements=st.integers(1, 700),
    top_k=st.integers(1, 40),
    levels=st.sampled_from([3, 10**6]),  # few: many ties
    masked=st.sampled_from([0.0, 0.5, 0.995]),
    dtype=st.sampled_from(DTYPES),
)
def test_the_nearest_are_the_most_similar_of_a_full_sort(
    seed: int, elements: int, top_k: int, levels: int, masked: float, dtype: torch.dtype
) -> None:
    generator = torch.Generator().manual_seed(seed)
    far = torch.randint(levels, (elements, 5), generator=generator).to(dtype) / 1000
    far[torch.rand(elements, 5, generator=generator) < masked] = torch.inf
    top, expected = nearest(far, top_k), top_k_softmax(-far.t().float(), top_k)
    assert torch.equal(top.similarity, expected.similarity)
    assert torch.equal(top.weights, expected.weights)
    assert torch.equal(-far.t().gather(1, top.indices).float(), top.similarity)
    assert all(len(set(row)) == len(row) for row in top.indices.tolist())


def test_a_query_with_all_masked_reads_nothing() -> None:
    top = nearest(torch.tensor([[1.0, torch.inf], [torch.inf, torch.inf]]), 2)
    assert top.weights.tolist() == [[1.0, 0.0], [0.0, 0.0]]


def test_distances_are_similarities_turned_round_and_never_below_zero() -> None:
    generator = torch.Generator().manual_seed(0)
    key = 12 * torch.randn(30, 8, generator=generator)
    queries, memory = query_rows(key, torch.ones(30, 8)), memory_rows(key, torch.ones(30, 1))
    far = distances(queries, memory)
    torch.testing.assert_close(far, -similarity(queries, memory).t(), atol=1e-3, rtol=1e-5)
    assert not (far.view(torch.int32) < 0).any()


@pytest.mark.parametrize("dtype", DTYPES)
def test_what_is_pushed_away_is_infinite_and_the_rest_stays(dtype: torch.dtype) -> None:
    far = torch.tensor([[0.0, 1.5], [2.0, 3.0]], dtype=dtype)
    push_away(far, infinite_where(torch.tensor([[True, False], [False, True]]), dtype))
    assert far.tolist() == [[torch.inf, 1.5], [2.0, torch.inf]]
