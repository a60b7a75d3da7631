"""Run lengths and polygons of others: what is right comes out as it was, what is not never reaches the decoder."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from pycocotools import mask as coco

from tam_backend.dataset_in.checked_runs import from_code, from_lengths, from_polygons
from tam_backend.errors import InvalidInputError, MediaTooLargeError, TamError
from tam_backend.types import EncodedMask

MASKS = st.tuples(st.integers(1, 40), st.integers(1, 40)).flatmap(lambda hw: arrays(np.bool_, hw))


@given(MASKS)
def test_a_code_of_pycocotools_is_taken_as_it_is(mask: np.ndarray) -> None:
    expected = EncodedMask.of(mask)
    assert from_code(expected.counts, expected.size_hw, "it") == expected
    assert from_code(expected.counts.decode("ascii"), expected.size_hw, "it") == expected


@given(MASKS)
def test_plain_run_lengths_make_the_same_mask(mask: np.ndarray) -> None:
    lengths, value = [0], False
    for each in mask.T.ravel().tolist():
        if each != value:
            lengths.append(0)
            value = each
        lengths[-1] += 1
    assert from_lengths(lengths, mask.shape, "it") == EncodedMask.of(mask)


def test_runs_without_a_pixel_change_nothing() -> None:
    plain = from_lengths([3, 4, 2], (3, 3), "it")
    for padded in ([3, 2, 0, 2, 2], [0, 0, 3, 4, 2], [3, 4, 0, 0, 2], [3, 4, 2, 0], [1, 0, 2, 4, 2]):
        assert from_lengths(padded, (3, 3), "it") == plain


@given(st.binary(max_size=60), st.integers(1, 30), st.integers(1, 30))
def test_any_bytes_are_a_mask_of_the_frames_size_or_refused(code: bytes, height: int, width: int) -> None:
    try:
        read = from_code(code, (height, width), "it")
    except TamError:
        return
    assert read.array.shape == (height, width)


@given(st.text(alphabet=[chr(each) for each in range(48, 112)], max_size=40))
def test_any_code_is_a_mask_of_the_frames_size_or_refused(code: str) -> None:
    try:
        read = from_code(code, (9, 7), "it")
    except InvalidInputError:
        return
    assert read == EncodedMask.of(read.array)
    assert coco.decode({"size": [9, 7], "counts": code}).astype(bool).tolist() == read.array.tolist()


@pytest.mark.parametrize("lengths", [[4, 6], [4, 4], [-1, 10], [4.0, 5], [True, 8], ["4", 5], [1 << 70], [], [None]])
def test_run_lengths_that_do_not_fill_the_frame_are_refused(lengths: list[object]) -> None:
    with pytest.raises(InvalidInputError, match="run lengths of the mask"):
        from_lengths(lengths, (3, 3), "the mask")


def test_a_bomb_is_refused_before_it_is_made() -> None:
    with pytest.raises(MediaTooLargeError):
        from_lengths([1 << 40], (1 << 20, 1 << 20), "it")
    with pytest.raises(MediaTooLargeError):
        from_polygons([[0, 0, 1, 0, 1, 1]], (1 << 20, 1 << 20), "it")
    with pytest.raises(InvalidInputError):
        from_code("o" * 40 + "0", (3, 3), "it")


def test_polygons_are_filled_as_coco_fills_them() -> None:
    polygons = [[2.0, 2.0, 12.5, 2.0, 12.5, 9.0, 2.0, 9.0], [15, 1, 18, 1, 18, 4]]
    expected = coco.decode(coco.merge(coco.frPyObjects(polygons, 20, 30))).astype(bool)
    assert np.array_equal(from_polygons(polygons, (20, 30), "it").array, expected)


@pytest.mark.parametrize(
    "polygon",
    [[1, 1, 2, 2], [1, 1, 2, 2, 3], [1, 1, 2, 2, float("nan"), 3], [1, 1, 1e12, 1, 1, 5], ["1"] * 6, [10**400] * 6,
     {"x": 1}, [True] * 6],
)  # fmt: skip
def test_polygons_that_are_none_are_refused(polygon: object) -> None:
    with pytest.raises(InvalidInputError):
        from_polygons([polygon], (20, 30), "it")


@pytest.mark.parametrize(
    "polygons",
    [
        [[value for at in range(20_000) for value in (at / 20, 1000 * (at % 2))]],
        [[value for at in range(2_000) for value in (at / 2, 1000 * (at % 2))]] * 2,
        [[1, 1, 2, 1, 2, 2]] * 10_001,
    ],
    ids=["one that is too ragged", "two that are too ragged together", "too many"],
)
def test_polygons_that_would_take_all_memory_or_time_are_refused(polygons: list[object]) -> None:
    with pytest.raises(InvalidInputError, match="The mask of annotation 3") as refused:
        from_polygons(polygons, (1000, 1000), "annotation 3")
    assert refused.value.remedy == "Write the dataset anew with pycocotools."


@given(st.lists(st.lists(st.integers(-20, 40), min_size=6, max_size=6), min_size=1, max_size=4))
def test_polygons_have_the_one_code_of_their_mask(polygons: list[list[int]]) -> None:
    read = from_polygons(polygons, (20, 30), "it")
    assert read == EncodedMask.of(read.array)
