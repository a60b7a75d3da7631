"""Videos for training, validation and test."""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.errors import InvalidInputError
from tam_backend.export.splits import read_fractions, split_videos


@given(count=st.integers(1, 60), seed=st.integers(0, 99), train=st.integers(1, 9))
def test_parts_are_as_large_as_asked_and_do_not_depend_on_the_order(count: int, seed: int, train: int) -> None:
    names = [f"video{number}" for number in range(count)]
    fractions = (train / 10, 1 - train / 10)
    found = split_videos(names, fractions, seed)
    assert found == split_videos(names[::-1], fractions, seed)
    assert found.keys() == set(names)
    counts = Counter(found.values())
    if count >= 2:
        assert counts["train"] >= 1
        assert counts["val"] >= 1
    if count * min(fractions) >= 1:
        assert abs(counts["train"] - count * fractions[0]) <= 1


def test_a_part_that_is_not_wanted_stays_empty() -> None:
    assert set(split_videos(["a", "b", "c"], (1.0, 0.0), 0).values()) == {"train"}


@pytest.mark.parametrize("text", ["", "0.8", "0.8/0.1", "a/b", "1.2/-0.2", "0.5/0.2/0.2/0.1", "nan/nan"])
def test_what_is_no_split_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError, match="--split"):
        read_fractions(text)


def test_a_split_is_read() -> None:
    assert read_fractions("0.8/0.1/0.1") == (0.8, 0.1, 0.1)
    assert read_fractions("0.7/0.3") == (0.7, 0.3)
