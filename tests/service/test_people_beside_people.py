"""What one person does takes nothing from another, and shows nothing to another that was not submitted."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from databases import KINDS, empty_database
from label_studio_double import LabelStudioDouble
from synthetic import iou
from test_backend import BRUSH, PROPAGATE, VIDEO, by_frame, draft, mask_of, point, predict
from test_background import (
    MakeBackend,
    backend,
    data,
    data_of,
    edited,
    event,
    idle,
    label_studio,
    make_backend,
    send,
    shifted,
)

from tam_backend.labelstudio.edits import mask_digest
from tam_backend.labelstudio.identity import SWAP
from tam_backend.service.backend import Backend
from tam_backend.service.background import Loop
from tam_backend.session.pursuit import Pursuit
from tam_backend.store.database import Database
from tam_backend.store.unsaved_answers import AnswerMemory

__all__ = ["backend", "data", "label_studio", "make_backend"]  # fixtures
Data = Mapping[str, Any]


@pytest.fixture(autouse=True)
def two_people(label_studio: LabelStudioDouble) -> None:
    label_studio.people = [1, 2]


def over_budget(monkeypatch: pytest.MonkeyPatch, backend: Backend, part: int = 4) -> None:
    per_frame = backend.settings.time_budget_s / part
    monkeypatch.setattr(
        "tam_backend.service.propagate.ENCODE_S_PER_MPX", per_frame / (VIDEO.height * VIDEO.width / 1e6)
    )


def as_sent(regions: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{**each, "origin": "prediction"} for each in regions]


def tracked(backend: Backend, data: Data, by: int = 1) -> dict[int, dict[str, Any]]:
    """All masks of a rabbit, as an annotator has them after a click on page 0 and Propagate."""
    [clicked] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=by))
    return by_frame([clicked, *predict(backend, data, PROPAGATE, drafts=draft(clicked, by=by))])


def test_unsaved_work_does_not_reach_the_next_task_of_a_chain(
    make_backend: MakeBackend, label_studio: LabelStudioDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    backend = make_backend()
    first = data_of(backend, tmp_path, range(5)) | {"chain": {"next_task": 2}}
    second = data_of(backend, tmp_path, range(5, 10)) | {"chain": {"previous_task": 1, "next_task": None}}
    label_studio.tasks[2] = {"id": 2, "data": second, "annotations": []}
    [clicked] = predict(backend, first, point(0, "Rabbit"), drafts=draft(by=1))
    with monkeypatch.context() as slow:
        over_budget(slow, backend, 3)
        predict(backend, first, PROPAGATE, drafts=draft(clicked, by=1))
    idle(backend)
    time.sleep(0.3)
    idle(backend)
    assert label_studio.predictions == {}
    assert not backend._memories.get("7", "2").seeds


def test_what_a_lone_person_waits_for_is_stored_when_label_studio_is_back(
    backend: Backend, label_studio: LabelStudioDouble, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    label_studio.people = [1]
    push = Loop._push

    def while_it_is_away(self: Loop, *args: Any, **more: Any) -> None:
        label_studio.failing = 503
        threading.Timer(0.3, lambda: setattr(label_studio, "failing", 0)).start()
        monkeypatch.setattr(Loop, "_push", push)
        push(self, *args, **more)

    [clicked] = predict(backend, data, point(0, "Rabbit"))
    monkeypatch.setattr(Loop, "_push", while_it_is_away)
    with monkeypatch.context() as slow:
        over_budget(slow, backend)
        predict(backend, data, PROPAGATE, drafts=draft(clicked))
    idle(backend)
    assert len(label_studio.stored()) == 1


@pytest.mark.parametrize("how", ["batch", "unknown"])
def test_nobody_is_thrown_out_by_a_call_of_somebody_else(
    backend: Backend, data: Data, monkeypatch: pytest.MonkeyPatch, how: str
) -> None:
    [rabbit] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    [bird] = predict(backend, data, point(0, "Bird", disc=2, name="b"), drafts=draft(rabbit, by=1))
    submitted = {"id": 5, "result": [rabbit], "completed_by": 1, "updated_at": "2020-01-01T00:00:00Z"}
    advance = Pursuit.advance
    monkeypatch.setattr(Pursuit, "advance", lambda pursuit: (time.sleep(0.05), advance(pursuit))[1])
    found: dict[str, Any] = {}

    def propagates() -> None:
        found["ann"] = predict(backend, data, PROPAGATE, drafts=draft(rabbit, bird, by=1), annotations=[submitted])

    ann = threading.Thread(target=propagates)
    ann.start()
    while not backend.jobs.running:
        time.sleep(0.01)
    if how == "batch":
        found["other"] = predict(backend, data, annotations=[submitted], batch=True)
    else:
        found["other"] = predict(backend, data, PROPAGATE, annotations=[submitted])
    ann.join(60)
    assert {len(by_frame(found["ann"], label)) for label in ("Rabbit", "Bird")} == {9}
    assert len(by_frame(found["other"])) >= 9


@pytest.mark.parametrize("frame", [5, 6])
def test_what_one_deletes_stays_deleted_though_another_has_a_keyframe_there(
    backend: Backend, label_studio: LabelStudioDouble, data: Data, frame: int
) -> None:
    [first] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    [fifth] = predict(backend, data, point(5, "Rabbit", name="p5"), drafts=draft(first, by=1))
    masks = by_frame([first, fifth, *predict(backend, data, PROPAGATE, drafts=draft(first, fifth, by=1))])
    send(backend, label_studio, event(dict(data), as_sent(list(masks.values())), completed_by=1))
    idle(backend)
    [given] = label_studio.stored()
    whole = as_sent(given["result"])
    left = [each for each in whole if each["item_index"] != frame]
    begun = {"id": 6, "completed_by": 2, "parent_prediction": given["id"]}
    for action, regions in (("ANNOTATION_CREATED", whole), ("ANNOTATION_UPDATED", left)):
        send(backend, label_studio, event(dict(data), regions, action, **begun))
        idle(backend)
    assert frame not in by_frame(predict(backend, data, PROPAGATE, drafts=draft(*left, by=2)))


def test_two_may_delete_the_same_mask(backend: Backend, label_studio: LabelStudioDouble, data: Data) -> None:
    whole = as_sent(list(tracked(backend, data).values()))
    left = [each for each in whole if each["item_index"] != 6]
    for action, regions in (("ANNOTATION_CREATED", whole), ("ANNOTATION_UPDATED", left)):
        for number, person in ((5, 1), (6, 2)):
            send(backend, label_studio, event(dict(data), regions, action, id=number, completed_by=person))
            idle(backend)
    for person in (1, 2):
        assert 6 not in by_frame(predict(backend, data, PROPAGATE, drafts=draft(*left, by=person))), person


def test_an_edit_is_not_replaced_by_a_copy_that_somebody_left_untouched_later(
    backend: Backend, label_studio: LabelStudioDouble, data: Data
) -> None:
    masks = tracked(backend, data)
    untouched = as_sent(list(masks.values()))
    changed = edited(masks[6], shifted(masks[6], 6))
    anns = [changed if each["item_index"] == 6 else each for each in untouched]
    for number, person, regions, at in ((5, 1, anns, "2026-01-01"), (6, 2, untouched, "2026-01-02")):
        annotation = {"id": number, "completed_by": person, "updated_at": f"{at}T00:00:00Z"}
        send(backend, label_studio, event(dict(data), regions, **annotation))
        idle(backend)
    view = backend.store.find("7", "1")
    assert view is not None
    assert any(6 in frames for frames in view.keyframes.values())
    assert 6 not in by_frame(label_studio.stored()[-1]["result"]), "a human's mask is never sent back"


def test_what_one_swapped_the_next_one_is_given_with_ids_that_are_right(
    backend: Backend, label_studio: LabelStudioDouble, data: Data
) -> None:
    [one] = predict(backend, data, point(0, "Rabbit"), drafts=draft(by=1))
    [two] = predict(backend, data, point(0, "Rabbit", disc=2, name="b"), drafts=draft(one, by=1))
    masks = [one, two, *predict(backend, data, PROPAGATE, drafts=draft(one, two, by=1))]
    keys = [each["id"].split("-")[1] for each in (one, two)]
    by_id = {each["id"]: each for each in masks}
    wrong = []  # as if the tracker had taken one for the other from page 5 on
    for each in masks:
        frame, mine = each["item_index"], each["id"].split("-")[1]
        [other] = [key for key in keys if key != mine]
        value = by_id[f"tam-{other}-{frame}f"]["value"] if frame >= 5 else each["value"]
        wrong.append({**each, "value": value, "origin": "prediction"})
    sent = {(each["id"].split("-")[1], each["item_index"]): (mask_digest(mask_of(each)),) for each in wrong}
    backend._memories.change("7", "1", lambda memory: memory.with_sent(sent))
    ends = {"from_id": f"tam-{keys[0]}-5f", "to_id": f"tam-{keys[1]}-5f"}
    said = {"type": "relation", **ends, "direction": "right", "labels": [SWAP]}
    send(backend, label_studio, event(dict(data), [*wrong, said], completed_by=1))
    idle(backend)
    given = label_studio.stored()[-1]["result"]
    assert len(given) == 2 * VIDEO.frames
    for each in given:
        disc = 1 + keys.index(each["id"].split("-")[1])
        assert iou(mask_of(each), VIDEO.truth(each["item_index"], disc)) > 0.7, each["id"]
    assert predict(backend, data, PROPAGATE, drafts=draft(*as_sent(given), by=2)) == [], "it is as it should be"


@pytest.mark.parametrize("odd", ["\ud800", "\0", "x" * 300, 7, None, {"a": 1}])
@pytest.mark.parametrize("where", ["updated_at", "id", "created_username", "user"])
def test_odd_words_of_a_draft_stop_nobody(backend: Backend, data: Data, where: str, odd: Any) -> None:
    [saved] = draft(by=1)
    saved[where] = odd
    [clicked] = predict(backend, data, point(0, "Rabbit"), drafts=[saved])
    saved["result"] = [clicked]
    assert len(predict(backend, data, PROPAGATE, drafts=[saved])) == 9


@pytest.mark.parametrize("kind", KINDS)
def test_two_tabs_that_are_answered_at_once_are_both_remembered(kind: str, tmp_path: Path) -> None:
    memory = AnswerMemory(Database(empty_database(kind, tmp_path)))
    begin, errors = threading.Barrier(2), []
    task = {"drafts": draft(by=1)}

    def answered() -> None:
        begin.wait(10)
        for _ in range(20):
            try:
                memory.remember("7", "1", "1", task, [{"id": "tam-a-0f"}])
            except Exception as error:  # noqa: PERF203
                errors.append(error)

    threads = [threading.Thread(target=answered) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert errors == []
    assert memory.unsaved("7", "1", "1", task) == [{"id": "tam-a-0f"}]


def test_a_prompt_that_began_an_object_and_the_mask_that_it_made_are_one(backend: Backend, data: Data) -> None:
    page = BRUSH.replace('<Label value="Propagate"/>', '<Label value="New Rabbit"/><Label value="Propagate"/>')
    begun = point(0, "New Rabbit", name="k1")
    [mask] = predict(backend, data, begun, drafts=draft(by=1), config=page)
    corrected = edited(mask, shifted(mask, 6))
    found = predict(backend, data, PROPAGATE, drafts=draft(corrected, begun, by=1), config=page)
    assert sorted(each["item_index"] for each in found) == list(range(1, 10)), "the human's page is not sent back"
