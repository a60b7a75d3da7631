"""Masks and boxes, written as Label Studio takes them."""

import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import BITMASK_CONFIG, CONFIG, HW, VIDEO, blob

from tam_backend.labelstudio.checked import VideoKeyframe
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.regions import read_regions
from tam_backend.labelstudio.results import box_track_region, mask_results, prediction
from tam_backend.labelstudio.shapes import FractionBox
from tam_backend.labelstudio.video_clock import VideoClock

MASK = blob(20, 10, 60, 40)


def results(config, labels=("Dog",), frame=3):
    media = config.media[0]
    return mask_results(
        config.output(media), media, key="k1", frame=frame, labels=labels, mask=MASK, quality=0.87654, source="prompt"
    )


def test_a_brush_result():
    (result,) = results(CONFIG)
    assert result.pop("value").keys() == {"format", "rle", "brushlabels"}
    assert result == {
        "id": "tam-k1-3f",
        "from_name": "mask",
        "to_name": "frames",
        "type": "brushlabels",
        "item_index": 3,
        "original_width": 200,
        "original_height": 100,
        "image_rotation": 0,
        "origin": "prediction",
        "score": 0.8765,
        "meta": {"tam_source": "prompt"},
    }


@pytest.mark.parametrize("config", [CONFIG, BITMASK_CONFIG])
def test_a_mask_is_read_back_from_its_result(config):
    sent = json.loads(json.dumps(results(config)))
    (region,) = read_regions(sent, config)
    assert (region.own_key, region.frame, region.label, region.source) == ("k1", 3, "Dog", "prompt")
    assert not region.is_humans_mask
    assert region.is_keyframe
    np.testing.assert_array_equal(region.mask, MASK)


def test_a_bitmask_result():
    (result,) = results(BITMASK_CONFIG)
    assert result["type"] == "bitmasklabels"
    assert result["value"]["bitmasklabels"] == ["Dog"]
    assert result["value"]["imageDataURL"].startswith("data:image/png;base64,")


def test_page_1_has_its_index_too_and_a_single_image_has_none():
    assert results(CONFIG, frame=0)[0]["item_index"] == 0
    image = parse_config('<View><Image name="i" value="$i"/><BrushLabels name="m" toName="i"/></View>')
    assert "item_index" not in results(image, frame=0)[0]


def test_a_result_without_label():
    assert "brushlabels" not in results(CONFIG, labels=())[0]["value"]


def test_a_shared_labels_tag_gets_a_result_of_its_own():
    config = parse_config(
        '<View><Image name="i" valueList="$i"/><Brush name="m" toName="i"/>'
        '<Labels name="l" toName="i"><Label value="Dog"/></Labels></View>'
    )
    shape, label = results(config)
    assert (shape["type"], shape["from_name"], shape["id"]) == ("brush", "m", "tam-k1-3f")
    assert (label["type"], label["from_name"], label["id"]) == ("labels", "l", "tam-k1-3f")
    assert label["value"]["labels"] == ["Dog"]
    (region,) = read_regions([shape, label], config)
    assert region.label == "Dog"
    assert len(results(config, labels=())) == 1


def track(boxes, clock=VideoClock(25, 25, 6), **more):  # noqa: B008 - frozen
    return box_track_region(
        CONFIG.output(VIDEO),
        VIDEO,
        region_id="region 1",
        labels=("Dog",),
        boxes=boxes,
        size_hw=HW,
        clock=clock,
        quality=0.5,
        **more,
    )


def test_a_track_of_boxes():
    result = track({0: (20.0, 25.0, 60.0, 75.0)})
    (keyframe,) = result["value"].pop("sequence")
    assert keyframe.pop("tam")
    assert keyframe == {
        "frame": 1, "time": 0.04, "enabled": False, "rotation": 0, "x": 10, "y": 25, "width": 20, "height": 50
    }  # fmt: skip
    assert result == {
        "id": "region 1",
        "from_name": "track",
        "to_name": "video",
        "type": "videorectangle",
        "origin": "prediction",
        "score": 0.5,
        "value": {"framesCount": 6, "duration": 0.24, "labels": ["Dog"]},
    }


def test_a_box_is_switched_off_where_the_object_leaves_and_on_where_it_returns():
    box = (0.0, 0.0, 10.0, 10.0)
    sequence = track({0: box, 1: box, 2: None, 3: box, 5: box})["value"]["sequence"]
    assert [(item["frame"], item["enabled"]) for item in sequence] == [(1, True), (2, False), (4, False), (6, False)]


def test_boxes_follow_the_editors_clock():
    box = (0.0, 0.0, 10.0, 10.0)
    slow = track(dict.fromkeys(range(6), box), VideoClock(12.5, 25, 6))["value"]
    assert (slow["framesCount"], [item["frame"] for item in slow["sequence"]]) == (3, [1, 2, 3])
    fast = track({2: box}, VideoClock(50, 25, 6))["value"]
    assert [item["frame"] for item in fast["sequence"]] == [5, 6]
    assert fast["sequence"][0]["time"] == pytest.approx(0.1)


def test_a_humans_box_goes_back_as_it_was():
    drawn = VideoKeyframe(2, True, FractionBox(0.5, 0.5, 0.1, 0.1, 30), True)
    result = json.loads(json.dumps(track(dict.fromkeys(range(6), (0.0, 0.0, 10.0, 10.0)), human=[drawn])))
    (region,) = read_regions([result], CONFIG)
    assert [keyframe.frame for keyframe in region.keyframes if keyframe.by_human] == [2]
    assert region.keyframes[1].box == drawn.box


def shown(sequence):
    return [(item["frame"], item["enabled"]) for item in sequence]


def test_a_box_that_a_human_switched_off_stays_off_until_the_humans_next():
    boxes = dict.fromkeys(range(6), (0.0, 0.0, 10.0, 10.0))
    off, on = (VideoKeyframe(n, n == 5, FractionBox(0.5, 0.5, 0.1, 0.1), True) for n in (2, 5))
    assert shown(track(boxes, human=[off])["value"]["sequence"]) == [(1, True), (2, False)]
    again = track(boxes, human=[off, on])
    assert shown(again["value"]["sequence"]) == [(1, True), (2, False), (5, True), (6, False)]
    (region,) = read_regions([json.loads(json.dumps(again))], CONFIG)
    assert [keyframe for keyframe in region.keyframes if keyframe.by_human] == [off, on]


@pytest.mark.parametrize("item", [1, 5])
def test_a_box_of_ours_that_a_human_switches_is_the_humans(item):
    sent = track(dict.fromkeys(range(6), (0.0, 0.0, 10.0, 10.0)))
    sent["value"]["sequence"][item]["enabled"] ^= True  # what the editor's lifespan button does
    (region,) = read_regions([sent], CONFIG)
    assert [keyframe.frame for keyframe in region.keyframes if keyframe.by_human] == [item + 1]


coordinates = st.floats(0, 100)


@given(st.dictionaries(st.integers(0, 5), st.tuples(coordinates, coordinates, coordinates, coordinates)))
def test_our_own_keyframes_are_known_again_after_any_json(boxes):
    sent = track({i: (x, y, x + w, y + h) for i, (x, y, w, h) in boxes.items()})
    # JavaScript writes 20.0 as 20.
    sent = json.loads(
        json.dumps(sent), parse_float=lambda text: int(float(text)) if float(text).is_integer() else float(text)
    )
    (region,) = read_regions([sent], CONFIG)
    assert len(region.keyframes) == len(boxes)
    assert not any(keyframe.by_human for keyframe in region.keyframes)


def test_a_prediction():
    assert prediction(iter([{"id": 1}]), 0.123456, "compact-1") == {
        "result": [{"id": 1}],
        "score": 0.1235,
        "model_version": "compact-1",
    }
    assert "score" not in prediction([], None, "compact-1")


@pytest.mark.parametrize(
    ("quality", "source", "text"),
    [
        (0.69, "propagated", "needs review"),
        (0.7, "propagated", None),
        (0.5, "refined", "needs review"),
        (0.5, "prompt", None),
    ],
)
def test_a_doubtful_tracked_mask_asks_for_a_review(quality, source, text):
    for config in (BITMASK_CONFIG, CONFIG):
        media = config.media[0]
        sent = mask_results(
            config.output(media), media, key="k1", frame=3, labels=("Dog",), mask=MASK, quality=quality, source=source
        )
        assert [result["meta"].get("text") for result in sent] == [text] * len(sent)
