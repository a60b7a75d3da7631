"""Prompts and masks: what they accept, and what they refuse with a sentence."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from tam_backend.errors import InvalidPromptError
from tam_backend.types import BoolMask, EncodedMask, Mask, Point, Prompt


def test_points_default_to_positive_and_boxes_are_put_in_order() -> None:
    prompt = Prompt(object_id=1, frame=0, points=[(1, 2)], box=[9, 8, 3, 4])  # type: ignore[list-item]
    assert prompt.points == (Point(1, 2, True),)
    assert prompt.box == (3, 4, 9, 8)


def test_any_non_zero_pixel_of_a_mask_is_the_object() -> None:
    mask = Prompt(object_id=1, frame=0, mask=np.array([[0, 7], [255, 0]])).mask
    assert mask is not None
    assert mask.tolist() == [[False, True], [True, False]]


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ({}, "empty"),
        ({"object_id": 0, "points": [(1, 1, True)]}, "Object id 0"),
        ({"object_id": True, "points": [(1, 1, True)]}, "Object id True"),
        ({"frame": -1, "points": [(1, 1, True)]}, "Frame -1"),
        ({"frame": 1.5, "points": [(1, 1, True)]}, "Frame 1.5"),
        ({"points": [(math.nan, 1, True)]}, "finite"),
        ({"points": [("a", 1, True)]}, "not a number"),
        ({"points": [(1,)]}, "not \\(x, y"),
        ({"box": (1, 1, 1, 5)}, "no area"),
        ({"box": (1, 1, 5)}, "x0, y0"),
        ({"mask": np.zeros((2, 2, 3))}, "height, width"),
    ],
)
def test_a_prompt_that_cannot_be_understood_is_refused(given: dict[str, object], says: str) -> None:
    with pytest.raises(InvalidPromptError, match=says):
        Prompt(**({"object_id": 1, "frame": 0} | given))  # type: ignore[arg-type]


def test_numpy_takes_a_mask_as_its_array() -> None:
    mask = Mask(np.eye(3, dtype=bool), 0.5)
    assert np.asarray(mask).sum() == mask.area == 3
    assert mask.shape == (3, 3)
    assert np.logical_and(mask, np.ones((3, 3), bool)).sum() == 3


@st.composite
def masks(draw: st.DrawFn, size_hw: tuple[int, int] | None = None) -> BoolMask:
    return draw(arrays(np.bool_, size_hw or (draw(st.integers(0, 9)), draw(st.integers(0, 9)))))


@given(masks())
def test_a_mask_comes_back_from_its_code_as_it_was(mask: BoolMask) -> None:
    code = EncodedMask.of(mask)
    assert code.counts == coco.encode(np.asfortranarray(mask, dtype=np.uint8))["counts"]
    assert EncodedMask.of(np.asfortranarray(mask)) == code
    assert code.array.dtype == np.bool_
    assert np.array_equal(code.array, mask) and np.array_equal(code, mask)  # the shape too
    assert (code.size_hw, code.area) == (mask.shape, np.count_nonzero(mask))


@given(st.tuples(masks((4, 5)), masks((4, 5))))
def test_codes_of_masks_compare_and_overlap_as_the_masks_do(two: tuple[BoolMask, BoolMask]) -> None:
    one, other = two
    assert (EncodedMask.of(one) == EncodedMask.of(other)) == np.array_equal(one, other)
    assert EncodedMask.of(one) == EncodedMask.of(np.asfortranarray(one).astype(np.int64) * 3)
    assert EncodedMask.of(one).overlaps(EncodedMask.of(other)) == bool((one & other).any())


def test_empty_masks_of_different_sizes_differ() -> None:
    assert EncodedMask.of(np.zeros((2, 3), np.bool_)) != EncodedMask.of(np.zeros((3, 2), np.bool_))


@pytest.mark.parametrize("given", [np.zeros((4, 5), np.bool_), np.zeros((4, 5), np.uint8)])
def test_a_prompt_keeps_its_mask_whatever_becomes_of_the_array(given: np.ndarray) -> None:
    prompt = Prompt(1, 0, mask=given)
    given[:] = 1
    assert not np.asarray(prompt.mask).any()
