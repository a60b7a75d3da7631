"""What became of each mask, read from the JSON that Label Studio 1.23.2 sends."""

import numpy as np
import pytest
from ls_json import BITMASK_CONFIG, CONFIG, HW, bitmask, blob, brush

from tam_backend.labelstudio.history import read_history

WHOLE, HALF, AWAY = blob(20, 20, 60, 60), blob(20, 20, 60, 40), blob(120, 50, 160, 90)


def ours(frame, mask=WHOLE, key="k", origin="prediction", source="propagated"):
    return brush(f"tam-{key}-{frame}f", mask, frame=frame, origin=origin, meta={"tam_source": source})


def prediction(number, *results, created_at="2026-01-01T10:00:00.000000Z"):
    return {"id": number, "result": list(results), "created_at": created_at, "model_version": "compact"}


def annotation(*results, parent=None, created_at="2026-01-01T12:00:00.000000Z", lead_time=61.5, **more):
    return {
        "id": 31, "result": list(results), "parent_prediction": parent, "created_at": created_at,
        "lead_time": lead_time, "was_cancelled": False, **more,
    }  # fmt: skip


def task(annotations, predictions=(), **data):
    shown = {"frames": ["f0", "f1", "f2", "f3"], **data}
    return {"id": 7, "data": shown, "annotations": annotations, "predictions": list(predictions), "drafts": []}


def read(annotations, predictions=(), config=CONFIG):
    record, unread = read_history(task(annotations, predictions), config)
    assert unread == []
    return record


def fates(record):
    [found] = record.annotations
    return [(mask.frame, mask.fate, mask.iou) for mask in found.masks]


def test_what_was_left_alone_edited_drawn_and_erased_is_told_apart():
    proposed = prediction(5, ours(0), ours(1), ours(2))
    submitted = annotation(ours(0), ours(1, HALF), brush("hand", AWAY, frame=3), parent=5)
    record = read([submitted], [proposed])
    assert fates(record) == [(0, "kept", 1.0), (1, "edited", 0.5), (3, "drawn", None)]
    assert record.annotations[0].erased == (2,)
    assert record.annotations[0].lead_time_s == 61.5
    assert record.annotations[0].with_model
    assert record.frames == 4


@pytest.mark.parametrize(
    ("created_at", "lead_time", "begun_at"),
    [
        ("1970-01-01T00:10:00.000000Z", 61.5, 538.5),
        ("1970-01-01T01:10:00+01:00", None, 600),
        ("1970-01-01T00:10:00", float("nan"), 600),
        ("yesterday", 61.5, None),
        (None, 61.5, None),
    ],
)
def test_work_began_as_long_before_it_was_submitted_as_it_took(created_at, lead_time, begun_at):
    [found] = read([annotation(ours(0), created_at=created_at, lead_time=lead_time)]).annotations
    assert found.begun_at == begun_at


def test_an_edit_is_seen_whatever_the_editor_says_of_it():
    [(_, fate, _)] = fates(read([annotation(ours(0, HALF, origin="prediction"), parent=5)], [prediction(5, ours(0))]))
    assert fate == "edited"
    [(_, fate, _)] = fates(read([annotation(ours(0, origin="prediction-changed"), parent=5)], [prediction(5, ours(0))]))
    assert fate == "kept", "a stroke that was taken back changed nothing"


def test_bitmasks_are_compared_too():
    before = bitmask("tam-k-0f", WHOLE)
    [(_, fate, overlap)] = fates(
        read([annotation(bitmask("tam-k-0f", HALF), parent=5)], [prediction(5, before)], BITMASK_CONFIG)
    )
    assert (fate, overlap) == ("edited", 0.5)


def test_a_mask_drawn_in_place_of_ours_is_drawn_and_compared_and_ours_not_erased():
    record = read([annotation(brush("hand", HALF, frame=1), parent=5)], [prediction(5, ours(1))])
    assert fates(record) == [(1, "drawn", 0.5)]
    assert record.annotations[0].erased == ()


def test_of_two_masks_drawn_in_place_of_two_each_is_compared_with_the_nearest():
    proposed = prediction(5, ours(1, AWAY, "a"), ours(1, WHOLE, "b"))
    record = read([annotation(brush("h1", WHOLE, frame=1), brush("h2", AWAY, frame=1), parent=5)], [proposed])
    assert [overlap for _, _, overlap in fates(record)] == [1.0, 1.0]


def test_what_another_model_proposed_is_kept_or_edited_and_never_drawn_by_hand():
    theirs = [brush(f"other-{frame}", WHOLE, frame=frame) for frame in range(3)]
    said = prediction(5, *({key: value for key, value in each.items() if key != "origin"} for each in theirs))
    in_bulk = read([annotation(*said["result"], parent=5)], [said])
    assert fates(in_bulk) == [(frame, "kept", None) for frame in range(3)]
    assert in_bulk.annotations[0].with_model, "three masks in no time are not the pace of a hand"
    saved = [theirs[0], brush("other-1", HALF, frame=1), {**theirs[2], "origin": "prediction-changed"}]
    assert fates(read([annotation(*saved, parent=5)], [said])) == [
        (0, "kept", None), (1, "drawn", None), (2, "edited", None)
    ]  # fmt: skip


def test_answers_to_clicks_are_clicked_and_what_followed_from_them_is_kept():
    of_a_detector = ours(3, source="started")
    record = read([annotation(ours(0, source="prompt"), ours(1), ours(2, origin="prediction-changed"), of_a_detector)])
    assert fates(record) == [(0, "clicked", None), (1, "kept", None), (2, "edited", None), (3, "kept", None)]


def test_without_a_known_parent_our_newest_prediction_from_before_is_compared():
    older = prediction(5, ours(0, AWAY), created_at="2026-01-01T09:00:00.000000Z")
    before = prediction(6, ours(0, HALF), created_at="2026-01-01T11:00:00.000000Z")
    after = prediction(8, ours(0, AWAY), created_at="2026-01-01T13:00:00.000000Z")
    foreign = prediction(9, brush("x", AWAY), created_at="2026-01-01T11:30:00.000000Z")
    for parent in (None, 404):
        assert fates(read([annotation(ours(0), parent=parent)], [older, before, after, foreign])) == [
            (0, "edited", 0.5)
        ]


def test_an_annotation_without_any_mask_of_ours_is_by_hand():
    [found] = read([annotation(brush("a", WHOLE), brush("b", AWAY, frame=2))]).annotations
    assert not found.with_model
    assert [mask.fate for mask in found.masks] == ["drawn", "drawn"]


def test_all_that_we_proposed_erased_is_still_with_the_model():
    [found] = read([annotation(parent=5)], [prediction(5, ours(0), ours(1))]).annotations
    assert (found.with_model, found.masks, found.erased) == (True, (), (0, 1))


def test_cancelled_annotations_do_not_count():
    assert read([annotation(ours(0), was_cancelled=True)]).annotations == ()


def test_an_annotation_that_cannot_be_read_is_named_and_leaves_the_others():
    broken = {**annotation(ours(0)), "id": 32}
    broken["result"][0]["value"]["rle"] = [1, 2, 3]
    record, unread = read_history(task([broken, annotation(ours(1))], [prediction(5, ours(0))]), CONFIG)
    assert [each.annotation for each in record.annotations] == [31]
    [sentence] = unread
    assert sentence.startswith("Annotation 32 of task 7 is left out")


@pytest.mark.parametrize("lead_time", [None, True, "61"])
def test_a_lead_time_that_is_none_is_unknown(lead_time):
    assert read([annotation(ours(0), lead_time=lead_time)]).annotations[0].lead_time_s is None


def test_a_mask_of_another_size_agrees_with_nothing():
    other = ours(0, np.ones((10, 20), bool))
    other |= {"original_width": 20, "original_height": 10}
    assert fates(read([annotation(ours(0), parent=5)], [prediction(5, other)])) == [(0, "edited", 0.0)]
    assert HW != (10, 20)


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"video": "http://x/videos/ab/my%20clip.mp4?sig=1"}, "my clip.mp4"),
        ({"video": "http://x/videos/ab/a.mp4", "chain": {"part": 2, "parts": 3}}, "a.mp4 2/3"),
        ({}, "task 7"),
        ({"video": 5}, "task 7"),
    ],
)
def test_a_task_is_called_by_its_video(data, name):
    record, _ = read_history(task([], **data), CONFIG)
    assert record.video == name
