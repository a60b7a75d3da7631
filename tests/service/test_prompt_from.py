"""Propagate without a click: what a detector found, or a team has drawn, becomes prompts where somebody asks for it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from label_studio_double import LabelStudioDouble
from synthetic import iou
from test_backend import BRUSH, PROPAGATE, VIDEO, box, by_frame, mask_of, never, point
from test_background import (  # noqa: F401 - fixtures, found by their names
    MakeBackend,
    backend,
    data,
    data_of,
    event,
    idle,
    label_studio,
    make_backend,
    send,
)

from tam_backend.errors import InvalidInputError, LabelConfigError
from tam_backend.jobs.records import Intent
from tam_backend.jobs.registry import Job
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.labelstudio.polygons import decode_polygon
from tam_backend.labelstudio.starting_objects import StartReport
from tam_backend.project_propagation import ProjectRequest, TaskOutcome, propagate_project
from tam_backend.service import correction
from tam_backend.service.backend import Backend
from tam_backend.service.background import Annotations, Found
from tam_backend.service.parts import database_of
from tam_backend.store.task_memory import TaskMemories

# ruff: noqa: F811
ORDINARY = BRUSH.replace(
    "</View>",
    '<RectangleLabels name="found" toName="pages"><Label value="Rabbit"/><Label value="Bird"/></RectangleLabels>'
    '<PolygonLabels name="outlined" toName="pages"><Label value="Rabbit"/></PolygonLabels></View>',
)
FRAMES = range(VIDEO.frames)


def asking(source: str) -> str:
    return ORDINARY.replace("valueList", f'tamPromptFrom="{source}" valueList')


def found(frame: int, label: str, disc: int = 1, name: str = "f1", **more: Any) -> dict[str, Any]:
    """A box of the ordinary tag."""
    return {**box(frame, label, disc, name), "from_name": "found", **more}


def detector(*results: Mapping[str, Any], number: int = 70) -> dict[str, Any]:
    return {"id": number, "model_version": "yolo", "result": list(results)}


def propagate(
    backend: Backend,
    data: Mapping[str, Any],
    config: str,
    *drafted: Mapping[str, Any],
    predictions: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    drafts = [{"id": 1, "result": list(drafted), "annotation": None, "updated_at": "2030-01-01T00:00:00Z", "user": "a"}]
    payload = {
        "tasks": [{"id": 1, "data": data, "annotations": [], "drafts": drafts, "predictions": list(predictions)}],
        "project": "7.123",
        "label_config": config,
        "params": {"context": {"result": [PROPAGATE]}},
    }
    [answer] = backend.predict(payload, cancelled=never)
    results: list[dict[str, Any]] = answer["result"]
    return results


def predicted(
    backend: Backend,
    data: Mapping[str, Any],
    submitted: Sequence[Mapping[str, Any]],
    predictions: Sequence[Mapping[str, Any]] = (),
) -> list[dict[str, Any]]:
    """What a batch call is answered with where this was submitted: all masks, those that it holds included."""
    task = {"id": 1, "data": data, "annotations": [{"id": 5, "result": list(submitted), "was_cancelled": False}]}
    payload = {
        "tasks": [{**task, "drafts": [], "predictions": list(predictions)}],
        "project": "7.123",
        "label_config": asking("predictions"),
    }
    results: list[dict[str, Any]] = backend.predict(payload, cancelled=never)[0]["result"]
    return results


def sources_of(results: Sequence[Mapping[str, Any]], label: str = "Rabbit") -> dict[int, str]:
    return {frame: each["meta"]["tam_source"] for frame, each in by_frame(list(results), label).items()}


def follows(results: Sequence[Mapping[str, Any]], disc: int, label: str) -> bool:
    masks = by_frame(list(results), label)
    return sorted(masks) == list(FRAMES) and all(iou(mask_of(masks[f]), VIDEO.truth(f, disc)) > 0.6 for f in FRAMES)


def test_a_detectors_boxes_are_tracked_where_the_config_says_so(backend, data) -> None:
    predictions = [detector(found(0, "Rabbit"), found(4, "Bird", 2, "f2"))]
    results = propagate(backend, data, asking("predictions"), predictions=predictions)
    assert follows(results, 1, "Rabbit") and follows(results, 2, "Bird")
    assert sources_of(results, "Bird") == {frame: "started" if frame == 4 else "propagated" for frame in FRAMES}


def test_what_answers_a_detector_is_never_a_humans_word_until_a_human_says_it(backend, data) -> None:
    """Not when it was accepted either: one Submit accepts all of a task's masks, looked at or not."""
    predictions = [detector(found(0, "Rabbit"), found(4, "Bird", 2, "f2"))]
    accepted = propagate(backend, data, asking("predictions"), predictions=predictions)
    for theirs in (predictions, ()):
        again = predicted(backend, data, accepted, theirs)
        assert all(sources_of(again, each) == sources_of(accepted, each) for each in ("Rabbit", "Bird"))
    clicked = predicted(backend, data, [*accepted, point(4, "Bird", 2)])
    assert sources_of(clicked, "Bird")[4] == "prompt"
    assert sources_of(clicked, "Rabbit")[0] == "started"


def test_the_tracked_mask_that_an_object_goes_on_from_does_not_become_a_humans_word(backend, data) -> None:
    tracked = by_frame(propagate(backend, data, ORDINARY, point(0, "Rabbit")))
    del tracked[0]
    again = predicted(backend, data, [*tracked.values()])
    assert len(again) == len(FRAMES)
    assert set(sources_of(again).values()) == {"propagated"}


def test_nothing_begins_with_them_unless_somebody_asks(backend, data) -> None:
    with pytest.raises(InvalidInputError, match="nothing to propagate"):
        propagate(backend, data, ORDINARY, found(0, "Rabbit"), predictions=[detector(found(0, "Rabbit"))])


def test_what_a_team_drew_with_an_ordinary_tag_is_tracked(backend, data) -> None:
    results = propagate(backend, data, asking("found"), found(0, "Rabbit"), found(6, "Rabbit", name="f2"))
    assert follows(results, 1, "Rabbit")
    assert len({each["id"].split("-")[1] for each in results}) == 1, "keyframes of one object"


def test_the_setting_says_it_for_all_projects(make_backend: MakeBackend, tmp_path, monkeypatch) -> None:
    monkeypatch.setenv("TAM_PROMPT_FROM", "found")
    here = make_backend()
    frames = data_of(here, tmp_path, FRAMES)
    assert follows(propagate(here, frames, ORDINARY, found(0, "Rabbit")), 1, "Rabbit")


def test_an_outline_is_the_mask_on_its_frame_bit_for_bit(backend, data) -> None:
    (x, y), r = VIDEO.centre(2), VIDEO.radius
    corners = [
        [100 * (x + dx * r) / VIDEO.width, 100 * (y + dy * r) / VIDEO.height]
        for dx, dy in ((-1, 0), (0, -1), (1, 0), (0, 1))
    ]
    value = {"points": corners, "polygonlabels": ["Rabbit"]}
    drawn = {**found(2, "Rabbit", name="o"), "from_name": "outlined", "type": "polygonlabels", "value": value}
    masks = by_frame(propagate(backend, data, asking("outlined"), drawn))
    assert (mask_of(masks[2]) == decode_polygon(value, VIDEO.size_hw)).all()
    assert masks[2]["meta"]["tam_source"] == "started"
    assert sorted(masks) == list(FRAMES)


def test_a_click_wins_over_them_on_its_frame_and_is_the_same_object(backend, data) -> None:
    wrong = found(0, "Rabbit")
    wrong["value"]["x"] += 3
    results = propagate(
        backend,
        data,
        asking("predictions"),
        point(0, "Rabbit"),
        predictions=[detector(wrong, found(5, "Rabbit", name="f2"))],
    )
    assert follows(results, 1, "Rabbit")
    assert len({each["id"].split("-")[1] for each in results}) == 1


def test_a_humans_mask_on_a_frame_with_a_box_stays_and_is_not_sent_back(backend, data) -> None:
    mine = by_frame(propagate(backend, data, asking("found"), found(0, "Rabbit")))[0]
    mine = {**mine, "origin": "manual", "value": {**mine["value"], "rle": encode_brush(VIDEO.truth(0, 1))}}
    results = propagate(backend, data, asking("found"), found(0, "Rabbit"), mine)
    assert 0 not in by_frame(results)
    assert set(by_frame(results)) <= set(FRAMES)


def test_boxes_that_cannot_be_used_are_named_and_keep_no_other_away(backend, data) -> None:
    predictions = [detector(found(0, "Rabbit"), found(99, "Bird", 2, "f2"))]
    assert follows(propagate(backend, data, asking("predictions"), predictions=predictions), 1, "Rabbit")
    assert any("on frame 99" in problem.message for problem in backend.problems.recent())


def test_a_wrong_tag_stands_among_the_problems_when_somebody_propagates(backend, data) -> None:
    assert propagate(backend, data, asking("boxen"), point(0, "Rabbit"))
    assert any('is called "boxen"' in problem.message for problem in backend.problems.recent())


class Tasks:
    """A project in the double of Label Studio."""

    def __init__(self, double: LabelStudioDouble, config: str = ORDINARY) -> None:
        self.double, self.config = double, config

    def get_project(self, project_id: int) -> Mapping[str, Any]:
        return {"id": project_id, "label_config": self.config}

    def task_ids(self, project_id: int) -> Sequence[int]:
        return sorted(self.double.tasks)

    def get_task(self, project_id: int, task_id: int) -> Mapping[str, Any]:
        return {**self.double.tasks[task_id], "predictions": self.double.stored(task_id)}


def run(
    backend: Backend,
    tasks: Tasks,
    source: str = "predictions",
    /,
    **request: Any,
) -> tuple[list[TaskOutcome], dict[int, Sequence[StartReport]]]:
    told: dict[int, Sequence[StartReport]] = {}
    wanted = ProjectRequest(7, prompt_from=source, **request)
    found = propagate_project(
        backend.settings,
        tasks,
        wanted,
        memories=TaskMemories(database_of(backend.settings)),
        backend=lambda: backend,
        on_seen=told.__setitem__,
    )
    return found, told


def test_the_tasks_of_a_project_are_tracked_and_predictions_stored(backend, data, label_studio) -> None:
    for task in (1, 2, 3):
        label_studio.tasks[task] = {"id": task, "data": data, "annotations": []}
        if task < 3:
            label_studio.predictions[70 + task] = {**detector(found(0, "Rabbit"), number=70 + task), "task": task}
    outcomes, told = run(backend, Tasks(label_studio))
    assert [(each.task_id, each.state) for each in outcomes] == [(1, "done"), (2, "done"), (3, "nothing")]
    for task in (1, 2):
        theirs, ours = label_studio.stored(task)
        assert theirs["model_version"] == "yolo"
        assert ours["model_version"] == backend.model_version
        assert follows(ours["result"], 1, "Rabbit")
        assert told[task][0].objects[0].used == ((0, "f1", "nothing"),)
    assert len(label_studio.predictions) == 4


def test_a_dry_run_stores_nothing(backend, data, label_studio) -> None:
    label_studio.tasks[1] = {"id": 1, "data": data, "annotations": []}
    label_studio.predictions[70] = {**detector(found(0, "Rabbit")), "task": 1}
    outcomes, told = run(backend, Tasks(label_studio), dry_run=True)
    assert [each.state for each in outcomes] == ["seen"]
    assert len(told[1][0].objects) == 1
    assert len(label_studio.predictions) == 1
    assert not backend.jobs.all()


def test_what_annotators_submitted_counts_first(backend, data, label_studio) -> None:
    submitted = {"id": 5, "result": [found(0, "Rabbit"), point(0, "Bird", 2)], "was_cancelled": False}
    label_studio.tasks[1] = {"id": 1, "data": data, "annotations": [submitted]}
    label_studio.predictions[70] = {**detector(found(0, "Bird", 2, "x"), found(3, "Rabbit", 1, "y")), "task": 1}
    _, told = run(backend, Tasks(label_studio), "found")
    [ours] = [each for each in label_studio.stored() if each["model_version"] == backend.model_version]
    assert follows(ours["result"], 1, "Rabbit") and follows(ours["result"], 2, "Bird")
    assert [each.label for each in told[1][0].objects] == ["Rabbit"]


def test_an_object_that_a_human_deleted_does_not_come_back(backend, data, label_studio) -> None:
    label_studio.tasks[1] = {"id": 1, "data": data, "annotations": []}
    label_studio.predictions[70] = {**detector(found(0, "Rabbit"), found(0, "Bird", 2, "f2")), "task": 1}
    run(backend, Tasks(label_studio))
    ours = label_studio.stored()[-1]
    rabbits = [each for each in ours["result"] if each["value"]["brushlabels"] == ["Rabbit"]]
    made_from = {"parent_prediction": ours["id"], "updated_at": "2030-01-01T00:00:00Z"}
    send(backend, label_studio, {**event(data, rabbits, **made_from), "project": {"id": 7, "label_config": ORDINARY}})
    idle(backend)
    _, told = run(backend, Tasks(label_studio))
    [bird] = [each for each in told[1][0].objects if each.label == "Bird"]
    assert not bird.used
    assert {each["value"]["brushlabels"][0] for each in label_studio.stored()[-1]["result"]} == {"Rabbit"}


def test_a_chains_next_task_begins_with_its_own_boxes_too(backend, tmp_path, label_studio) -> None:
    first, second = data_of(backend, tmp_path, range(5)), data_of(backend, tmp_path, range(5, 10))
    first["chain"] = {"part": 1, "parts": 2, "previous_task": None, "next_task": 2}
    second["chain"] = {"part": 2, "parts": 2, "previous_task": 1, "next_task": None}
    tie = {"meta": {"track_id": 1}}
    for task, frames, boxes in (
        (1, first, [found(0, "Rabbit", **tie)]),
        (
            2,
            second,
            [
                {**found(6, "Rabbit", name="again", **tie), "item_index": 1},
                {**found(7, "Bird", 2, "late"), "item_index": 2},
            ],
        ),
    ):
        label_studio.tasks[task] = {"id": task, "data": frames, "annotations": []}
        label_studio.predictions[70 + task] = {**detector(*boxes, number=70 + task), "task": task}
    outcomes, _ = run(backend, Tasks(label_studio))
    assert [each.state for each in outcomes] == ["done", "done"]
    ours = label_studio.stored(2)[-1]["result"]
    assert {each["id"].split("-")[1] for each in by_frame(ours).values()} == {
        each["id"].split("-")[1] for each in label_studio.stored(1)[-1]["result"]
    }, "one object in both tasks"
    assert sorted(by_frame(ours, "Rabbit")) == sorted(by_frame(ours, "Bird")) == list(range(5))


def test_prompts_come_from_nowhere_else(backend, label_studio) -> None:
    with pytest.raises(LabelConfigError, match='"boxen"'):
        run(backend, Tasks(label_studio), "boxen")


def in_chain(backend: Backend, tmp_path: Path, label_studio: LabelStudioDouble, parts: int) -> None:
    """Make tasks 1, 2, .. of a chain, two frames each; a detector found a rabbit in the first, birds in the others."""
    for part in range(1, parts + 1):
        data = data_of(backend, tmp_path, [part - 1, part])
        neighbours = {"previous_task": part - 1 or None, "next_task": part + 1 if part < parts else None}
        boxes = [found(part - 1, "Rabbit")] if part == 1 else [{**found(part, "Bird", 2, f"b{part}"), "item_index": 1}]
        label_studio.tasks[part] = {
            "id": part,
            "data": {**data, "chain": {"part": part, "parts": parts, **neighbours}},
            "annotations": [],
        }
        label_studio.predictions[70 + part] = {**detector(*boxes, number=70 + part), "task": part}


def carried_out(
    backend: Backend, monkeypatch: pytest.MonkeyPatch, before: Callable[[Intent], None] = lambda intent: None
) -> list[int]:
    """Return the tasks that jobs work on, in their order, from now on; `before` is called as each begins."""
    tracked: list[int] = []
    carry_out = backend._loop._carry_out

    def noted(intent: Intent, annotations: Annotations, job: Job) -> Found:
        tracked.append(intent.task_id)
        before(intent)
        return carry_out(intent, annotations, job)

    monkeypatch.setattr(backend._loop, "_carry_out", noted)
    return tracked


def keys_of(label_studio: LabelStudioDouble, task: int, label: str = "Rabbit") -> set[str]:
    """Return the object keys of one label in the newest prediction of a task."""
    masks = [each for each in label_studio.stored(task)[-1]["result"] if each["id"].startswith("tam-")]
    return {each["id"].split("-")[1] for each in masks if each["value"]["brushlabels"] == [label]}


def test_each_task_of_a_chain_is_tracked_once_and_in_its_order(backend, tmp_path, label_studio, monkeypatch) -> None:
    in_chain(backend, tmp_path, label_studio, parts=4)
    tracked = carried_out(backend, monkeypatch, lambda intent: time.sleep(0.7))  # longer than the command looks away
    outcomes, _ = run(backend, Tasks(label_studio))
    assert all(job.state == "done" for job in backend.jobs.all())
    assert [each.state for each in outcomes] == ["done"] * 4
    assert tracked == [1, 2, 3, 4]
    assert [len(label_studio.stored(task)) for task in (1, 2, 3, 4)] == [2] * 4, "the detector's, and one of ours"
    [rabbit] = keys_of(label_studio, 1)
    assert all(keys_of(label_studio, task) == {rabbit} for task in (2, 3, 4))
    [bird] = keys_of(label_studio, 2, "Bird")
    assert all(bird in keys_of(label_studio, task, "Bird") for task in (3, 4))
    # Once more: what they begin with is the same, and nobody asked for the others.
    run(backend, Tasks(label_studio), tasks=(3,))
    assert tracked == [1, 2, 3, 4, 3]


def test_a_chain_stops_before_a_task_that_nobody_asked_for(backend, tmp_path, label_studio, monkeypatch) -> None:
    in_chain(backend, tmp_path, label_studio, parts=4)
    tracked = carried_out(backend, monkeypatch)
    outcomes, _ = run(backend, Tasks(label_studio), tasks=(1, 2, 4))
    assert [(each.task_id, each.state) for each in outcomes] == [(1, "done"), (2, "done"), (4, "done")]
    assert sorted(tracked) == [1, 2, 4]
    assert keys_of(label_studio, 1) == keys_of(label_studio, 2)
    assert not TaskMemories(database_of(backend.settings)).get("7", "3").seeds, (
        "a correction of the second finds that the third has to follow"
    )


def test_the_tasks_after_one_that_failed_are_told_as_not_tracked(backend, tmp_path, label_studio, monkeypatch) -> None:
    in_chain(backend, tmp_path, label_studio, parts=4)

    def second_fails(intent: Intent) -> None:
        if intent.task_id == 2:
            raise InvalidInputError("Frame 1 is torn.", "Upload it again.")

    tracked = carried_out(backend, monkeypatch, second_fails)
    outcomes, _ = run(backend, Tasks(label_studio))
    assert tracked == [1, 2]
    assert [each.state for each in outcomes] == ["done", "failed", "not tracked", "not tracked"]
    assert all("Task 2" in each.message and "Frame 1 is torn" in each.message for each in outcomes[2:])


def test_the_tasks_after_one_that_was_cancelled_too(backend, tmp_path, label_studio, monkeypatch) -> None:
    in_chain(backend, tmp_path, label_studio, parts=3)

    def somebody_cancels(intent: Intent) -> None:
        [job] = [each for each in backend.jobs.all() if each.ended_at is None]
        backend.jobs.cancel(job.id)

    tracked = carried_out(backend, monkeypatch, somebody_cancels)
    outcomes, _ = run(backend, Tasks(label_studio))
    assert tracked == [1]
    assert [each.state for each in outcomes] == ["cancelled", "not tracked", "not tracked"]


def test_a_task_begins_by_itself_where_the_one_before_ends_with_nothing(
    backend, tmp_path, label_studio, monkeypatch
) -> None:
    in_chain(backend, tmp_path, label_studio, parts=3)
    label_studio.predictions.pop(71)
    tracked = carried_out(backend, monkeypatch)
    outcomes, _ = run(backend, Tasks(label_studio))
    assert tracked == [2, 3]
    assert [each.state for each in outcomes] == ["nothing", "done", "done"]
    outcomes, _ = run(backend, Tasks(label_studio), dry_run=True)
    assert [each.state for each in outcomes] == ["nothing", "seen", "seen"]


def test_a_task_begins_by_itself_where_no_object_reached_it(backend, tmp_path, label_studio, monkeypatch) -> None:
    in_chain(backend, tmp_path, label_studio, parts=3)
    monkeypatch.setattr(correction, "masks_for_next", lambda *known: None)
    label_studio.predictions.pop(73)
    tracked = carried_out(backend, monkeypatch)
    outcomes, _ = run(backend, Tasks(label_studio))
    assert tracked == [1, 2]
    assert [each.state for each in outcomes] == ["done", "done", "nothing"]
    assert not keys_of(label_studio, 2)


def test_a_chain_is_followed_by_its_own_order_not_by_the_tasks_numbers(
    backend, tmp_path, label_studio, monkeypatch
) -> None:
    in_chain(backend, tmp_path, label_studio, parts=3)
    turned = {number: 4 - number for number in (1, 2, 3)}
    for task in [label_studio.tasks.pop(number) for number in (1, 2, 3)]:
        chain = task["data"]["chain"]
        neighbours = {name: turned.get(chain[name]) for name in ("previous_task", "next_task")}
        number = turned[task["id"]]
        label_studio.tasks[number] = {**task, "id": number, "data": {**task["data"], "chain": {**chain, **neighbours}}}
    for prediction in label_studio.predictions.values():
        prediction["task"] = turned[prediction["task"]]
    tracked = carried_out(backend, monkeypatch)
    outcomes, _ = run(backend, Tasks(label_studio))
    assert tracked == [3, 2, 1]
    assert [(each.task_id, each.state) for each in outcomes] == [(1, "done"), (2, "done"), (3, "done")]
    assert keys_of(label_studio, 1) == keys_of(label_studio, 2) == keys_of(label_studio, 3) != set()


@pytest.mark.parametrize(
    ("unread", "states"), [(1, ["unread", "not tracked", "not tracked"]), (2, ["done", "unread", "not tracked"])]
)
def test_no_task_is_tracked_after_one_that_cannot_be_read(
    backend, tmp_path, label_studio, monkeypatch, unread: int, states: list[str]
) -> None:
    class Torn(Tasks):
        def get_task(self, project_id: int, task_id: int) -> Mapping[str, Any]:
            if task_id == unread:
                raise InvalidInputError("Its data are torn.", "Import it again.")
            return super().get_task(project_id, task_id)

    in_chain(backend, tmp_path, label_studio, parts=3)
    tracked = carried_out(backend, monkeypatch)
    outcomes, _ = run(backend, Torn(label_studio))
    assert [each.state for each in outcomes] == states
    assert tracked == [1][: unread - 1]
    assert "Its data are torn" in outcomes[2].message


def test_the_command_ends_when_no_job_of_its_tasks_is_left(backend, tmp_path, label_studio, monkeypatch) -> None:
    in_chain(backend, tmp_path, label_studio, parts=2)
    seen: list[Intent] = []

    def somebody_asks_for_the_first_again(intent: Intent) -> None:
        seen.append(intent)
        if len(seen) == 2:
            time.sleep(1.0)  # longer than the command looks away: it has seen that the first is done
            backend.propagate_later(replace(seen[0], chain=()))
        elif len(seen) == 3:
            time.sleep(1.0)

    tracked = carried_out(backend, monkeypatch, somebody_asks_for_the_first_again)
    run(backend, Tasks(label_studio))
    assert tracked == [1, 2, 1]
    assert all(job.ended_at is not None for job in backend.jobs.all())
