"""Several people's annotations of a task as one: nobody's work is lost to somebody who left what a model said."""

from __future__ import annotations

from typing import Any

import pytest

from tam_backend.labelstudio.checked import read_keyframes
from tam_backend.labelstudio.edits import as_left
from tam_backend.service.read_task import merged

PARENT = 9
Result = dict[str, Any]


def mask(rle: list[int], origin: str | None = None) -> Result:
    value = {"format": "rle", "rle": rle, "brushlabels": ["Cat"]}
    about = {"id": "r1", "type": "brushlabels", "from_name": "b", "to_name": "i", "value": value}
    return about if origin is None else {**about, "origin": origin}


def track(*boxes: tuple[int, float]) -> Result:
    about = {"enabled": True, "y": 1.0, "width": 5.0, "height": 5.0, "rotation": 0}
    sequence = [{**about, "frame": frame, "x": x} for frame, x in boxes]
    named = {"id": "v1", "type": "videorectangle", "from_name": "b", "to_name": "v", "origin": "prediction"}
    return {**named, "value": {"sequence": sequence}}


def together(said: Result, *people: Result) -> list[Any]:
    """Merge what people submitted one after the other, each of the same prediction of another model."""
    task = {"predictions": [{"id": PARENT, "model_version": "yolo", "result": [said]}]}
    annotations = [
        {"id": at, "completed_by": at, "updated_at": f"2026-01-0{at}", "parent_prediction": PARENT, "result": [result]}
        for at, result in enumerate(people, 1)
    ]
    return merged(as_left(annotations, task), {})


@pytest.mark.parametrize("origin", ["prediction", None, "manual"], ids=["opened", "copied in bulk", "copied and saved"])
def test_a_mended_mask_is_not_lost_to_a_copy_of_the_prediction_submitted_later(origin: str | None) -> None:
    [kept] = together(mask([1, 2]), mask([7, 7], "prediction-changed"), mask([1, 2], origin))
    assert (kept["value"]["rle"], kept["origin"]) == ([7, 7], "prediction-changed")


def test_of_two_who_mended_a_mask_the_later_one_is_right() -> None:
    mended = (mask([7, 7], "prediction-changed"), mask([8, 8], "prediction-changed"))
    assert together(mask([1, 2]), *mended) == [mended[1]]


def test_what_all_left_as_the_model_said_it_is_still_there() -> None:
    assert together(mask([1, 2]), *[mask([1, 2], "prediction")] * 2) == [mask([1, 2], "prediction")]


def test_a_box_that_somebody_moved_on_a_video_is_not_lost_to_an_untouched_copy() -> None:
    said, moved = track((1, 1.0), (9, 2.0)), track((1, 1.0), (9, 7.0))
    [kept] = together(said, moved, said)
    assert [(each.frame, each.box.x) for each in read_keyframes("", kept["value"]) if each.by_human] == [(9, 0.07)]
    again = track((1, 3.0), (9, 2.0))
    [kept] = together(said, moved, again)
    assert [each.frame for each in read_keyframes("", kept["value"]) if each.by_human] == [1], "of two, the later one"
