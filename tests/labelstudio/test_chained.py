"""Tasks that a long video was cut into are found together again."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.labelstudio.chained import Chain, Link, chains, read_link


def data(part: Any, parts: Any, before: Any = None, after: Any = None) -> dict[str, Any]:
    return {"chain": {"part": part, "parts": parts, "previous_task": before, "next_task": after}}


@given(order=st.permutations([11, 12, 13, 14]))
def test_parts_are_in_their_order_whatever_the_tasks_ids_are(order: list[int]) -> None:
    ends = [None, *order, None]
    links = [read_link(task, data(at + 1, 4, ends[at], ends[at + 2])) for at, task in enumerate(order)]
    assert list(chains([*links, Link(20)])) == [Chain(tuple(order)), Chain((20,))]


def test_a_chain_whose_middle_is_gone_is_still_one_where_it_hangs_together() -> None:
    links = [Link(1, 1, 4, (2,)), Link(2, 2, 4, (1, 3)), Link(4, 4, 4, (3,))]
    assert list(chains(links)) == [Chain((1, 2), (3, 4)), Chain((4,), (1, 2, 3))]


def test_neighbours_of_other_chains_and_circles_do_no_harm() -> None:
    assert list(chains([Link(1, 1, 2, (2,)), Link(2, 2, 3, (1,))])) == [Chain((1,), (2,)), Chain((2,), (1, 3))]
    assert list(chains([Link(1, 1, 2, (2, 1)), Link(2, 2, 2, (1, 2))])) == [Chain((1, 2))]


@pytest.mark.parametrize(
    "wrong", [None, 7, [], {}, {"part": "1", "parts": 2}, {"part": 3, "parts": 2}, {"part": True, "parts": True}]
)
def test_what_makes_no_sense_is_a_task_by_itself(wrong: Any) -> None:
    assert read_link(5, {"chain": wrong}) == Link(5)
    assert read_link(5, data(1, 2, "4", -1)) == Link(5, 1, 2)
