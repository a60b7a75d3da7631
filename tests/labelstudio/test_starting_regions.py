"""What is on frames already: whose predictions count, what ties regions to one thing, and what can be no prompt."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from ls_json import HW, blob, brush, common, task, video_box
from test_ordinary_tags import page, tag

from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.prompts import drawn_media, read_task
from tam_backend.labelstudio.starting_regions import check_source, starting_regions, track_of

ORDINARY = parse_config(
    page(
        tag("BrushLabels", "mask", "Dog", "Cat", more='smart="false"'),
        tag("RectangleLabels", "found", "Dog", "Cat", "Bus"),
        tag("PolygonLabels", "drawn", "Dog"),
        tag("KeyPointLabels", "point", "Dog", "Cat", "Propagate", more='smart="true"'),
        '<TextArea name="track_id" toName="frames" perRegion="true"/>',
    )
)
MEDIA = ORDINARY.media[0]


def found(region_id, frame=0, label="Dog", place=(10, 20, 30, 40), **more):
    """An ordinary box, its place as (x, y, width, height) in percent."""
    value = {**dict(zip(("x", "y", "width", "height"), place, strict=True)), "rotation": 0, "rectanglelabels": [label]}
    return common(region_id, "found", "rectanglelabels", frame, value, **more)


def polygon(region_id, points, frame=0, **more):
    return common(region_id, "drawn", "polygonlabels", frame, {"points": points, "polygonlabels": ["Dog"]}, **more)


def prediction(number, *results, version="yolo"):
    return {"id": number, "model_version": version, "result": list(results)}


def started(a_task, source="predictions", config=ORDINARY):
    ordinary = read_task(a_task, None, config, propagate_label="Propagate").ordinary
    return starting_regions(a_task, ordinary, config, config.media[0], source)


def ids(a_task, source="predictions"):
    usable, unusable = started(a_task, source)
    return [each.region.region_id for each in usable], {each.region_id: each.why for each in unusable}


def test_the_newest_prediction_of_others_counts() -> None:
    ours = prediction(9, brush("tam-abc-0f", blob(0, 0, 9, 9), origin="prediction"), version="compact-1")
    a_task = task(predictions=[prediction(8, found("new")), prediction(3, found("old")), ours, prediction(10)])
    assert ids(a_task) == (["new"], {})


def test_what_a_dataset_brought_counts_and_keeps_its_objects() -> None:
    mask = brush("tam-in4-1f", blob(0, 0, 9, 9), frame=1, origin="prediction")
    [start], _ = started(task(predictions=[prediction(1, mask, version="imported-davis")]))
    assert start.track_key == "in4"
    assert start.region.is_keyframe and not start.region.is_humans_mask


def test_an_ordinary_tag_gives_what_humans_drew_with_it() -> None:
    a_task = task(annotations=[[found("b1"), polygon("p1", [[10, 10], [50, 10], [50, 50]]), found("b2", frame=2)]])
    assert ids(a_task, "found") == (["b1", "b2"], {})
    assert ids(a_task, "drawn") == (["p1"], {})


def test_a_half_drawn_polygon_begins_nothing() -> None:
    half = polygon("p1", [[10, 10], [50, 10], [50, 50]])
    half["value"]["closed"] = False
    assert ids(task(annotations=[[half]]), "drawn") == ([], {})


def test_a_polygon_is_taken_as_the_mask_that_it_is() -> None:
    a_task = task(annotations=[[polygon("p1", [[10, 20], [40, 20], [40, 60], [10, 60]])]])
    [start], _ = started(a_task, "drawn")
    assert np.array_equal(start.region.mask, blob(20, 20, 80, 60))


@pytest.mark.parametrize(
    ("hung", "track"),
    [
        ({"meta": {"track_id": 7}}, "7"),
        ({"meta": {"trackId": "car-7"}}, "car-7"),
        ({"meta": {"Object ID": 7.0}}, "7"),
        ({"meta": {"text": ["track 12"]}}, "12"),
        ({"meta": {"text": "ID: car-7"}}, "car-7"),
        ({"meta": {"text": ["7"]}}, "7"),
        ({"meta": {"text": "# 7"}}, "7"),
        ({"meta": {"text": "track7"}}, "7"),
        ({"meta": {"text": "Track ID: 7"}}, "7"),
        ({"meta": {"text": "trackid 7"}}, "7"),
        ({"meta": {"text": "object_id-7"}}, "7"),
        ({"meta": {"text": "identity7"}}, "identity7"),
        ({"meta": {"text": "idle3"}}, "idle3"),
        ({"meta": {"text": "objects2"}}, "objects2"),
        ({"meta": {"text": "1" * 64}}, "1" * 64),
        ({"meta": {"text": "7!"}}, None),
        ({"meta": {"text": ["track lost"]}}, None),
        ({"meta": {"text": ["seen in 7 frames"]}}, None),
        ({"meta": {"age": 7}}, None),
        ({"meta": {"track_id": True}}, None),
        ({}, None),
    ],
)
def test_a_track_id_stands_in_meta_or_in_the_note(hung, track) -> None:
    [start], _ = started(task(predictions=[prediction(1, found("b", **hung))]))
    assert start.track == track


@given(st.text(alphabet="1a- #!", min_size=65, max_size=200).filter(lambda note: len(note.strip()) > 64))
@example("1" * 65)
@example("track " + "1" * 8000 + "!")
@example("id" * 40 + "7")
def test_a_long_note_says_nothing_of_tracks_and_is_not_searched(note: str) -> None:
    [start], _ = started(task(predictions=[prediction(1, found("b", meta={"text": note}))]))
    assert start.track is None


@pytest.mark.parametrize(
    ("kind", "value", "name", "track"),
    [
        ("textarea", {"text": ["12"]}, "track_id", "12"),
        ("number", {"number": 12}, "Track ID", "12"),
        ("choices", {"choices": ["A"]}, "objectId", "A"),
        ("choices", {"choices": ["A", "B"]}, "object_id", None),
        ("number", {"number": 12}, "age", None),
    ],
)
def test_a_track_id_stands_in_a_per_region_tag_of_that_name(kind, value, name, track) -> None:
    drawn = found("b")
    hung = {**drawn, "from_name": name, "type": kind, "value": {**drawn["value"], **value}}
    [start], _ = started(task(annotations=[[drawn, hung]]), "found")
    assert start.track == track


def test_a_track_id_counts_within_its_label() -> None:
    drawn = [found("a", meta={"track_id": 1}), found("b", label="Cat", meta={"track_id": 1})]
    starts, _ = started(task(predictions=[prediction(1, *drawn, found("c", frame=2, meta={"track_id": "1"}))]))
    dog, cat, again = (start.track_key for start in starts)
    assert dog == again != cat


@pytest.mark.parametrize(
    ("region", "why"),
    [
        (found("b", frame=3), "has 3 frames"),
        (found("b", label="Bus"), 'label "Bus"'),
        (found("b", place=(120, 10, 5, 5)), "no area"),
        (found("b", place=(10, 10, 0, 5)), "no area"),
        ({**found("b"), "value": {"x": "left"}}, "not a number"),
        (common("b", "point", "keypointlabels", 0, {"x": 1, "y": 1, "width": 1, "labels": ["Dog"]}), "says too little"),
        ({**polygon("b", [[1, 1], [9, 1], [9, 9]]), "original_width": None}, "original_width"),
        (brush("b", blob(0, 0, 0, 0)), "empty"),
        ({**brush("b", blob(0, 0, 9, 9)), "value": {"format": "rle", "rle": [1, 2, 3]}}, "because of this"),
    ],
)
def test_what_can_be_no_prompt_is_named_and_keeps_nothing_else_away(region, why) -> None:
    usable, unusable = ids(task(predictions=[prediction(1, found("good"), region)]))
    assert usable == ["good"]
    assert why in unusable["b"]


def test_tracks_on_a_video_are_no_prompts_on_frames() -> None:
    config = parse_config(
        page(
            tag("BrushLabels", "mask", "Dog"),
            '<Video name="video" value="$video"/><Labels name="kind" toName="video"><Label value="Dog"/></Labels>'
            '<VideoRectangle name="track" toName="video"/>',
        )
    )
    a_task = task(annotations=[[video_box("v", [(1, 10, 10, 20, 20)])]])
    video = next(media for media in config.media if media.name == "video")
    read = read_task(a_task, None, config, propagate_label="Propagate", medium=video)
    usable, [left] = starting_regions(a_task, read.ordinary, config, video, "track")
    assert not usable
    assert "<Video>" in left.why


def test_predictions_say_which_media_are_drawn_on() -> None:
    a_task = task(predictions=[prediction(1, found("b"))])
    assert drawn_media(a_task, ORDINARY) == ()
    assert drawn_media(a_task, ORDINARY, prompt_from="predictions") == (MEDIA,)


def test_prompts_come_from_predictions_or_a_tag_that_draws_where_masks_go() -> None:
    check_source("predictions", ORDINARY)
    check_source("found", ORDINARY)
    for wrong in ("box", "mask", "point"):
        with pytest.raises(LabelConfigError, match=f'"{wrong}"') as refused:
            check_source(wrong, ORDINARY)
        assert "tags: found, drawn." in refused.value.remedy


@pytest.mark.parametrize("said", ["predictions", "found"])
def test_a_config_says_what_a_propagate_begins_with(said: str) -> None:
    xml = page(tag("BrushLabels", "mask", "Dog")).replace("valueList", f'tamPromptFrom="{said}" valueList')
    assert parse_config(xml).media[0].prompt_from == said


def test_a_region_without_a_size_of_its_frame_has_a_box_all_the_same() -> None:
    bare = {key: each for key, each in found("b").items() if not key.startswith("original")}
    [start], _ = started(task(predictions=[prediction(1, bare)]))
    assert start.region.box is not None
    assert start.region.box.enclosing(HW) == pytest.approx((20, 20, 80, 60))
    assert track_of(start.region) is None
