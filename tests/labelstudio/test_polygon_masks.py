"""Polygons as masks: what a page without brush and bitmask is answered with, and what annotators make of it."""

from __future__ import annotations

import json

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ls_json import HW, blob, common, point, task
from synthetic import iou
from test_ordinary_tags import page, tag

from tam_backend.errors import PayloadError, RegionError
from tam_backend.labelstudio.config import ControlKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.edits import mask_digest, told_apart, value_digest
from tam_backend.labelstudio.light_regions import light_regions
from tam_backend.labelstudio.polygons import decode_polygon, encode_polygon, polygon_bounds
from tam_backend.labelstudio.prompts import read_task
from tam_backend.labelstudio.regions import read_regions
from tam_backend.labelstudio.results import mask_results
from tam_backend.labelstudio.supported import remarks

PAGE = page(
    tag("PolygonLabels", "outline", "Dog", "Cat"),
    tag("KeyPointLabels", "point", "Dog", "Cat", "Propagate", more='smart="true" smartOnly="true"'),
)
CONFIG = parse_config(PAGE)
MEDIA = CONFIG.media[0]
OUTLINE = CONFIG.control("outline", "frames")


def ring(hw=HW) -> np.ndarray:
    """Two parts, one of them with a hole."""
    canvas = np.zeros(hw, np.uint8)
    cv2.circle(canvas, (60, 50), 35, 1, -1)
    cv2.circle(canvas, (60, 50), 15, 0, -1)
    cv2.circle(canvas, (150, 40), 25, 1, -1)
    return canvas > 0


def ours(mask, key="abc", frame=0, source="propagated") -> dict:
    [made] = mask_results(
        OUTLINE, MEDIA, key=key, frame=frame, labels=("Dog",), mask=mask, quality=0.9, source=source
    )  # fmt: skip
    return json.loads(json.dumps(made))


def moved(result: dict, by: float) -> dict:
    """A result as the editor writes it after somebody dragged a corner."""
    (x, y), *others = result["value"]["points"]
    return {**result, "origin": "prediction-changed", "value": {**result["value"], "points": [[x + by, y], *others]}}


@pytest.mark.parametrize("smart", ["", 'smart="false"'])
def test_an_ordinary_polygon_tag_takes_masks_where_there_is_no_other(smart: str) -> None:
    config = parse_config(page(tag("PolygonLabels", "outline", "Dog", more=smart)))
    assert config.mask_output(config.media[0]).kind is ControlKind.POLYGON
    assert remarks(PAGE, "Propagate") == ()


@pytest.mark.parametrize("kind", ["BrushLabels", "BitmaskLabels"])
def test_beside_brush_or_bitmask_it_takes_none(kind: str) -> None:
    config = parse_config(page(tag("PolygonLabels", "outline", "Dog"), tag(kind, "mask", "Dog")))
    assert [control.name for control in config.mask_outputs(config.media[0])] == ["mask"]


def test_a_mask_is_one_polygon_region_with_its_parts_and_holes() -> None:
    made = ours(ring())
    assert (made["type"], made["from_name"], made["value"]["polygonlabels"]) == ("polygonlabels", "outline", ["Dog"])
    [region] = read_regions([made], CONFIG)
    assert region.is_mask and not region.is_humans_mask
    assert iou(region.mask, ring()) >= 0.98
    assert not region.mask[50, 60], "the hole"


def test_both_ways_to_fill_a_polygon_show_the_hole() -> None:
    """Canvas fills by winding, SVG may by parity: the ring of a hole must run the other way round."""
    value, _ = encode_polygon(ring())
    corners = np.array(value["points"])
    x, y = corners[:, 0], corners[:, 1]

    def winding(at_x: float, at_y: float) -> int:
        ahead_x, ahead_y = np.roll(x, -1), np.roll(y, -1)
        left = (ahead_x - x) * (at_y - y) - (at_x - x) * (ahead_y - y)
        return int(
            ((y <= at_y) & (ahead_y > at_y) & (left > 0)).sum() - ((y > at_y) & (ahead_y <= at_y) & (left < 0)).sum()
        )

    percent = [
        (100 * px / HW[1], 100 * py / HW[0]) for px, py in ((60.3, 50.3), (60.3, 26.3), (150.3, 40.3), (110.3, 90.3))
    ]
    assert [winding(*each) != 0 for each in percent] == [False, True, True, False]


@given(seed=st.integers(0, 10_000), count=st.integers(1, 5), tolerance=st.sampled_from([0.0, 0.5, 1.0, 3.0, 20.0]))
@settings(max_examples=60, deadline=None)
def test_a_polygon_keeps_98_percent_of_its_mask_whatever_the_tolerance(seed: int, count: int, tolerance: float) -> None:
    rng = np.random.default_rng(seed)
    canvas = np.zeros(HW, np.uint8)
    for colour in [1] * count + [0]:
        cv2.ellipse(
            canvas, (int(rng.integers(10, 190)), int(rng.integers(10, 90))),
            (int(rng.integers(4, 40)), int(rng.integers(4, 30))), float(rng.uniform(0, 180)), 0, 360, colour, -1,
        )  # fmt: skip
    mask = canvas > 0
    if not mask.any():
        return
    value, overlap = encode_polygon(mask, tolerance)
    assert value["closed"] is True
    assert len(value["points"]) >= 3
    assert overlap >= 0.98
    assert iou(decode_polygon(value, HW), mask) >= 0.979, "rounded to 4 digits"


def test_a_larger_tolerance_makes_fewer_corners() -> None:
    fine, coarse = (len(encode_polygon(ring(), tolerance)[0]["points"]) for tolerance in (0.3, 1.0))
    assert coarse < fine


def test_a_mask_of_a_single_pixel_has_a_polygon() -> None:
    mask = blob(20, 30, 21, 31)
    assert np.array_equal(decode_polygon(encode_polygon(mask)[0], HW), mask)


def test_a_mask_of_countless_specks_says_how_little_its_polygon_shows() -> None:
    specks = np.zeros(HW, bool)
    specks[::4, ::4] = True
    assert encode_polygon(specks)[1] < 0.98


def test_a_polygon_that_came_back_as_it_was_sent_is_ours() -> None:
    made = ours(ring())
    [region] = read_regions([made], CONFIG)
    sent = {("abc", 0): (mask_digest(decode_polygon(made["value"], HW)), value_digest(made["value"]))}
    assert told_apart(region, sent).origin == "prediction"
    whole = json.loads(json.dumps(made).replace(".0]", "]").replace(".0,", ","))
    assert value_digest(whole["value"]) == value_digest(made["value"]), "a browser writes 50.0 as 50"


def test_a_polygon_that_a_human_changed_is_a_correction_of_its_object_there() -> None:
    made = ours(ring(), frame=1)
    sent = {("abc", 1): (value_digest(made["value"]),)}
    for origin in ("prediction-changed", "prediction"):
        changed = {**moved(made, 5), "origin": origin}
        read = read_task(task(annotations=[[changed]]), None, CONFIG, propagate_label="Propagate", sent=sent)
        [only] = read.objects
        assert only.key == "abc"
        assert only.human_frames == {1}


def test_a_polygon_that_a_human_drew_is_the_truth_of_its_label() -> None:
    value = {"points": [[10, 20], [40, 20], [40, 60], [10, 60]], "closed": True, "polygonlabels": ["Dog"]}
    drawn = common("p", "outline", "polygonlabels", 2, value)
    [only] = read_task(task(annotations=[[drawn]]), None, CONFIG, propagate_label="Propagate").objects
    assert only.human_frames == {2}
    assert np.array_equal(only.regions[0].mask, blob(20, 20, 80, 60))


def test_the_echo_of_a_polygon_that_was_accepted_under_a_point_label_is_no_point() -> None:
    made = ours(ring(), source="prompt")
    echo = {
        **made,
        "from_name": "point",
        "type": "keypointlabels",
        "value": {**made["value"], "keypointlabels": ["Dog"]},
    }
    faults: list = []
    assert [region.control.name for region in read_regions([made, echo], CONFIG, faults)] == ["outline"]
    assert not faults


def test_a_click_in_a_polygon_speaks_of_its_object() -> None:
    clicked = point("c", 30, 27, frame=0)
    read = read_task(
        task(draft=[ours(ring(), source="prompt")]), {"result": [clicked]}, CONFIG, propagate_label="Propagate"
    )
    assert read.asked.object.key == "abc"


@pytest.mark.parametrize("points", [None, [[1, 2]], [[1, 2], [3, 4], [5]], [[1, 2], [3, 4], ["a", 5]], [[1, 2]] * 2])
def test_what_is_no_polygon_is_named(points) -> None:
    with pytest.raises(PayloadError):
        decode_polygon({"points": points}, HW)
    faults: list = []
    value = {"points": points, "polygonlabels": ["Dog"]}
    assert read_regions([common("p", "outline", "polygonlabels", 0, value)], CONFIG, faults) == ()
    assert '"p"' in faults[0].message


def test_an_outline_that_would_take_all_memory_is_refused_and_its_region_named() -> None:
    zigzag = [[100 * at / 200_000, 100 * (at % 2)] for at in range(200_000)]
    value = {"points": zigzag, "closed": True, "polygonlabels": ["Dog"]}
    result = {**common("p", "outline", "polygonlabels", 0, value), "original_width": 1920, "original_height": 1080}
    [region] = read_regions([result], CONFIG)
    with pytest.raises(RegionError, match=r'"p".*more ragged') as refused:
        _ = region.mask
    assert "draw it again" in refused.value.remedy
    faults: list = []
    assert light_regions([result], CONFIG, faults)[0] == (), "an export goes on without it"
    assert [fault.region_id for fault in faults] == ["p"]


@pytest.mark.parametrize("points", [[[10, 20]], [[10, 20], [40, 20], [40, 60]]])
def test_a_half_drawn_polygon_is_nobodys_mask_yet_and_no_fault(points: list) -> None:
    value = {"points": points, "closed": False, "polygonlabels": ["Dog"]}
    faults: list = []
    assert read_regions([common("p", "outline", "polygonlabels", 0, value)], CONFIG, faults) == ()
    assert faults == []


@pytest.mark.parametrize("more", [{}, {"closed": True}, {"closed": None}])
def test_a_polygon_that_is_not_said_to_be_open_is_a_mask(more: dict) -> None:
    value = {"points": [[10, 20], [40, 20], [40, 60]], "polygonlabels": ["Dog"], **more}
    [region] = read_regions([common("p", "outline", "polygonlabels", 0, value)], CONFIG)
    assert region.is_keyframe


def test_corners_outside_of_the_frame_are_cut_off() -> None:
    value = {"points": [[-50, -50], [150, -50], [150, 150], [-50, 150]]}
    assert decode_polygon(value, HW).all()
    assert polygon_bounds(value) == (0, 0, 1, 1)
