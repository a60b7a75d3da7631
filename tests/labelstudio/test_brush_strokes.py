"""Strokes of a draft, drawn as the editor's canvas draws them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.errors import PayloadError
from tam_backend.labelstudio.strokes import rasterise_touches

HW = (200, 400)


def stroke(points, width, kind="add"):
    return {"type": kind, "relativePoints": points, "relativeStrokeWidth": width}


def distance_to_segment(start, end):
    y, x = np.mgrid[: HW[0], : HW[1]] + 0.5
    (x0, y0), (x1, y1) = start, end
    along = ((x - x0) * (x1 - x0) + (y - y0) * (y1 - y0)) / ((x1 - x0) ** 2 + (y1 - y0) ** 2)
    along = np.clip(along, 0, 1)
    return np.hypot(x - x0 - along * (x1 - x0), y - y0 - along * (y1 - y0))


@given(
    st.tuples(*[st.floats(10, 90)] * 4).filter(lambda p: abs(p[0] - p[2]) + abs(p[1] - p[3]) > 1),
    st.floats(1, 12),
    st.sampled_from(["add", "eraser"]),
)
def test_a_stroke_covers_what_lies_within_half_its_width(points, width, kind):
    pixels = [value * size / 100 for value, size in zip(points, HW[::-1] * 2, strict=True)]
    distance = distance_to_segment(pixels[:2], pixels[2:])
    radius = width / 100 * HW[1] / 2
    drawn = rasterise_touches(np.full(HW, kind == "eraser"), [stroke(list(points), width, kind)])
    if kind == "eraser":
        drawn = ~drawn
    assert drawn[distance < radius - 2.5].all()
    assert not drawn[distance > radius + 2.5].any()


def test_strokes_are_drawn_in_their_order():
    across = [10, 50, 90, 50]
    blank = np.zeros(HW, bool)
    assert rasterise_touches(blank, [stroke(across, 10, "eraser"), stroke(across, 10)]).any()
    assert not rasterise_touches(blank, [stroke(across, 5), stroke(across, 10, "eraser")]).any()


def test_the_mask_itself_is_left_alone():
    mask = np.ones(HW, bool)
    assert not rasterise_touches(mask, [stroke([0, 0, 100, 100], 20, "eraser")]).all()
    assert mask.all()


def test_a_bend_is_round():
    drawn = rasterise_touches(np.zeros(HW, bool), [stroke([10, 80, 50, 20, 90, 80], 10)])
    y, x = 40, 200  # the bend
    assert drawn[y - 17, x]
    assert not drawn[y - 24, x]


def test_a_stroke_without_length_draws_nothing_as_on_a_canvas():
    assert not rasterise_touches(np.zeros(HW, bool), [stroke([50, 50, 50, 50], 10), stroke([50, 50], 10)]).any()


def test_a_stroke_may_leave_the_image():
    drawn = rasterise_touches(np.zeros(HW, bool), [stroke([50, 50, 1e300, 50], 10)])
    assert drawn[100, 399]


@pytest.mark.parametrize(
    "touches",
    [
        None,
        {"0": {}},
        ["x"],
        [{}],
        [stroke([], 5)],
        [stroke([1, 2, 3], 5)],
        [stroke([1, "2"], 5)],
        [stroke([1, float("nan")], 5)],
        [stroke([1, 2], 0)],
        [stroke([1, 2], 1e9)],
        [stroke([1, 2], None)],
        [stroke([1, 2], 5, "fill")],
    ],
)
def test_malformed_strokes_are_errors(touches):
    with pytest.raises(PayloadError):
        rasterise_touches(np.zeros(HW, bool), touches)


def test_endless_painting_is_refused():
    huge = stroke([0, 0, 100, 100] * 25_000, 200)
    with pytest.raises(PayloadError, match="too many"):
        rasterise_touches(np.zeros((2000, 2000), bool), [huge])
