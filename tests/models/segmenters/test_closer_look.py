"""A thing that is small in its frame is looked at again, enlarged."""

from __future__ import annotations

import numpy as np
import pytest

from tam_backend.models.segmenters.closer_look import Window, window_around
from tam_backend.types import BoolMask, Point


def box_mask(size_hw: tuple[int, int], left: int, top: int, right: int, bottom: int) -> BoolMask:
    mask = np.zeros(size_hw, bool)
    mask[top:bottom, left:right] = True
    return mask


def test_window_is_a_square_twice_the_longer_side_around_the_thing() -> None:
    window = window_around(box_mask((400, 600), 200, 150, 300, 190), [Point(210, 160)])
    assert window == Window(150, 70, 350, 270)
    assert window.size_hw == (200, 200)


def test_window_stays_on_the_frame() -> None:
    window = window_around(box_mask((400, 600), 0, 340, 100, 400), [Point(10, 350)])
    assert window == Window(0, 200, 200, 400)


def test_window_holds_every_click_on_the_frame() -> None:
    window = window_around(box_mask((400, 600), 100, 100, 120, 120), [Point(110, 110), Point(200, 105, False)])
    assert window is not None
    assert window.right > 200
    assert window.within([Point(200, 105, False)]) == (Point(200 - window.left, 105 - window.top, False),)


def test_tiny_thing_gets_a_window_with_something_to_see() -> None:
    window = window_around(box_mask((400, 600), 300, 200, 302, 202), [Point(300, 200)])
    assert window is not None
    assert window.size_hw == (64, 64)


@pytest.mark.parametrize(
    "mask",
    [box_mask((400, 600), 100, 100, 241, 200), box_mask((400, 600), 0, 0, 0, 0), box_mask((60, 60), 9, 9, 11, 11)],
    ids=["large thing", "nothing", "frame smaller than any window"],
)
def test_no_second_look_where_it_would_show_nothing_new(mask: BoolMask) -> None:
    assert window_around(mask, [Point(110, 110)] if mask.any() else []) is None


def test_pixels_index_the_window_of_a_frame() -> None:
    frame = np.arange(100).reshape(10, 10)
    assert frame[Window(2, 3, 5, 4).pixels].tolist() == [[32, 33, 34]]
