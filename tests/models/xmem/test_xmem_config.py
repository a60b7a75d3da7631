from __future__ import annotations

import dataclasses
from typing import Any

import pytest

from tam_backend.errors import InvalidInputError
from tam_backend.models.xmem import XMemConfig


def test_defaults_are_those_of_the_paper_with_permanent_memory() -> None:
    assert dataclasses.asdict(XMemConfig()) == {
        "mem_every": 5,
        "deep_update_every": -1,
        "min_mid_term_frames": 5,
        "max_mid_term_frames": 10,
        "num_prototypes": 128,
        "max_long_term_elements": 10000,
        "top_k": 30,
        "enable_long_term": True,
        "enable_long_term_count_usage": True,
        "permanent_memory": True,
    }


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"mem_every": 0}, "mem_every is 0. It must be 1 or above."),
        ({"top_k": -1}, "top_k is -1"),
        ({"deep_update_every": 0}, "deep_update_every is 0. It must be 1 or above, or -1"),
        ({"deep_update_every": -2}, "deep_update_every is -2"),
        ({"num_prototypes": 1.5}, "num_prototypes is 1.5, not a whole number"),
        ({"mem_every": True}, "mem_every is True, not a whole number"),
        ({"enable_long_term": 1}, "enable_long_term is 1, not True or False"),
        ({"min_mid_term_frames": 10}, "max_mid_term_frames .10. is not above min_mid_term_frames .10."),
        ({"max_long_term_elements": 127}, "max_long_term_elements .127. is below num_prototypes .128."),
    ],
)
def test_numbers_that_make_no_sense_are_refused(changes: dict[str, Any], complaint: str) -> None:
    with pytest.raises(InvalidInputError, match=complaint):
        XMemConfig(**changes)


def test_config_cannot_change_under_a_tracker() -> None:
    with pytest.raises(dataclasses.FrozenInstanceError):
        XMemConfig().top_k = 5  # type: ignore[misc]
