"""What a human did to our masks is read off the masks themselves."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import CONFIG, blob, brush, common, video_box

from tam_backend.labelstudio.checked import VideoKeyframe
from tam_backend.labelstudio.config import Control, ControlKind, MediaKind
from tam_backend.labelstudio.edits import (
    erased,
    frames_by_object,
    is_edit,
    mask_digest,
    needs_parent,
    told_apart,
    value_digest,
    with_origins,
)
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.labelstudio.ids import result_id
from tam_backend.labelstudio.regions import Origin, Region, read_regions
from tam_backend.labelstudio.results import box_track_region
from tam_backend.labelstudio.shapes import FractionBox
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.types import BoolMask

BRUSH = Control(name="masks", to_name="pages", kind=ControlKind.BRUSH)
SIZE = (6, 8)
FRAMES = st.dictionaries(st.sampled_from("abc"), st.frozensets(st.integers(0, 5)), max_size=3)


def mask(*pixels: tuple[int, int]) -> BoolMask:
    found = np.zeros(SIZE, np.bool_)
    for row, column in pixels:
        found[row, column] = True
    return found


def region(drawn: BoolMask, key: str | None = "abc", frame: int = 2, origin: Origin = "prediction") -> Region:
    return Region(
        region_id="drawn" if key is None else result_id(key, frame),
        own_key=key,
        control=BRUSH,
        labels=("Bird",),
        frame=frame,
        origin=origin,
        size_hw=SIZE,
        encoded={"format": "rle", "rle": encode_brush(drawn)},
    )


def test_a_mask_that_we_sent_was_left_alone_whichever_of_our_answers_it_is() -> None:
    older, newer = mask((1, 1)), mask((2, 2))
    sent = {("abc", 2): [mask_digest(older), mask_digest(newer)]}
    assert told_apart(region(older), sent).origin == "prediction"
    assert told_apart(region(newer), sent).origin == "prediction"


def test_a_mask_that_we_never_sent_was_edited_whatever_its_origin_says() -> None:
    sent = {("abc", 2): [mask_digest(mask((1, 1)))]}
    assert told_apart(region(mask((1, 1), (1, 2))), sent).is_humans_mask
    assert told_apart(region(mask()), sent).is_humans_mask, "all of it was rubbed out"


def test_what_the_editor_says_was_changed_is_a_humans_even_where_it_looks_the_same() -> None:
    sent = {("abc", 2): [mask_digest(mask((1, 1)))]}
    assert told_apart(region(mask((1, 1)), origin="prediction-changed"), sent).is_humans_mask


def test_a_mask_that_a_note_was_hung_on_is_a_humans_only_where_it_was_edited() -> None:
    sent = {("abc", 2): [mask_digest(mask((1, 1)))]}
    noted = replace(region(mask((1, 1)), origin="prediction-changed"), attributes=({"type": "textarea"},))
    assert not told_apart(noted, sent).is_humans_mask, "the editor calls that a change, too"
    edited = replace(region(mask((2, 2)), origin="prediction-changed"), attributes=({"type": "textarea"},))
    assert told_apart(edited, sent).is_humans_mask


def test_a_mask_that_comes_back_as_it_was_written_is_not_decoded() -> None:
    sent_as = {"format": "rle", "rle": [1, 2, 3]}
    each = replace(region(mask((1, 1))), encoded=dict(sent_as))
    assert told_apart(each, {("abc", 2): ["0" * 16, value_digest(sent_as)]}) is each
    assert "mask" not in each.__dict__


@given(st.binary(max_size=5), st.binary(max_size=5), st.booleans())
def test_another_writing_has_another_digest(one: bytes, other: bytes, touched: bool) -> None:
    written = {"rle": list(one), "brushlabels": ["A"]}
    again = {"rle": list(other), "touches": [{"type": "eraser"}] if touched else []}
    assert (value_digest(written) == value_digest(again)) == (one == other and not touched)
    assert value_digest({"imageDataURL": one.hex()}) != value_digest({"imageDataURL": other.hex() + "a"})


def test_what_cannot_be_decoded_has_no_digest_of_its_writing() -> None:
    for damaged in ([300], ["a"], [None]):
        assert value_digest({"rle": damaged}) == ""


def test_what_we_know_nothing_of_stays_as_it_came() -> None:
    for each in (region(mask((1, 1)), frame=3), region(mask((1, 1)), key=None, origin="manual")):
        assert told_apart(each, {("abc", 2): ["0" * 16]}) is each


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=9), st.integers(0, 47))
def test_one_pixel_makes_another_digest(pixels: list[tuple[int, int]], place: int) -> None:
    one = mask(*pixels)
    other = one.copy()
    other.flat[place] ^= True
    assert mask_digest(one) != mask_digest(other)
    assert mask_digest(one) == mask_digest(one.copy())
    assert mask_digest(np.zeros((6, 8), np.bool_)) != mask_digest(np.zeros((8, 6), np.bool_))


def test_frames_are_told_by_object_and_hand_drawn_regions_are_nobodys() -> None:
    regions = [region(mask((1, 1)), frame=2), region(mask((1, 1)), frame=4), region(mask((1, 1)), key=None)]
    assert frames_by_object(regions) == {"abc": frozenset({2, 4})}


@given(FRAMES, FRAMES)
def test_erased_is_what_was_there_and_is_not_of_objects_that_still_are(
    before: dict[str, frozenset[int]], now: dict[str, frozenset[int]]
) -> None:
    gone = erased(before, now)
    for key, frames in gone.items():
        assert frames
        assert frames <= before[key]
        assert not frames & now[key]
        assert now[key], "an object of which nothing is left was deleted, not erased here and there"
    assert erased(before, before) == {}


THEIRS = blob(10, 10, 60, 60)
PARENT = 12
OURS = result_id("abc", 2)


def other_model(*results: dict[str, Any], version: str = "yolo") -> dict[str, Any]:
    """A prediction, which says nothing of origins."""
    results = tuple({key: value for key, value in each.items() if key != "origin"} for each in results)
    return {"id": PARENT, "model_version": version, "result": list(results)}


def submitted(*results: dict[str, Any], parent: int | None = PARENT) -> dict[str, Any]:
    return {"id": 5, "result": list(results), "parent_prediction": parent}


def origins(annotation: dict[str, Any], *predictions: dict[str, Any]) -> list[str]:
    told = with_origins(annotation, {"predictions": list(predictions), "annotations": [annotation]})
    return [region.origin for region in read_regions(told, CONFIG)]


@pytest.mark.parametrize("known", [True, False], ids=["its prediction is known", "it is not"])
def test_what_was_copied_of_a_prediction_without_an_origin_is_nobodys(known: bool) -> None:
    said = other_model(brush("b", THEIRS))
    assert origins(submitted(*said["result"]), *([said] if known else [])) == ["prediction"]


def test_without_an_origin_what_has_another_shape_was_changed_and_what_is_new_was_drawn() -> None:
    """Scripts and other editors may write no origin: people's masks are theirs all the same."""
    said = other_model(brush("b", THEIRS), brush("c", THEIRS, frame=1))
    saved = other_model(
        brush("b", THEIRS, label="Cat"), brush("c", blob(10, 10, 60, 50), frame=1), brush("new", THEIRS, frame=2)
    )["result"]
    assert origins(submitted(*saved), said) == ["prediction", "prediction-changed", "manual"]
    assert origins(submitted(*saved)) == ["prediction"] * 3, "nothing is known of another hand"
    assert origins(submitted(*saved), other_model(*said["result"], version="from-project-3")) == ["manual"] * 3


def test_results_without_ids_are_compared_with_all_that_the_prediction_has_without_one() -> None:
    """Imported predictions may lack ids, and so do their copies."""
    unnamed = [{**brush("", THEIRS, frame=0)}, {**brush("", blob(5, 5, 20, 20), frame=1)}]
    said = other_model(*({key: value for key, value in each.items() if key != "id"} for each in unnamed))
    assert origins(submitted(*said["result"]), said) == ["prediction"] * 2


def test_the_prediction_is_needed_where_the_origin_is_missing_or_says_too_little() -> None:
    mask, track = brush("b", THEIRS), video_box("v", [(1, 10, 10, 20, 20)])
    told = {**mask, "origin": "prediction"}
    untold = {key: value for key, value in mask.items() if key != "origin"}
    relation = {"from_id": "a", "to_id": "b", "type": "relation", "direction": "right"}
    for needing in ({**mask, "origin": "manual"}, {**track, "origin": "prediction"}, untold, {**untold, "id": OURS}):
        assert needs_parent(submitted(told, needing))
        assert not needs_parent(submitted(told, needing, parent=None))
    for other in (relation, {**mask, "origin": "prediction-changed"}, {**mask, "id": OURS, "origin": "manual"}):
        assert not needs_parent(submitted(told, other))


def test_what_a_model_said_is_an_edit_only_where_a_human_changed_it() -> None:
    mask = brush("b", THEIRS)
    assert is_edit({**mask, "origin": "manual"}, {})
    assert is_edit({**mask, "origin": "prediction-changed"}, {})
    assert not is_edit({**mask, "origin": "prediction"}, {})
    ours = {**mask, "id": OURS, "origin": "prediction"}
    assert not is_edit(ours, {("abc", 2): [value_digest(mask["value"])]})
    assert is_edit(ours, {("abc", 2): ["v" + "0" * 16]}), "whatever it says: we never sent this one"


def test_what_the_editor_saved_as_manual_is_a_humans_only_where_its_shape_is_not_the_predictions() -> None:
    """An annotation that was made in bulk and then saved in the editor: all of it says "manual"."""
    box_of = {"x": 10.0, "y": 20.0, "width": 30.0, "height": 5.0, "rotation": 0, "rectanglelabels": ["Dog"]}
    said = other_model(
        brush("b", THEIRS), brush("c", THEIRS, frame=1), common("r", "box", "rectanglelabels", 0, box_of)
    )
    rectangle = {**said["result"][2], "origin": "manual"}
    saved = [
        brush("b", THEIRS, label="Cat"),
        brush("c", blob(10, 10, 60, 50), frame=1),
        brush("new", THEIRS, frame=2),
        {**rectangle, "value": {**box_of, "x": 10.000001}},
        {**rectangle, "value": {**box_of, "x": 11}},
    ]
    assert origins(submitted(*saved), said) == ["prediction", "manual", "manual", "prediction", "manual"]
    assert origins(submitted(*saved, parent=None), said) == ["manual"] * 5, "drawn before anybody predicted"
    draft = {"id": 6, "annotation": 5, "result": saved}
    told = with_origins(draft, {"predictions": [said], "annotations": [submitted()]})
    assert [region.origin for region in read_regions(told, CONFIG)][:2] == ["prediction", "manual"]


def humans(annotation: dict[str, Any], *predictions: dict[str, Any]) -> list[int]:
    """Return the frames of a box on a <Video> on which a human put it."""
    [region] = read_regions(with_origins(annotation, {"predictions": list(predictions)}), CONFIG)
    return [each.frame for each in region.keyframes if each.by_human]


def test_of_boxes_on_a_video_that_another_model_said_a_human_put_those_that_were_moved() -> None:
    """The editor calls the whole track "prediction", moved or not, and "manual" where it was copied in bulk."""
    said = other_model(video_box("v", [(1, 10, 10, 20, 20), (9, 50, 10, 20, 20)]))
    moved = video_box("v", [(1, 10.0, 10, 20, 20), (5, 30, 12, 20, 20), (9, 51, 10, 20, 20)])
    assert humans(submitted(*said["result"])) == []
    for origin in ("prediction", "manual"):
        assert humans(submitted({**moved, "origin": origin}), said) == [5, 9]
    assert humans(submitted({**moved, "origin": "manual"})) == [1, 5, 9], "nothing is known of another hand"


def test_boxes_that_people_drew_in_another_project_stay_theirs() -> None:
    carried = video_box("v", [(1, 10, 10, 20, 20)])
    for copied in (carried, {**carried, "origin": "prediction"}):
        assert humans(submitted(copied), {**other_model(version="from-project-3"), "result": [copied]}) == [1]


def test_a_box_that_people_drew_on_a_video_is_theirs_though_its_prediction_does_not_have_it() -> None:
    drawn = video_box("new", [(1, 10, 10, 20, 20)])
    said = other_model(video_box("v", [(1, 10, 10, 20, 20)]))
    assert humans(submitted(drawn), said) == [1]


def test_a_track_of_ours_keeps_peoples_boxes_though_there_is_no_other_box_on_it() -> None:
    """Of an object that a human drew and then ended, we track nothing: all keyframes are the human's."""
    human = [
        VideoKeyframe(1, True, FractionBox(0.1, 0.1, 0.2, 0.2), True),
        VideoKeyframe(2, False, FractionBox(0.2, 0.1, 0.2, 0.2), True),
    ]
    [media] = [each for each in CONFIG.media if each.kind is MediaKind.VIDEO]
    control = CONFIG.box_output(media)
    assert control is not None
    ours = box_track_region(
        control,
        media,
        region_id="v",
        labels=("Dog",),
        boxes={0: None, 1: None, 2: (1.0, 1.0, 3.0, 3.0)},
        size_hw=SIZE,
        clock=VideoClock(25, 25, 3),
        quality=0.9,
        human=human,
    )
    said = {"id": PARENT, "model_version": "compact-t2", "result": [ours]}
    for copied in (ours, {key: value for key, value in ours.items() if key != "origin"}):
        for predictions in ([said], []):
            assert humans(submitted(copied), *predictions) == [1, 2]


def test_a_box_on_a_video_is_an_edit_where_a_human_put_some_keyframe() -> None:
    said = other_model(video_box("v", [(1, 10, 10, 20, 20), (9, 50, 10, 20, 20)]))
    moved = video_box("v", [(1, 10, 10, 20, 20), (9, 51, 10, 20, 20)])
    for track, edited in ((said["result"][0], False), (moved, True)):
        [told] = with_origins(submitted({**track, "origin": "prediction"}), {"predictions": [said]})
        assert is_edit(told, {}) is edited


ANYTHING = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda each: (
        st.lists(each)
        | st.dictionaries(st.sampled_from(["id", "type", "value", "origin", "sequence", "rle", "x", "frame"]), each)
    ),
)
VALUES = ANYTHING | st.fixed_dictionaries({"sequence": st.lists(ANYTHING)})


@given(VALUES, VALUES, st.booleans())
def test_whatever_a_result_is_telling_its_origin_refuses_nothing(now: Any, before: Any, is_manual: bool) -> None:
    def holding(value: Any) -> list[Any]:
        return [{"id": "b", "type": "t", "value": value, **({"origin": "manual"} if is_manual else {})}, value]

    for results, said in ((holding(now), holding(before)), (now, before)):
        entry = {"result": results, "parent_prediction": PARENT}
        needs_parent(entry)
        told = with_origins(entry, {"predictions": [{"id": PARENT, "result": said}], "annotations": before})
        assert told is results or len(told) == len(results)
        if told is not results:
            assert {is_edit(each, {}) for each in told if isinstance(each, dict)} <= {True, False}
