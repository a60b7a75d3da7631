# ruff: noqa: F811 - fixtures are imported
"""Nothing is asked twice of Label Studio for one request, and what was learnt is not asked for the next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest
from label_studio_double import LabelStudioDouble
from test_backend import BRUSH, PROPAGATE, draft, point, predict
from test_background import backend, data, label_studio, make_backend  # noqa: F401 - fixtures

from tam_backend.service.backend import Backend

Data = Mapping[str, Any]
RELATIONS = BRUSH.replace("</View>", "<Relations/></View>")  # so that a click asks for the draft that it is in


@pytest.fixture(autouse=True)
def patient_backend(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("fake_backend.DRAFT_WAIT_S", 10.0)


def asked_by(label_studio: LabelStudioDouble) -> list[tuple[str, str]]:
    asked = list(label_studio.asked)
    label_studio.asked.clear()
    return asked


def test_no_request_asks_label_studio_twice_for_the_same(
    backend: Backend, data: Data, label_studio: LabelStudioDouble
) -> None:
    label_studio.people = [1]
    [mask] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1), config=RELATIONS)
    label_studio.asked.clear()
    beside = point(0, "Rabbit", name="beside", dx=3)
    label_studio.drafts[1] = draft(mask, beside, by=1)
    predict(backend, data, beside, drafts=draft(mask, by=1), config=RELATIONS)
    correction = asked_by(label_studio)
    assert ("GET", "/api/tasks/1/drafts?") in correction
    assert len(correction) == len(set(correction)), correction

    label_studio.drafts[1] = draft(mask, PROPAGATE, by=1)
    predict(backend, data, PROPAGATE)  # without a draft: it must be found
    propagate = asked_by(label_studio)
    assert propagate
    assert len(propagate) == len(set(propagate)), propagate


def test_a_click_on_a_new_object_asks_for_nothing_and_a_propagate_for_its_draft_once(
    backend: Backend, data: Data, label_studio: LabelStudioDouble
) -> None:
    [mask] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    label_studio.asked.clear()
    [bird] = predict(backend, data, point(1, "Bird", disc=2, name="b"), drafts=draft(mask, by=1))
    assert asked_by(label_studio) == []
    label_studio.drafts[1] = draft(mask, bird, PROPAGATE, by=1)
    predict(backend, data, PROPAGATE, drafts=draft(mask, by=1))
    assert asked_by(label_studio) == [("GET", "/api/tasks/1/drafts?")]
