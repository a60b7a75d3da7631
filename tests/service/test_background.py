"""The loop: what annotators submit is read as keyframes, only what changed is tracked anew, and its masks are stored.

Label Studio is a double over real HTTP; the networks are stand-ins that follow colours; the rest is real.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colour_models import ColourModels
from fake_backend import make_settings
from label_studio_double import LabelStudioDouble, running_double
from synthetic import iou
from test_backend import BRUSH, MPX, PROPAGATE, VIDEO, by_frame, draft, mask_of, never, point, predict
from test_parts_of_a_task import TWO_CAMERAS, drawn, named

from tam_backend.engine import TrackAnything
from tam_backend.errors import PayloadError, UnauthorizedError
from tam_backend.jobs.records import JobView
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.service.backend import Backend
from tam_backend.session.pursuit import Pursuit
from tam_backend.types import BoolMask

Region = dict[str, Any]
MakeBackend = Callable[[], Backend]


@pytest.fixture
def label_studio() -> Iterator[LabelStudioDouble]:
    with running_double() as double:
        yield double


@pytest.fixture
def make_backend(
    tmp_path: Path, label_studio: LabelStudioDouble, monkeypatch: pytest.MonkeyPatch
) -> Iterator[MakeBackend]:
    """Make backends on one data folder, as restarts do."""
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: TrackAnything(ColourModels().models()))
    monkeypatch.setattr("tam_backend.service.background._FIRST_PAUSE_S", 0.1)
    monkeypatch.setattr("tam_backend.service.background._BUSY_PAUSE_S", 0.05)
    made = []

    def make() -> Backend:
        settings = make_settings(
            tmp_path / "data", label_studio_url=label_studio.url, label_studio_api_key="a" * 40, media_dirs=(tmp_path,)
        )
        made.append(Backend(settings))
        return made[-1]

    yield make
    for backend in made:
        backend.close()


@pytest.fixture
def backend(make_backend: MakeBackend) -> Backend:
    return make_backend()


@pytest.fixture
def data(backend: Backend, tmp_path: Path) -> dict[str, Any]:
    return data_of(backend, tmp_path, range(VIDEO.frames))


def data_of(backend: Backend, tmp_path: Path, frames: range) -> dict[str, Any]:
    folder = tmp_path / "frames"
    folder.mkdir(exist_ok=True)
    for index in range(VIDEO.frames):
        if not (folder / f"{index}.png").exists():
            cv2.imwrite(str(folder / f"{index}.png"), VIDEO[index][..., ::-1])
    record = backend.library.register(folder)
    return {"frames": [backend.library.frame_url("http://x", record.id, index) for index in frames]}


def event(
    data: Mapping[str, Any], regions: list[Region], action: str = "ANNOTATION_CREATED", task: int = 1, **annotation: Any
) -> dict[str, Any]:
    return {
        "action": action,
        "annotation": {"id": 5, "result": regions, "was_cancelled": False, **annotation},
        "task": {"id": task, "data": data},
        "project": {"id": 7, "label_config": BRUSH},
    }


def send(backend: Backend, label_studio: LabelStudioDouble, payload: dict[str, Any]) -> None:
    """What Label Studio does when an annotation is saved: it has it, then it tells of it."""
    annotation, task = payload["annotation"], payload["task"]
    there = label_studio.tasks.setdefault(task["id"], {**task, "annotations": []})
    there["annotations"] = [each for each in there["annotations"] if each["id"] != annotation["id"]] + [annotation]
    backend.webhook(payload, backend.webhook_secret)


def idle(backend: Backend, within_s: float = 20) -> list[JobView]:
    deadline = time.monotonic() + within_s
    while backend.jobs.running:
        assert time.monotonic() < deadline, [job.as_json() for job in backend.jobs.all()]
        time.sleep(0.02)
    return backend.jobs.all()


def propagated(backend: Backend, data: Mapping[str, Any]) -> dict[int, Region]:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    return by_frame([clicked, *predict(backend, data, PROPAGATE, drafts=draft(clicked))])


def edited(region: Region, mask: BoolMask, origin: str = "prediction-changed") -> Region:
    return {**region, "origin": origin, "value": {**region["value"], "rle": encode_brush(mask)}}


def shifted(region: Region, pixels: int = 3) -> BoolMask:
    return np.roll(mask_of(region), pixels, axis=0)


def test_a_submitted_annotation_comes_back_as_a_prediction(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    regions = propagated(backend, data)
    send(backend, label_studio, event(data, list(regions.values())))
    [job, *_] = idle(backend)
    assert (job.state, job.task_id) == ("done", 1)
    [prediction] = label_studio.stored()
    assert prediction["model_version"] == backend.model_version
    assert 0 < prediction["score"] <= 1
    stored = by_frame(prediction["result"])
    assert sorted(stored) == list(range(10))
    assert all(np.array_equal(mask_of(stored[frame]), mask_of(regions[frame])) for frame in range(10))


def test_a_hand_drawn_mask_is_tracked_when_it_is_submitted(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    [clicked] = predict(backend, data, point(4, "Rabbit"))
    drawn = {key: value for key, value in clicked.items() if key not in ("origin", "meta", "score")} | {"id": "hand"}
    send(backend, label_studio, event(data, [drawn]))
    idle(backend)
    [prediction] = label_studio.stored()
    stored = by_frame(prediction["result"])
    assert sorted(stored) == [0, 1, 2, 3, 5, 6, 7, 8, 9]
    assert all(iou(mask_of(each), VIDEO.truth(frame)) > 0.7 for frame, each in stored.items())


def test_another_models_masks_that_were_made_an_annotation_in_bulk_are_no_humans_keyframes(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    """Of an object that nobody said anything of, the best mask is tracked; the others are not taken for true."""
    [clicked] = predict(backend, data, point(4, "Rabbit"))
    bare = {key: value for key, value in clicked.items() if key not in ("origin", "meta", "score")}
    good = {**bare, "id": "theirs-4", "score": 0.9}
    wrong = {**edited(bare, shifted(clicked, 20)), "id": "theirs-6", "item_index": 6, "score": 0.3}
    said = [good, {key: value for key, value in wrong.items() if key != "origin"}]
    label_studio.predictions[70] = {"id": 70, "task": 1, "model_version": "yolo", "result": said}
    saved = [{**each, "origin": "manual"} for each in said]
    send(backend, label_studio, event(data, saved, parent_prediction=70))
    idle(backend)
    stored = by_frame(label_studio.stored()[-1]["result"])
    assert sorted(stored) == list(range(10))
    assert all(iou(mask_of(each), VIDEO.truth(frame)) > 0.7 for frame, each in stored.items())
    assert {each["meta"]["tam_source"] for each in stored.values()} == {"propagated"}


def test_the_same_event_twice_stores_nothing_twice(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    regions = propagated(backend, data)
    for action in ("ANNOTATION_CREATED", "ANNOTATION_UPDATED"):
        send(backend, label_studio, event(data, list(regions.values()), action))
        idle(backend)
    assert len(label_studio.stored()) == 1
    tracked = backend.jobs.frames_propagated
    send(backend, label_studio, event(data, list(regions.values()), "ANNOTATION_UPDATED"))
    idle(backend)
    assert backend.jobs.frames_propagated == tracked


@pytest.mark.parametrize("origin", ["prediction-changed", "prediction"])
def test_a_correction_changes_only_its_span_and_is_never_sent_back(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], origin: str
) -> None:
    regions = propagated(backend, data)
    first = {**regions, 6: edited(regions[6], shifted(regions[6], 2))}
    send(backend, label_studio, event(data, list(first.values())))
    idle(backend)
    before = by_frame(label_studio.stored()[-1]["result"])
    second = {**first, 3: edited(regions[3], shifted(regions[3]), origin)}
    send(backend, label_studio, event(data, list(second.values()), "ANNOTATION_UPDATED"))
    idle(backend)
    [prediction] = label_studio.stored()
    after = by_frame(prediction["result"])
    assert sorted(after) == [0, 1, 2, 4, 5, 7, 8, 9]
    unchanged = {frame for frame in after if after[frame] == before[frame]}
    assert {0, 7, 8, 9} <= unchanged


def test_an_erased_mask_stays_erased(backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]) -> None:
    regions = propagated(backend, data)
    send(backend, label_studio, event(data, list(regions.values())))
    idle(backend)
    left = [region for frame, region in regions.items() if frame != 5]
    for count in range(2):
        send(backend, label_studio, event(data, left, "ANNOTATION_UPDATED", updated_at=f"2026-01-0{count + 1}"))
        idle(backend)
    assert sorted(by_frame(label_studio.stored()[-1]["result"])) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    again = [*left, edited(regions[5], shifted(regions[5]))]
    send(backend, label_studio, event(data, again, "ANNOTATION_UPDATED"))
    idle(backend)
    view = backend.store.find("7", "1")
    assert view is not None
    assert backend.store.masks(view.summary.key, 5)[1].any(), "what a human draws there again is seen again"


def test_what_an_annotator_erased_from_a_prediction_is_noticed_at_once(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    regions = propagated(backend, data)
    send(backend, label_studio, event(data, list(regions.values())))
    idle(backend)
    [prediction] = label_studio.stored()
    left = [region for region in prediction["result"] if region["item_index"] != 7]
    send(backend, label_studio, event(data, left, id=6, parent_prediction=prediction["id"], updated_at="2026-02"))
    idle(backend)
    assert sorted(by_frame(label_studio.stored()[-1]["result"])) == [0, 1, 2, 3, 4, 5, 6, 8, 9]
    assert prediction["id"] in label_studio.predictions, "an annotation was made from it"


def test_two_annotators_do_not_take_each_others_keyframes(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    regions = propagated(backend, data)
    ann = {**regions, 3: edited(regions[3], shifted(regions[3]))}
    bob = {**regions, 8: edited(regions[8], shifted(regions[8]))}
    send(backend, label_studio, event(data, list(ann.values()), id=5, updated_at="2026-01-01"))
    idle(backend)
    send(backend, label_studio, event(data, [bob[8]], id=6, updated_at="2026-01-02"))
    idle(backend)
    view = backend.store.find("7", "1")
    assert view is not None
    assert view.keyframes == {1: (0, 3, 8)}
    assert sorted(by_frame(label_studio.stored()[-1]["result"])) == [0, 1, 2, 4, 5, 6, 7, 9]


def test_events_without_the_secret_start_nothing(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    payload = event(data, list(propagated(backend, data).values()))
    jobs, calls = len(backend.jobs.all()), label_studio.calls
    backend.webhook(payload)
    with pytest.raises(UnauthorizedError):
        backend.webhook(payload, "0" * 32)
    assert len(backend.jobs.all()) == jobs
    assert label_studio.calls == calls


@pytest.mark.parametrize(
    "change",
    [{"annotation": None}, {"task": {"id": "x"}}, {"project": {"id": 7}}, {"annotation": {"id": 1, "result": "all"}}],
)
def test_an_event_that_cannot_be_read_is_refused(backend: Backend, change: dict[str, Any]) -> None:
    with pytest.raises(PayloadError):
        backend.webhook(event({"frames": []}, []) | change, backend.webhook_secret)


@pytest.mark.parametrize(
    "payload",
    [
        {"action": "TASKS_CREATED"},
        event({"frames": []}, [], was_cancelled=True),
    ],
    ids=["tasks", "skipped"],
)
def test_other_events_are_taken_and_start_nothing(backend: Backend, payload: dict[str, Any]) -> None:
    backend.webhook(payload, backend.webhook_secret)
    assert backend.jobs.all() == []


def test_an_annotation_without_masks_stores_nothing(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    send(backend, label_studio, event(data, []))
    [job] = idle(backend)
    assert job.state == "done"
    assert label_studio.stored() == []


def test_an_object_that_was_deleted_is_tracked_no_more(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    [rabbit] = predict(backend, data, point(1, "Rabbit", name="r"))
    [bird] = predict(backend, data, point(6, "Bird", disc=2, name="b"), drafts=draft(rabbit))
    regions = predict(backend, data, PROPAGATE, drafts=draft(rabbit, bird))
    send(backend, label_studio, event(data, regions))
    idle(backend)
    left = [region for region in regions if region["value"]["brushlabels"] == ["Bird"]]
    send(backend, label_studio, event(data, left, "ANNOTATION_UPDATED"))
    idle(backend)
    labels = {region["value"]["brushlabels"][0] for region in label_studio.stored()[-1]["result"]}
    assert labels == {"Bird"}


@pytest.mark.parametrize("status", [500, 401, 429])
def test_masks_wait_for_label_studio_to_come_back(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], status: int
) -> None:
    regions = propagated(backend, data)
    label_studio.failing = status
    send(backend, label_studio, event(data, list(regions.values())))
    deadline = time.monotonic() + 20
    while backend.jobs.all()[0].state != "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    assert "Its masks are kept" in backend.jobs.all()[0].message
    assert backend.problems.recent()[0].where == "task 1"
    label_studio.failing = 0
    assert idle(backend)[0].state == "done"
    assert len(label_studio.stored()) == 1


def test_masks_that_arrived_though_the_answer_was_lost_are_not_stored_twice(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    regions = propagated(backend, data)
    label_studio.answers_lost = 1
    send(backend, label_studio, event(data, list(regions.values())))
    assert idle(backend)[0].state == "done"
    assert len(label_studio.stored()) == 1


def test_masks_that_wait_are_stored_after_a_restart(
    make_backend: MakeBackend, label_studio: LabelStudioDouble, tmp_path: Path
) -> None:
    first = make_backend()
    data = data_of(first, tmp_path, range(VIDEO.frames))
    regions = propagated(first, data)
    label_studio.failing = 503
    send(first, label_studio, event(data, list(regions.values())))
    deadline = time.monotonic() + 20
    while first.jobs.all()[0].state != "waiting":
        assert time.monotonic() < deadline
        time.sleep(0.01)
    job_id = first.jobs.all()[0].id
    first.close()
    label_studio.failing = 0
    second = make_backend()
    assert idle(second)[0].id == job_id
    assert len(label_studio.stored()) == 1
    assert second.jobs.frames_propagated == 0, "what was found before is not tracked again"


def test_a_job_that_a_restart_interrupts_goes_on_where_it_was(
    make_backend: MakeBackend, label_studio: LabelStudioDouble, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = make_backend()
    data = data_of(first, tmp_path, range(VIDEO.frames))
    [clicked] = predict(first, data, point(0, "Rabbit"))
    advance = Pursuit.advance

    def slowly(pursuit: Pursuit) -> Any:
        time.sleep(0.1)
        return advance(pursuit)

    with monkeypatch.context() as slow:
        slow.setattr(Pursuit, "advance", slowly)
        send(first, label_studio, event(data, [clicked]))
        deadline = time.monotonic() + 20
        while first.jobs.all()[0].frames_done < 4:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        first.close()
    assert label_studio.stored() == []
    second = make_backend()
    [job] = idle(second)
    assert (job.state, job.frames_done) == ("done", 10)
    assert 0 < second.jobs.frames_propagated < 10
    assert len(label_studio.stored()) == 1


def test_a_task_that_is_gone_fails_its_job_with_the_reason(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = propagated(backend, data)
    label_studio.failing = 404
    send(backend, label_studio, event(data, list(regions.values())))
    [job, *_] = idle(backend)
    assert job.state == "failed"
    assert "knows nothing" in job.message
    assert backend.problems.recent()[0].type == "LabelStudioRefusedError"


def test_a_propagation_over_its_budget_goes_on_as_a_job_and_is_stored(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    per_frame = backend.settings.time_budget_s / 4
    monkeypatch.setattr(
        "tam_backend.service.propagate.ENCODE_S_PER_MPX", per_frame / (VIDEO.height * VIDEO.width / 1e6)
    )
    first = predict(backend, data, PROPAGATE, drafts=draft(clicked))
    assert 0 < len(first) < 10
    [later, stopped] = idle(backend)
    assert (stopped.state, later.state) == ("stopped", "done")
    assert "goes on in the background" in stopped.message
    assert backend.problems.recent() == []
    [prediction] = label_studio.stored()
    assert sorted(by_frame(prediction["result"])) == list(range(10))
    assert backend.jobs.frames_propagated == 10


def test_what_is_stored_of_a_propagation_over_its_budget_has_the_masks_of_all_media(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    per_frame = backend.settings.time_budget_s / 4
    monkeypatch.setattr(
        "tam_backend.service.propagate.ENCODE_S_PER_MPX", per_frame / (VIDEO.height * VIDEO.width / 1e6)
    )
    cameras = {"left": data["frames"], "right": data["frames"]}
    go = {**PROPAGATE, "from_name": "point_right", "to_name": "right"}
    both = draft(drawn(0, "left"), drawn(4, "right", disc=2))
    predict(backend, cameras, go, drafts=both, config=TWO_CAMERAS)
    idle(backend)
    [prediction] = label_studio.stored()
    assert named(prediction["result"]) == {"left": set(range(10)) - {0}, "right": set(range(10)) - {4}}


def test_what_follows_from_unsaved_work_is_shown_to_nobody_else(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    label_studio.people = [1, 2]
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    per_frame = backend.settings.time_budget_s / 4
    with monkeypatch.context() as slow:
        slow.setattr("tam_backend.service.propagate.ENCODE_S_PER_MPX", per_frame / MPX)
        first = predict(backend, data, PROPAGATE, drafts=draft(clicked))
    assert 0 < len(first) < 10
    [later, _] = idle(backend)
    assert later.state == "done"
    assert "Propagate again" in later.message
    assert label_studio.stored() == []
    again = predict(backend, data, PROPAGATE, drafts=draft(clicked))
    assert sorted(by_frame([clicked, *again])) == list(range(10))
    assert backend.jobs.frames_propagated == 10, "all were tracked in the background"


def test_a_job_can_be_cancelled_and_the_newest_intent_wins(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    [other] = predict(backend, data, point(0, "Bird", disc=2, name="b"), drafts=draft(clicked))
    advance = Pursuit.advance

    def slowly(pursuit: Pursuit) -> Any:
        time.sleep(0.05)
        return advance(pursuit)

    monkeypatch.setattr(Pursuit, "advance", slowly)
    send(backend, label_studio, event(data, [clicked]))
    send(backend, label_studio, event(data, [other], "ANNOTATION_UPDATED"))
    [newer, older] = idle(backend)
    assert (newer.state, older.state) == ("done", "cancelled")
    assert "newer request" in older.message
    assert {each["value"]["brushlabels"][0] for each in label_studio.stored()[-1]["result"]} == {"Bird"}
    send(backend, label_studio, event(data, [clicked], "ANNOTATION_UPDATED"))
    backend.jobs.cancel(backend.jobs.all()[0].id)
    assert idle(backend)[0].state == "cancelled"
    assert len(label_studio.stored()) == 1


def test_a_chains_next_task_begins_with_what_the_one_before_ended_with(
    make_backend: MakeBackend, label_studio: LabelStudioDouble, tmp_path: Path
) -> None:
    backend = make_backend()
    data = data_of(backend, tmp_path, range(5)) | {"chain": {"next_task": 2}}
    following = data_of(backend, tmp_path, range(5, 10)) | {"chain": {"previous_task": 1, "next_task": None}}
    label_studio.tasks[2] = {"id": 2, "data": following, "annotations": []}
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    send(backend, label_studio, event(data, [clicked]))
    idle(backend)
    [prediction] = label_studio.stored(task=2)
    stored = by_frame(prediction["result"])
    assert sorted(stored) == list(range(5))
    assert {each["meta"]["tam_source"] for each in stored.values()} == {"propagated"}
    assert all(iou(mask_of(each), VIDEO.truth(frame + 5)) > 0.6 for frame, each in stored.items())
    assert iou(mask_of(stored[0]), VIDEO.truth(5)) > 0.9, "the masks move on with the object from task to task"
    # A human's word in the next task replaces what came from the task before.
    corrected = edited(stored[0], VIDEO.truth(5))
    send(backend, label_studio, event(following, [corrected, *list(stored.values())[1:]], task=2, id=9))
    idle(backend)
    assert sorted(by_frame(label_studio.stored(task=2)[-1]["result"])) == [1, 2, 3, 4]
    view = backend.store.find("7", "2")
    assert view is not None
    assert np.array_equal(backend.store.masks(view.summary.key, 0)[1], VIDEO.truth(5))


def test_setup_asks_the_project_for_its_events_once(backend: Backend, label_studio: LabelStudioDouble) -> None:
    for _ in range(2):
        backend.setup({"project": "7.123", "schema": BRUSH, "hostname": label_studio.url, "access_token": ""})
        deadline = time.monotonic() + 10
        while not label_studio.webhooks:
            assert time.monotonic() < deadline
            time.sleep(0.01)
    [webhook] = label_studio.webhooks
    assert webhook["url"] == f"{backend.settings.own_url}/webhook/{backend.webhook_secret}"
    assert webhook["project"] == 7
    assert set(webhook["actions"]) == {"ANNOTATION_CREATED", "ANNOTATION_UPDATED", "ANNOTATIONS_DELETED"}


def test_a_click_is_answered_while_a_job_runs(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    regions = propagated(backend, data)
    advance = Pursuit.advance
    monkeypatch.setattr(Pursuit, "advance", lambda pursuit: (time.sleep(0.2), advance(pursuit))[1])
    changed = [*[regions[frame] for frame in range(9)], edited(regions[9], shifted(regions[9]))]
    send(backend, label_studio, event(data, changed))
    while backend.jobs.all()[0].state != "running":
        time.sleep(0.01)
    assert len(predict(backend, data, point(3, "Bird", disc=2, name="b"))) == 1
    assert backend.jobs.all()[0].state == "running"
    assert backend.predict({"tasks": [], "label_config": BRUSH, "project": "7"}, cancelled=never) == []
