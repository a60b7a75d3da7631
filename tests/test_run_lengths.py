"""Masks as run lengths: the same bytes as pycocotools writes, the same pixels as it reads, and nothing damaged."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pycocotools import mask as coco

from tam_backend.types import EncodedMask

MASKS = npst.arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(mask=MASKS)
@settings(max_examples=200)
def test_run_lengths_are_those_of_pycocotools_and_lead_back(mask: np.ndarray) -> None:
    runs = EncodedMask.of(mask)
    assert runs.counts == coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"]
    assert np.array_equal(runs.array, mask)
    assert runs.area == np.count_nonzero(mask)


@given(data=st.data(), size=st.tuples(st.integers(1, 30), st.integers(1, 30)))
def test_whatever_pycocotools_reads_is_read_alike(data: st.DataObject, size: tuple[int, int]) -> None:
    """Also what it does not write: runs of no pixels, and two runs of a kind after each other that way."""
    cuts = sorted(data.draw(st.lists(st.integers(0, size[0] * size[1]), max_size=12)))
    lengths = np.diff([0, *cuts, size[0] * size[1]]).tolist()
    code = coco.frPyObjects({"size": list(size), "counts": lengths}, *size)
    assert np.array_equal(EncodedMask(bytes(code["counts"]), size).array, coco.decode(code).astype(bool))


def test_long_runs_are_read(size: tuple[int, int] = (3000, 4000)) -> None:
    mask = np.zeros(size, bool)
    mask[5:2990, 7:3990] = True
    code = coco.encode(np.asfortranarray(mask.view(np.uint8)))
    assert np.array_equal(EncodedMask(code["counts"], size).array, mask)


@pytest.mark.parametrize(
    "code", [b"", b"0", b"5", b"\xff", b"oooooooo", b"`0", b"5P", EncodedMask.of(np.eye(4, dtype=bool)).counts]
)
def test_a_code_that_does_not_fill_its_frame_is_refused(code: bytes) -> None:
    with pytest.raises(ValueError, match="run lengths"):
        _ = EncodedMask(code, (3, 4)).array


@given(mask=MASKS)
def test_the_box_is_tight_and_the_crop_is_what_lies_in_it(mask: np.ndarray) -> None:
    runs = EncodedMask.of(mask)
    crop, (top, left) = runs.crop()
    again = np.zeros_like(mask)
    again[top : top + crop.shape[0], left : left + crop.shape[1]] = crop
    assert np.array_equal(again, mask)
    if mask.any():
        assert crop.any(axis=0)[[0, -1]].all()
        assert runs.box_xyxy == (left, top, left + crop.shape[1], top + crop.shape[0])
    else:
        assert runs.box_xyxy is None


@given(data=st.data())
def test_a_union_has_the_pixels_of_all(data: st.DataObject) -> None:
    size = data.draw(st.tuples(st.integers(1, 9), st.integers(1, 9)))
    masks = data.draw(st.lists(npst.arrays(bool, size), min_size=1, max_size=4))
    assert np.array_equal(EncodedMask.union([EncodedMask.of(mask) for mask in masks]).array, np.any(masks, axis=0))


def test_a_polygon_on_the_edges_of_pixels_is_filled_exactly() -> None:
    expected = np.zeros((8, 10), bool)
    expected[2:6, 3:9] = True
    assert np.array_equal(EncodedMask.of_polygon([(3, 2), (9, 2), (9, 6), (3, 6)], (8, 10)).array, expected)
