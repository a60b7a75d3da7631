"""Thin parts, holes and what became of an object's pixels, on masks whose counts can be checked by hand.

On 100 x 100 pixels the radius is 2: 0.8 % of the diagonal is 1.13, rounded up.
"""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from benchmarks.hard_kinds import Detail, detail_of, holes, judge, thin_parts
from benchmarks.scores import boundary_reach

RADIUS = 2
SIZE = (100, 100)
MASKS = arrays(np.bool_, (12, 15))


def blank() -> np.ndarray:
    return np.zeros(SIZE, bool)


def block_with_leg() -> np.ndarray:
    """A block of 30 x 30 pixels with a leg one pixel wide and 20 long below it."""
    mask = blank()
    mask[20:50, 30:60] = True
    mask[50:70, 45] = True
    return mask


def block_with_window() -> np.ndarray:
    """A block of 30 x 30 pixels with a window of 10 x 10 in its middle."""
    mask = blank()
    mask[20:50, 30:60] = True
    mask[30:40, 40:50] = False
    return mask


def test_the_radius_is_the_tolerance_of_boundaries() -> None:
    assert boundary_reach(SIZE) == RADIUS
    assert boundary_reach((480, 854)) == 8


def test_a_leg_is_thin_and_the_corners_of_its_block_are_not() -> None:
    """The disc's lowest pixel reaches into the leg's first one, which therefore stays with the block."""
    expected = blank()
    expected[51:70, 45] = True
    np.testing.assert_array_equal(thin_parts(block_with_leg(), RADIUS), expected)


def test_a_knob_no_longer_than_the_radius_is_not_thin() -> None:
    mask = blank()
    mask[20:50, 30:60] = True
    mask[50:52, 45] = True
    assert not thin_parts(mask, RADIUS).any()


@pytest.mark.parametrize(("width", "thin"), [(4, True), (5, False)])
def test_what_is_as_wide_as_the_disc_is_not_thin(width: int, thin: bool) -> None:
    mask = blank()
    mask[20 : 20 + width, :] = True
    np.testing.assert_array_equal(thin_parts(mask, RADIUS), mask if thin else blank())


def test_an_object_goes_on_behind_the_rim() -> None:
    """Three rows are thin within the frame; at its rim they may be the edge of something large."""
    inside, at_rim = blank(), blank()
    inside[40:43] = True
    at_rim[:3] = True
    np.testing.assert_array_equal(thin_parts(inside, RADIUS), inside)
    assert not thin_parts(at_rim, RADIUS).any()


def test_a_window_is_a_hole_and_a_bay_is_none() -> None:
    mask = block_with_window()
    expected = blank()
    expected[30:40, 40:50] = True
    np.testing.assert_array_equal(holes(mask), expected)
    mask[30:40, 50:60] = False
    assert not holes(mask).any()


def test_pixels_that_touch_at_corners_enclose() -> None:
    diamond = np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], bool)
    assert np.argwhere(holes(diamond)).tolist() == [[1, 1]]


def test_background_at_the_rim_is_never_enclosed() -> None:
    mask = np.ones(SIZE, bool)
    mask[0, 50] = False
    assert not holes(mask).any()


def test_an_answer_without_the_leg_loses_all_of_it() -> None:
    truth = block_with_leg()
    answer = truth.copy()
    answer[50:] = False
    detail = detail_of(answer, truth)
    assert (detail.thin, detail.thin_found) == (19, 0)
    # Of the band, both have what is within two pixels of the leg's second pixel: the middle of the block's lowest row.
    assert (detail.band_both, detail.band_either) == (1, 21)


def test_a_leg_that_is_too_wide_is_found_but_shows_in_the_band() -> None:
    """A line of 40 pixels is thin as a whole; three rows of it are answered."""
    truth, answer = blank(), blank()
    truth[50, 30:70] = True
    answer[49:52, 30:70] = True
    assert detail_of(answer, truth) == Detail(40, 40, 0, 0, band_both=40, band_either=120)


def test_a_filled_window_is_not_free() -> None:
    """The band has the window's 100 pixels, two more on each of its sides, and one at each corner."""
    truth = block_with_window()
    answer = truth | holes(truth)
    assert detail_of(answer, truth) == Detail(0, 0, holes=100, holes_free=0, band_both=84, band_either=184)


@given(MASKS, MASKS)
def test_details_lie_within_what_they_are_of(answer: np.ndarray, truth: np.ndarray) -> None:
    assert not (thin_parts(truth, RADIUS) & ~truth).any()
    assert not (holes(truth) & truth).any()
    detail = detail_of(answer, truth)
    assert 0 <= detail.thin_found <= detail.thin
    assert 0 <= detail.holes_free <= detail.holes
    assert 0 <= detail.band_both <= detail.band_either


@given(MASKS)
def test_the_truth_itself_has_everything(truth: np.ndarray) -> None:
    detail = detail_of(truth, truth)
    assert (detail.thin_found, detail.holes_free, detail.band_both) == (detail.thin, detail.holes, detail.band_either)
    assert detail.band_either >= detail.thin


def test_pixels_given_to_another_object_are_counted_by_whom() -> None:
    truth, own, other, third = blank(), blank(), blank(), blank()
    truth[0, :10] = True
    own[0, :5] = True
    other[0, 5:8] = True
    third[50] = True
    judged = judge(1, truth, {1: own, 2: other, 3: third}, quality=0.8)
    assert (judged.area, judged.found, judged.given, judged.empty, judged.quality) == (10, 5, {2: 3, 3: 0}, False, 0.8)


@given(arrays(np.uint8, (8, 8), elements=st.integers(0, 3)), arrays(np.uint8, (8, 8), elements=st.integers(0, 3)))
def test_no_pixel_is_given_twice(answered: np.ndarray, drawn: np.ndarray) -> None:
    judged = judge(1, drawn == 1, {each: answered == each for each in (1, 2, 3)}, quality=1.0)
    nobodys = np.count_nonzero((drawn == 1) & (answered == 0))
    assert judged.found + sum(judged.given.values()) + nobodys == judged.area
    assert judged.empty == (not (answered == 1).any())
