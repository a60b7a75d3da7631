"""Label Studio's results, read as regions."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import BITMASK_CONFIG, CONFIG, HW, bitmask, blob, box, brush, common, point, video_box

from tam_backend.errors import PayloadError
from tam_backend.labelstudio import regions
from tam_backend.labelstudio.config import ControlKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.regions import mask_bounds, read_regions
from tam_backend.labelstudio.shapes import FractionBox


def read(result, config=CONFIG):
    (region,) = read_regions([result], config)
    return region


def test_a_smart_click():
    region = read(point("h_kmEj37TG", 29.96, 39.95, frame=2, positive=False))
    assert (region.kind, region.label, region.frame, region.own_key) == (ControlKind.POINT, "Dog", 2, None)
    assert (region.point.x, region.point.y, region.point.positive) == pytest.approx((0.2996, 0.3995, False))


def test_the_sign_may_also_stand_in_the_value_and_is_positive_without_one():
    result = point("a", 1, 1)
    del result["is_positive"]
    assert read(result).point.positive
    result["value"]["is_positive"] = False
    assert not read(result).point.positive


def test_a_region_without_item_index_lies_on_the_first_frame():
    result = point("a", 1, 1)
    del result["item_index"]
    assert read(result).frame == 0


def test_a_turned_rectangle_is_read_as_the_box_around_it():
    region = read(box("r", 50, 50, 20, 20, rotation=90))  # turned about (100, 50), 40 px wide and 20 px high
    assert region.box.enclosing(HW) == pytest.approx((80, 50, 100, 90))


@given(st.floats(-1, 2), st.floats(-1, 2), st.floats(0, 1), st.floats(0, 1), st.floats(-360, 360))
def test_the_enclosing_box_holds_all_corners(x, y, width, height, rotation):
    found = FractionBox(x, y, width, height, rotation).enclosing(HW)
    corner_x = x * HW[1] + width * HW[1] * math.cos(math.radians(rotation))
    corner_y = y * HW[0] + width * HW[1] * math.sin(math.radians(rotation))
    assert found[0] - 1e-6 <= corner_x <= found[2] + 1e-6
    assert found[1] - 1e-6 <= corner_y <= found[3] + 1e-6


def test_brush_and_bitmask_masks():
    mask = blob(20, 10, 60, 40)
    np.testing.assert_array_equal(read(brush("b", mask)).mask, mask)
    np.testing.assert_array_equal(read(bitmask("b", mask), BITMASK_CONFIG).mask, mask)
    assert read(brush("b", mask)).bounds == pytest.approx((0.1, 0.1, 0.3, 0.4))
    assert read(brush("b", np.zeros(HW, bool))).bounds is None
    assert read(point("p", 1, 1)).mask is None
    assert read(point("p", 1, 1)).bounds is None


def test_strokes_of_a_draft_are_part_of_the_mask():
    result = brush("b", blob(0, 0, 200, 50))
    result["value"]["touches"] = [{"type": "eraser", "relativePoints": [0, 0, 100, 0], "relativeStrokeWidth": 10}]
    mask = read(result).mask
    assert not mask[:8].any()
    assert mask[13:50].all()


def test_a_new_brush_region_in_a_draft_has_strokes_only():
    result = brush("b", blob(0, 0, 1, 1))
    result["value"]["rle"] = None
    result["value"]["touches"] = [{"type": "add", "relativePoints": [0, 50, 100, 50], "relativeStrokeWidth": 10}]
    assert read(result).mask[50].all()


def test_what_the_magic_wand_selected_is_part_of_a_drafts_mask():
    result = brush("b", blob(0, 0, 10, 10))
    result["value"]["maskDataURL"] = bitmask("x", blob(100, 50, 110, 60))["value"]["imageDataURL"]
    np.testing.assert_array_equal(read(result).mask, blob(0, 0, 10, 10) | blob(100, 50, 110, 60))
    result["value"]["maskDataURL"] = bitmask("x", np.ones((2, 2), bool))["value"]["imageDataURL"]
    with pytest.raises(PayloadError, match="magic wand"):
        _ = read(result).mask


@pytest.mark.parametrize("suffix", ["", "#12", "-V1StGXR8_Z5", "9", "f"])
def test_regions_of_ours_keep_their_object_whatever_is_appended_to_the_id(suffix):
    region = read(brush("tam-k3y-12f" + suffix, blob(0, 0, 1, 1), frame=12))
    assert region.own_key == "k3y"


@pytest.mark.parametrize(
    ("origin", "source", "humans", "keyframe", "word"),
    [
        ("manual", None, True, True, True),
        ("prediction-changed", "propagated", True, True, True),
        ("prediction-changed", "started", True, True, True),
        ("prediction", "prompt", False, True, True),
        ("prediction", "started", False, True, False),
        ("prediction", "propagated", False, False, False),
        ("prediction", None, False, False, False),
        ("nonsense", "nonsense", True, True, True),
    ],
)
def test_whose_mask_it_is(origin, source, humans, keyframe, word):
    region = read(brush("tam-a-0f", blob(0, 0, 1, 1), origin=origin, meta={"tam_source": source}, score=0.5))
    assert (region.is_humans_mask, region.is_keyframe, region.score) == (humans, keyframe, 0.5)
    assert region.is_humans_word == word


def test_a_video_box_keeps_its_frames_from_1():
    region = read(video_box("v", [(5, 10, 20, 30, 40), (1, 62.7, 25, 17.8, 37.5)]))
    assert [keyframe.frame for keyframe in region.keyframes] == [1, 5]
    assert region.keyframes[0].by_human
    assert region.keyframes[0].box.enclosing(HW) == pytest.approx((125.4, 25, 161, 62.5))


def test_unlabelled_tags_with_a_shared_labels_tag():
    config = parse_config(
        '<View><Image name="frames" valueList="$f"/><Brush name="m" toName="frames"/>'
        '<KeyPoint name="k" toName="frames"/><Labels name="l" toName="frames"><Label value="A"/></Labels></View>'
    )
    value = {"x": 1, "y": 2, "width": 1}
    results = [
        common("1", "k", "keypoint", 0, value),
        common("1", "l", "labels", 0, {**value, "labels": ["A"]}),
        common("2", "k", "keypoint", 0, value),
    ]
    assert [(r.region_id, r.label) for r in read_regions(results, config)] == [("1", "A"), ("2", None)]


def test_a_mask_accepted_under_a_point_label_is_read_once():
    mask = brush("tam-a-0f", blob(0, 0, 1, 1))
    echo = {**mask, "from_name": "point", "type": "keypointlabels"}
    echo["value"] = {"format": "rle", "rle": mask["value"]["rle"], "keypointlabels": ["Propagate"]}
    (region,) = read_regions([mask, echo], CONFIG)
    assert (region.kind, region.label) == (ControlKind.BRUSH, "Dog")


def test_what_is_not_ours_to_read_is_left_out():
    results = [
        {"type": "choices", "from_name": "c", "to_name": "frames", "value": {"choices": ["x"]}},
        {"type": "relation", "from_id": "a", "to_id": "b"},
        {"type": None},
        {},
        {**point("a", 1, 1), "from_name": "gone"},
        {**point("a", 1, 1), "from_name": "mask"},
        {**point("a", 1, 1), "to_name": ["frames"]},
    ]
    assert read_regions(results, CONFIG) == ()


def test_a_region_without_id_gets_one():
    result = point("a", 1, 1)
    del result["id"]
    assert read(result).region_id == "unnamed-0"


def changed(result, **value):
    return {**result, "value": {**result["value"], **value}}


@pytest.mark.parametrize(
    "result",
    [
        {**point("the-bad-one", 1, 1), "value": None},
        changed(point("the-bad-one", 1, 1), x="1"),
        changed(point("the-bad-one", 1, 1), x=float("nan")),
        changed(point("the-bad-one", 1, 1), y=None),
        changed(point("the-bad-one", 1, 1), y=10**400),
        changed(point("the-bad-one", 1, 1), keypointlabels="Dog"),
        changed(point("the-bad-one", 1, 1), keypointlabels=[1]),
        {**point("the-bad-one", 1, 1), "item_index": -1},
        {**point("the-bad-one", 1, 1), "item_index": 0.5},
        {**point("the-bad-one", 1, 1), "is_positive": "yes"},
        {**point("the-bad-one", 1, 1), "image_rotation": 90},
        changed(box("the-bad-one", 1, 1, 1, 1), width=None),
        changed(box("the-bad-one", 1, 1, 1, 1), rotation="90"),
        changed(brush("the-bad-one", blob(0, 0, 1, 1)), format="png"),
        changed(brush("the-bad-one", blob(0, 0, 1, 1)), rle="AAAA"),
        changed(brush("the-bad-one", blob(0, 0, 1, 1)), rle=[0, 1, 2]),
        changed(brush("the-bad-one", blob(0, 0, 1, 1)), touches={"a": 1}),
        {**brush("the-bad-one", blob(0, 0, 1, 1)), "original_width": None},
        changed(video_box("the-bad-one", []), sequence=None),
        changed(video_box("the-bad-one", []), sequence=[1]),
        changed(video_box("the-bad-one", []), sequence=[{"frame": 1}]),
        changed(video_box("the-bad-one", []), sequence=[{"frame": 1.5, "x": 1, "y": 1, "width": 1, "height": 1}]),
    ],
)
def test_malformed_regions_are_named(result):
    with pytest.raises(PayloadError, match="the-bad-one") as error:
        _ = read(result).mask
    assert error.value.remedy


def test_a_bitmask_without_picture_is_named():
    with pytest.raises(PayloadError, match="the-bad-one"):
        read(changed(bitmask("the-bad-one", blob(0, 0, 1, 1)), imageDataURL=None), BITMASK_CONFIG)
    with pytest.raises(PayloadError, match="the-bad-one"):
        _ = read(changed(bitmask("the-bad-one", blob(0, 0, 1, 1)), imageDataURL="data:"), BITMASK_CONFIG).mask


@pytest.mark.parametrize("results", [None, {}, "x", [1], [None]])
def test_results_that_are_no_list_of_objects(results):
    with pytest.raises(PayloadError):
        read_regions(results, CONFIG)


def test_bounds_of_a_mask():
    assert mask_bounds(blob(3, 4, 10, 20)) == (3, 4, 10, 20)
    assert mask_bounds(np.zeros(HW, bool)) is None


VALUE_KEYS = [
    *("x", "y", "width", "height", "rotation", "rle", "format", "touches", "sequence", "frame", "labels", "type"),
    *("keypointlabels", "brushlabels", "imageDataURL", "maskDataURL", "enabled", "relativePoints"),
]
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5) | st.sampled_from(["frames", "Dog"]),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(
                [
                    "x",
                    "y",
                    "width",
                    "height",
                    "rotation",
                    "rle",
                    "format",
                    "touches",
                    "sequence",
                    "frame",
                    "labels",
                    "keypointlabels",
                    "brushlabels",
                    "imageDataURL",
                    "maskDataURL",
                    "type",
                    "enabled",
                    "relativePoints",
                ]
            ),
            inner,
            max_size=5,
        )
    ),
    max_leaves=8,
)
templates = st.sampled_from(
    [
        point("p", 10, 10),
        box("r", 10, 10, 20, 20),
        brush("b", blob(0, 0, 5, 5)),
        bitmask("m", blob(0, 0, 5, 5)),
        video_box("v", [(1, 10, 10, 20, 20)]),
    ]
)


@st.composite
def damaged_results(draw):
    result = dict(draw(templates))
    for key in draw(st.lists(st.sampled_from(sorted(result)), max_size=2)):
        result[key] = draw(json_values)
    if isinstance(result["value"], dict):
        value = dict(result["value"])
        for key in draw(st.lists(st.sampled_from([*sorted(value), "touches", "maskDataURL", "rotation"]), max_size=2)):
            value[key] = draw(json_values)
        result["value"] = value
    return result


@given(st.lists(damaged_results() | json_values, max_size=3), st.sampled_from([CONFIG, BITMASK_CONFIG]))
def test_any_json_is_read_or_refused(results, config):
    try:
        for region in read_regions(results, config):
            assert region.kind
            assert region.bounds is None or len(region.bounds) == 4
    except PayloadError as error:
        assert error.message


@pytest.mark.parametrize("kind", ["brush", "bitmask"])
def test_the_bounds_of_a_mask_are_decoded_once_however_often_its_draft_comes(kind, monkeypatch):
    made, config = (brush, CONFIG) if kind == "brush" else (bitmask, BITMASK_CONFIG)
    decoded = []
    for name in ("decode_brush", "decode_bitmask"):
        decode = getattr(regions, name)
        monkeypatch.setattr(regions, name, lambda *of, decode=decode: decoded.append(1) or decode(*of))
    mask = blob(31, 17, 97, 44)  # of no other test
    for _ in range(3):
        [region] = read_regions([made("m", mask)], config)
        assert region.bounds == (31 / 200, 17 / 100, 97 / 200, 44 / 100)
    assert decoded == [1]
    assert np.array_equal(region.mask, mask)
