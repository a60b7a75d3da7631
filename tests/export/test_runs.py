"""Masks as run lengths: the same bytes as pycocotools writes, and every pixel back."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as npst
from pycocotools import mask as coco

from tam_backend.export.runs import Runs

MASKS = npst.arrays(bool, st.tuples(st.integers(1, 24), st.integers(1, 24)))


@given(mask=MASKS)
@settings(max_examples=200)
def test_run_lengths_are_those_of_pycocotools_and_lead_back(mask: np.ndarray) -> None:
    runs = Runs.of(mask)
    assert runs.counts == coco.encode(np.asfortranarray(mask.view(np.uint8)))["counts"]
    assert np.array_equal(runs.decoded(), mask)
    assert runs.area == np.count_nonzero(mask)


@given(mask=MASKS)
def test_the_box_is_tight_and_the_crop_is_what_lies_in_it(mask: np.ndarray) -> None:
    runs = Runs.of(mask)
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
    assert np.array_equal(Runs.union([Runs.of(mask) for mask in masks]).decoded(), np.any(masks, axis=0))


def test_a_polygon_on_the_edges_of_pixels_is_filled_exactly() -> None:
    expected = np.zeros((8, 10), bool)
    expected[2:6, 3:9] = True
    assert np.array_equal(Runs.of_polygon([(3, 2), (9, 2), (9, 6), (3, 6)], (8, 10)).decoded(), expected)
