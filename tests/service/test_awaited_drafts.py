# ruff: noqa: F811 - fixtures are imported
"""The draft that holds a click: waited for where the answer would harm what it tells, and only there."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from label_studio_double import LabelStudioDouble
from test_backend import BRUSH, PROPAGATE, VIDEO, by_frame, draft, mask_of, point, predict
from test_background import backend, data, label_studio, make_backend  # noqa: F401 - fixtures

from tam_backend.errors import InvalidInputError
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.service.backend import Backend

Data = Mapping[str, Any]
PER_REGION = BRUSH.replace("</View>", '<Choices name="state" toName="pages" perRegion="true"/></View>')
RELATIONS = BRUSH.replace("</View>", "<Relations/></View>")


def choice(mask: Mapping[str, Any]) -> dict[str, Any]:
    return {**mask, "from_name": "state", "type": "choices", "value": {"choices": ["Clean"]}}


def relation(mask: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "relation", "from_id": mask["id"], "to_id": "another", "direction": "right"}


@pytest.fixture(autouse=True)
def impatient_people(monkeypatch: pytest.MonkeyPatch, label_studio: LabelStudioDouble) -> None:
    label_studio.people = [7, 8, 9]
    monkeypatch.setattr("fake_backend.DRAFT_WAIT_S", 0.4)
    monkeypatch.setattr("tam_backend.service.awaited_drafts._ASK_EVERY_S", 0.1)


@pytest.mark.parametrize("person", [7, 8])
def test_whoever_propagates_without_a_draft_is_known_by_the_one_that_the_click_is_in(
    backend: Backend, data: Data, label_studio: LabelStudioDouble, person: int
) -> None:
    [rabbit] = predict(backend, data, point(0, "Rabbit"))
    [bird] = predict(backend, data, point(0, "Bird", disc=2, name="b"))
    mine = rabbit if person == 7 else bird
    other = draft(bird if person == 7 else rabbit, point(0, "Propagate", name="of somebody else"), by=9)
    label_studio.drafts[1] = [*other, *draft(mine, PROPAGATE, by=person)]
    found = predict(backend, data, PROPAGATE)
    assert {label for each in found for label in each["value"]["brushlabels"]} == set(mine["value"]["brushlabels"])


def test_a_propagate_of_which_no_draft_is_saved_in_time_says_what_to_do(backend: Backend, data: Data) -> None:
    with pytest.raises(InvalidInputError) as caught:
        predict(backend, data, PROPAGATE)
    assert "do not turn the page for 6 s" in caught.value.remedy


def test_a_correction_brings_along_what_was_hung_on_the_mask_since_the_draft_before(
    backend: Backend, data: Data, label_studio: LabelStudioDouble
) -> None:
    [mask] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1), config=PER_REGION)
    beside = point(0, "Rabbit", name="beside", dx=3)
    label_studio.drafts[1] = draft(mask, choice(mask), beside, by=1)
    answer = predict(backend, data, beside, drafts=draft(mask, by=1), config=PER_REGION)
    assert [each["type"] for each in answer] == ["brushlabels", "choices"]
    assert {each["id"] for each in answer} == {mask["id"]}


def test_a_click_where_a_mask_was_tracked_that_the_draft_lacks_knows_of_that_mask(
    backend: Backend, data: Data, label_studio: LabelStudioDouble
) -> None:
    [mask] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    tracked = by_frame(predict(backend, data, PROPAGATE, drafts=draft(mask, by=1)))
    beside = point(3, "Rabbit", name="beside", dx=11)
    label_studio.drafts[1] = draft(mask, *tracked.values(), beside, by=1)
    [answer] = predict(backend, data, beside, drafts=draft(mask, by=1))
    assert (mask_of(answer) >= mask_of(tracked[3])).all(), "a guess takes nothing away"


def test_a_click_that_replaces_nothing_asks_label_studio_for_no_draft(
    backend: Backend, data: Data, label_studio: LabelStudioDouble
) -> None:
    predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1), config=PER_REGION)
    more = [point(0, "Rabbit"), point(0, "Rabbit", name="p2", dx=3)]  # the first mask was not accepted
    predict(backend, data, *more, drafts=draft(by=1), config=PER_REGION)
    [mask] = predict(backend, data, point(1, "Bird", disc=2, name="b"), drafts=draft(by=1))
    predict(backend, data, point(1, "Bird", disc=2, name="b2", dx=3), drafts=draft(mask, by=1))  # no perRegion tags
    assert label_studio.drafts_read == 0


@pytest.mark.parametrize("saved_before", [True, False])
def test_a_mask_in_a_relation_is_not_replaced_and_that_is_said(
    backend: Backend, data: Data, label_studio: LabelStudioDouble, saved_before: bool
) -> None:
    [mask] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1), config=RELATIONS)
    beside = point(0, "Rabbit", name="beside", dx=3)
    label_studio.drafts[1] = draft(mask, relation(mask), beside, by=1)
    before = draft(mask, relation(mask), by=1) if saved_before else draft(mask, by=1)
    with pytest.raises(InvalidInputError, match="in a relation") as caught:
        predict(backend, data, beside, drafts=before, config=RELATIONS)
    assert "brush and eraser" in caught.value.remedy


def test_propagate_leaves_out_masks_in_relations_and_sends_the_others(backend: Backend, data: Data) -> None:
    [mask] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    tracked = by_frame(predict(backend, data, PROPAGATE, drafts=draft(mask, by=1)))
    moved = encode_brush(VIDEO.truth(4, 1))
    corrected = {**tracked[4], "origin": "prediction-changed", "value": {**tracked[4]["value"], "rle": moved}}
    elsewhere = encode_brush(VIDEO.truth(9, 1))
    standing = {
        frame: {**each, "value": {**each["value"], "rle": elsewhere}} for frame, each in tracked.items() if frame != 4
    }
    backend._memories.change("7", "1", lambda memory: replace(memory, sent={}))  # as if we had sent just these
    before = draft(mask, corrected, *standing.values(), relation(standing[3]), by=1)
    answered = by_frame(predict(backend, data, PROPAGATE, drafts=before))
    assert answered.keys() >= {2, 5}
    assert 3 not in answered
    assert any("frame 3" in each.message for each in backend.problems.recent())
