"""Deleted annotations are heard: what was said in them counts no more, and what others said goes on counting."""

from __future__ import annotations

from typing import Any

import pytest
from label_studio_double import LabelStudioDouble
from test_backend import BRUSH, by_frame, draft, point, predict
from test_background import (  # noqa: F401 - fixtures, found by their names
    backend,
    data,
    event,
    idle,
    label_studio,
    make_backend,
    propagated,
    send,
)

from tam_backend.errors import PayloadError
from tam_backend.service.backend import Backend

# ruff: noqa: F811


def delete(backend: Backend, studio: LabelStudioDouble, *numbers: int, task: int = 1) -> None:
    """What Label Studio does when annotations are deleted: they are gone, then it tells of their ids."""
    there = studio.tasks[task]
    there["annotations"] = [each for each in there["annotations"] if each["id"] not in numbers]
    project = {"id": 7, "label_config": BRUSH}
    said = {
        "action": "ANNOTATIONS_DELETED",
        "annotations": [{"id": number} for number in numbers],
        "project": project,
    }
    backend.webhook(said, backend.webhook_secret)


def labels_of(studio: LabelStudioDouble) -> set[str]:
    return {region["value"]["brushlabels"][0] for region in studio.stored()[-1]["result"]}


def test_of_two_annotations_what_is_said_in_the_other_one_stays(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    [rabbit] = predict(backend, data, point(1, "Rabbit", name="r"))
    [bird] = predict(backend, data, point(6, "Bird", disc=2, name="b"), drafts=draft(rabbit))
    send(backend, label_studio, event(data, [rabbit], id=5))
    idle(backend)
    send(backend, label_studio, event(data, [bird], id=6))
    idle(backend)
    assert labels_of(label_studio) == {"Rabbit", "Bird"}
    delete(backend, label_studio, 5)
    assert idle(backend)[0].state == "done"
    assert labels_of(label_studio) == {"Bird"}
    assert len(label_studio.stored()) == 1


def test_of_a_task_whose_last_annotation_is_deleted_the_prediction_goes_too_and_all_can_begin_anew(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    regions = propagated(backend, data)
    send(backend, label_studio, event(data, list(regions.values())))
    idle(backend)
    left = [regions[frame] for frame in regions if frame != 5]
    send(backend, label_studio, event(data, left, "ANNOTATION_UPDATED", updated_at="2026-02"))
    idle(backend)
    assert len(label_studio.stored()) == 1
    delete(backend, label_studio, 5)
    idle(backend)
    assert label_studio.stored() == []
    send(backend, label_studio, event(data, [regions[0]], id=8))
    idle(backend)
    assert sorted(by_frame(label_studio.stored()[-1]["result"])) == list(range(10)), "frame 5, erased before, too"


def test_a_deletion_that_label_studio_cannot_be_asked_about_waits_for_it(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    send(backend, label_studio, event(data, list(propagated(backend, data).values())))
    idle(backend)
    label_studio.failing = 500
    delete(backend, label_studio, 5)
    while backend.jobs.all()[0].state != "waiting":
        pass
    assert len(label_studio.stored()) == 1
    label_studio.failing = 0
    idle(backend)
    assert label_studio.stored() == []


@pytest.mark.parametrize("numbers", [(99,), (1, 55, 500)])
def test_annotations_that_nobody_told_us_of_are_none_of_ours(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], numbers: tuple[int, ...]
) -> None:
    send(backend, label_studio, event(data, list(propagated(backend, data).values())))
    jobs = idle(backend)
    delete(backend, label_studio, *numbers)
    assert backend.jobs.all() == jobs


@pytest.mark.parametrize(
    "change",
    [{"annotations": None}, {"annotations": []}, {"annotations": [{"id": "5"}]}, {"project": {"id": 7}}],
)
def test_a_deletion_that_cannot_be_read_is_refused(backend: Backend, change: dict[str, Any]) -> None:
    whole = {
        "action": "ANNOTATIONS_DELETED",
        "annotations": [{"id": 5}],
        "project": {"id": 7, "label_config": BRUSH},
    }
    with pytest.raises(PayloadError):
        backend.webhook(whole | change, backend.webhook_secret)
