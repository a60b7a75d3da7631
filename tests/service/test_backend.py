"""What an annotator's actions are answered with. The networks are stand-ins that follow colours; the rest is real."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colour_models import ColourModels
from fake_backend import make_settings
from PIL import Image
from synthetic import MovingDiscs, iou

from tam_backend.engine import TrackAnything
from tam_backend.errors import (
    BusyError,
    CancelledError,
    InvalidInputError,
    LabelConfigError,
    MediaForbiddenError,
    MediaNotFoundError,
    PayloadError,
    PromptOffFrameError,
    UnreadableMediaError,
    WeightsError,
)
from tam_backend.export import OverlayWriter
from tam_backend.labelstudio.encoding import decode_bitmask, decode_brush, encode_brush
from tam_backend.service.backend import Backend
from tam_backend.types import BoolMask, RgbFrame
from tam_backend.video import FrameSubset

VIDEO = MovingDiscs(frames=10, starts_xy=((30, 40), (100, 64)), steps_xy=((3, 1), (-3, 0)))
CONFIG = """<View><Image name="pages" valueList="$frames"/>
<{0}Labels name="masks" toName="pages" smart="false"><Label value="Rabbit"/><Label value="Bird"/></{0}Labels>
<KeyPointLabels name="clicks" toName="pages" smart="true"><Label value="Rabbit"/><Label value="Bird"/>
<Label value="Propagate"/></KeyPointLabels>
<RectangleLabels name="boxes" toName="pages" smart="true"><Label value="Rabbit"/><Label value="Bird"/></RectangleLabels>
</View>"""
MPX = VIDEO.height * VIDEO.width / 1e6
"""Of a frame."""
BRUSH, BITMASK = CONFIG.format("Brush"), CONFIG.format("Bitmask")
VIDEO_CONFIG = """<View><Labels name="kind" toName="clip"><Label value="Rabbit"/></Labels>
<Video name="clip" value="$video" framerate="24"/><VideoRectangle name="track" toName="clip" smart="true"/></View>"""


@pytest.fixture
def backend(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: TrackAnything(ColourModels().models()))
    made = Backend(make_settings(tmp_path / "data"))
    yield made
    made.close()


@pytest.fixture
def data(backend: Backend, tmp_path: Path) -> dict[str, Any]:
    """A task's data, as `tam-backend import` makes it."""
    folder = tmp_path / "frames"
    folder.mkdir()
    for index, frame in enumerate(VIDEO):
        cv2.imwrite(str(folder / f"{index}.png"), frame[..., ::-1])
    record = backend.library.register(folder)
    return {"frames": [backend.library.frame_url("http://x", record.id, index) for index in range(VIDEO.frames)]}


def never() -> bool:
    return False


def point(
    frame: int, label: str, disc: int = 1, *, positive: bool = True, name: str = "p1", dx: float = 0
) -> dict[str, Any]:
    x, y = VIDEO.centre(frame, disc)
    value = {"x": 100 * (x + dx) / VIDEO.width, "y": 100 * y / VIDEO.height, "width": 0.3}
    return region("clicks", "keypointlabels", frame, value, label, name, is_positive=positive)


def box(frame: int, label: str, disc: int = 1, name: str = "b1") -> dict[str, Any]:
    (x, y), r = VIDEO.centre(frame, disc), VIDEO.radius
    value = {
        "x": 100 * (x - r) / VIDEO.width, "y": 100 * (y - r) / VIDEO.height,
        "width": 200 * r / VIDEO.width, "height": 200 * r / VIDEO.height, "rotation": 0,
    }  # fmt: skip
    return region("boxes", "rectanglelabels", frame, value, label, name)


def region(
    tag: str, kind: str, frame: int, value: Mapping[str, Any], label: str, name: str, **more: Any
) -> dict[str, Any]:
    return {
        "id": name, "from_name": tag, "to_name": "pages", "type": kind, "item_index": frame, "image_rotation": 0,
        "original_width": VIDEO.width, "original_height": VIDEO.height, "value": {**value, kind: [label]}, **more,
    }  # fmt: skip


def predict(
    backend: Backend,
    data: Mapping[str, Any],
    *clicked: Mapping[str, Any],
    drafts: list[dict[str, Any]] | None = None,
    annotations: list[dict[str, Any]] | None = None,
    config: str = BRUSH,
    batch: bool = False,
    task: int = 1,
    cancelled: Callable[[], bool] = never,
) -> list[dict[str, Any]]:
    sent = {"id": task, "data": data, "annotations": annotations or []}
    if drafts is not None:
        sent["drafts"] = drafts
    payload = {
        "tasks": [sent],
        "project": "7.123",
        "label_config": config,
        "params": {"context": None if batch else {"result": list(clicked)}},
    }
    [answer] = backend.predict(json.loads(json.dumps(payload)), cancelled=cancelled)
    assert answer["model_version"] == backend.model_version
    results: list[dict[str, Any]] = answer["result"]
    return results


def mask_of(result: Mapping[str, Any]) -> BoolMask:
    if "imageDataURL" in result["value"]:
        return decode_bitmask(result["value"]["imageDataURL"])
    return decode_brush(result["value"]["rle"], (result["original_height"], result["original_width"]))


def by_frame(results: list[dict[str, Any]], label: str = "Rabbit") -> dict[int, dict[str, Any]]:
    return {each["item_index"]: each for each in results if each["value"]["brushlabels"] == [label]}


def draft(
    *results: Mapping[str, Any], updated_at: str = "2999-01-01T00:00:00Z", by: int | None = None
) -> list[dict[str, Any]]:
    """An annotator's draft, by their number in Label Studio; None: it does not say whose."""
    whose = {} if by is None else {"created_username": f"Ann ann{by}@example.com, {by}"}
    return [{"id": 1 + (by or 0), "result": list(results), "updated_at": updated_at, **whose}]


PROPAGATE = point(0, "Propagate", name="go")


def propagate(
    backend: Backend, data: Mapping[str, Any], *regions: dict[str, Any], cancelled: Callable[[], bool] = never
) -> list[dict[str, Any]]:
    """Return what is in the editor after Propagate was answered and accepted."""
    answer = predict(backend, data, PROPAGATE, drafts=draft(*regions), cancelled=cancelled)
    return list({each["id"]: each for each in (*regions, *answer)}.values())


def test_a_click_is_answered_with_the_mask_of_that_page_only(backend: Backend, data: dict[str, Any]) -> None:
    [result] = predict(backend, data, point(4, "Bird", disc=2))
    assert (result["item_index"], result["from_name"], result["type"]) == (4, "masks", "brushlabels")
    assert result["value"]["brushlabels"] == ["Bird"]
    assert (result["original_width"], result["original_height"]) == (128, 96)
    assert iou(mask_of(result), VIDEO.truth(4, 2)) > 0.95
    assert 0 <= result["score"] <= 1


def test_a_negative_click_changes_the_same_region(backend: Backend, data: dict[str, Any]) -> None:
    [first] = predict(backend, data, point(4, "Rabbit"))
    [second] = predict(backend, data, point(4, "Rabbit"), point(4, "Rabbit", positive=False, name="n", dx=5))
    assert second["id"] == first["id"]
    assert 0 < mask_of(second).sum() < mask_of(first).sum()


def test_taking_the_negative_click_back_gives_the_first_mask_again(backend: Backend, data: dict[str, Any]) -> None:
    [first] = predict(backend, data, point(4, "Rabbit"))
    predict(backend, data, point(4, "Rabbit"), point(4, "Rabbit", positive=False, name="n", dx=5))
    [again] = predict(backend, data, point(4, "Rabbit"))
    assert again == first


def test_a_box_is_a_prompt_too(backend: Backend, data: dict[str, Any]) -> None:
    [result] = predict(backend, data, box(2, "Rabbit"))
    assert iou(mask_of(result), VIDEO.truth(2)) > 0.95


def test_bitmask_configs_get_bitmasks(backend: Backend, data: dict[str, Any]) -> None:
    [result] = predict(backend, data, point(3, "Rabbit"), config=BITMASK)
    assert result["type"] == "bitmasklabels"
    assert iou(mask_of(result), VIDEO.truth(3)) > 0.95


def test_two_clicks_on_two_things_with_one_label_are_two_objects(backend: Backend, data: dict[str, Any]) -> None:
    [first] = predict(backend, data, point(4, "Rabbit", name="first"))
    [second] = predict(backend, data, point(4, "Rabbit", disc=2, name="second"), drafts=draft(first))
    assert second["id"] != first["id"]


def test_propagate_answers_with_the_object_on_every_page(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(4, "Rabbit"))
    results = propagate(backend, data, clicked)
    masks = by_frame(results)
    assert sorted(masks) == list(range(10))
    assert masks[4]["id"] == clicked["id"]
    assert masks[4]["score"] == clicked["score"] < 1
    assert np.array_equal(mask_of(masks[4]), mask_of(clicked))
    assert all(iou(mask_of(masks[frame]), VIDEO.truth(frame)) > 0.75 for frame in masks)
    assert len({each["id"] for each in results}) == 10


def test_propagate_works_before_the_editor_has_saved_the_accepted_mask(backend: Backend, data: dict[str, Any]) -> None:
    predict(backend, data, point(4, "Rabbit"), drafts=draft(by=1))
    assert len(predict(backend, data, PROPAGATE, drafts=draft(by=1))) == 10


def test_a_mask_that_was_not_accepted_is_forgotten_once_a_later_draft_lacks_it(
    backend: Backend, data: dict[str, Any]
) -> None:
    predict(backend, data, point(4, "Rabbit"))
    with pytest.raises(InvalidInputError, match="nothing to propagate"):
        propagate(
            backend,
            data,
        )


def test_several_objects_with_several_labels_keep_their_names_and_places(
    backend: Backend, data: dict[str, Any]
) -> None:
    [rabbit] = predict(backend, data, point(1, "Rabbit", name="r"))
    [bird] = predict(backend, data, point(6, "Bird", disc=2, name="b"), drafts=draft(rabbit))
    results = propagate(backend, data, rabbit, bird)
    rabbits, birds = by_frame(results, "Rabbit"), by_frame(results, "Bird")
    assert sorted(rabbits) == sorted(birds) == list(range(10))
    assert rabbits[1]["id"] == rabbit["id"]
    assert birds[6]["id"] == bird["id"]
    for frame in range(10):
        assert iou(mask_of(birds[frame]), VIDEO.truth(frame, 2)) > 0.7
        assert not (mask_of(birds[frame]) & mask_of(rabbits[frame])).any()


def test_what_a_human_drew_or_changed_is_law_and_is_never_sent_back(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    first = by_frame(propagate(backend, data, clicked))
    corrected = VIDEO.truth(5, 1)
    edited = dict(first[5], origin="prediction-changed", value={**first[5]["value"], "rle": encode_brush(corrected)})
    results = predict(backend, data, PROPAGATE, drafts=draft(edited))
    assert sorted(by_frame(results)) == [0, 1, 2, 3, 4, 6, 7, 8, 9]
    again = propagate(backend, data, *(first | {5: edited}).values())
    assert by_frame(again)[5] == edited


def test_what_stands_in_the_editor_as_it_is_is_not_sent_again(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    assert 0 not in by_frame(predict(backend, data, PROPAGATE, drafts=draft(clicked)))
    everything = propagate(backend, data, clicked)
    assert predict(backend, data, PROPAGATE, drafts=draft(*everything)) == []
    assert len(predict(backend, data, annotations=[{"id": 1, "result": everything}], batch=True)) == 10


def test_propagated_masks_that_were_left_alone_are_no_keyframes(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    first = by_frame(propagate(backend, data, clicked))
    again = by_frame(propagate(backend, data, *first.values()))
    assert {frame: each["meta"] for frame, each in again.items()} == {
        frame: each["meta"] for frame, each in first.items()
    }
    assert again[5]["meta"] != first[0]["meta"]


def test_a_batch_call_without_prompts_is_answered_at_once_without_opening_the_media(backend: Backend) -> None:
    assert predict(backend, {"frames": ["http://nowhere.invalid/0.jpg"]}, batch=True) == []


def test_a_batch_call_with_a_drawn_mask_tracks_it(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(4, "Rabbit"))
    drawn = {key: value for key, value in clicked.items() if key not in ("origin", "meta", "score")} | {"id": "hand"}
    results = predict(backend, data, batch=True, annotations=[{"id": 3, "result": [drawn]}])
    assert sorted(by_frame(results)) == [0, 1, 2, 3, 5, 6, 7, 8, 9]


def test_one_bad_task_of_a_batch_does_not_lose_the_others(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(4, "Rabbit"))
    annotation = [{"id": 3, "result": [clicked]}]
    tasks = [
        {"id": 1, "data": {"frames": ["http://nowhere.invalid/0.jpg"]}, "annotations": annotation},
        {"id": 2, "data": data, "annotations": annotation},
    ]
    payload = {"tasks": tasks, "project": "7.1", "label_config": BRUSH, "params": {"context": None}}
    bad, good = backend.predict(payload, cancelled=never)
    assert bad["result"] == []
    assert len(good["result"]) == 10
    assert backend.problems.recent()[0].type == "MediaForbiddenError"


def test_taking_back_the_last_prompt_is_answered_with_nothing(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(4, "Rabbit"))
    assert predict(backend, data, drafts=draft(clicked)) == []


def test_a_propagation_that_runs_out_of_time_says_so_and_goes_on_next_time(
    backend: Backend, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    per_frame = backend.settings.time_budget_s / 4
    monkeypatch.setattr(
        "tam_backend.service.propagate.ENCODE_S_PER_MPX", per_frame / (VIDEO.height * VIDEO.width / 1e6)
    )
    first = propagate(backend, data, clicked)
    assert 0 < len(first) < 10
    assert backend.jobs.all()[0].state == "stopped"
    [problem] = backend.problems.recent()
    assert f"Stopped after {len(first)} of 10 frames" in problem.message
    assert "Propagate again" in problem.remedy
    monkeypatch.undo()
    monkeypatch.setattr(TrackAnything, "session", None)  # going on needs no new session
    second = propagate(backend, data, *first)
    assert sorted(by_frame(second)) == list(range(10))
    assert backend.jobs.all()[0].frames_done == 10
    assert backend.jobs.frames_propagated == 10


def test_a_client_that_hangs_up_ends_the_work_but_loses_nothing(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    calls = []

    def hangs_up_after_three() -> bool:
        calls.append(1)
        return len(calls) > 3

    with pytest.raises(CancelledError, match="3 of 10 frames of task 1 are kept"):
        propagate(backend, data, clicked, cancelled=hangs_up_after_three)
    assert backend.jobs.all()[0].state == "cancelled"
    assert len(propagate(backend, data, clicked)) == 10
    assert backend.jobs.frames_propagated == 10


def test_a_job_that_is_cancelled_answers_with_what_it_has(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))

    def cancels_the_job() -> bool:
        job = backend.jobs.all()[0]
        if job.frames_done == 4:
            backend.jobs.cancel(job.id)
        return False

    results = propagate(backend, data, clicked, cancelled=cancels_the_job)
    assert len(results) == 4
    assert backend.jobs.all()[0].state == "cancelled"


def test_a_click_is_answered_while_the_same_task_is_propagated(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    answered = threading.Event()

    def waits_for_the_click() -> bool:
        return not answered.wait(20)

    work = threading.Thread(
        target=predict,
        args=(backend, data, PROPAGATE),
        kwargs={"drafts": draft(clicked), "cancelled": waits_for_the_click},
    )
    work.start()
    while not backend.jobs.running:
        pass
    assert len(predict(backend, data, point(3, "Bird", disc=2, name="b"))) == 1
    answered.set()
    work.join(30)
    assert backend.jobs.all()[0].state == "done"


def test_two_propagations_of_one_task_share_the_work(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    results: list[list[dict[str, Any]]] = []
    threads = [threading.Thread(target=lambda: results.append(propagate(backend, data, clicked))) for _ in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert results[0] == results[1]
    assert backend.jobs.frames_propagated == 10


def test_a_new_propagation_with_other_prompts_takes_over_from_the_running_one(
    backend: Backend, data: dict[str, Any]
) -> None:
    [rabbit] = predict(backend, data, point(0, "Rabbit"))
    [bird] = predict(backend, data, point(0, "Bird", disc=2, name="b"), drafts=draft(rabbit))
    running, refused = threading.Event(), []

    def goes_slowly() -> bool:
        running.set()
        return threading.Event().wait(0.3)

    def first() -> None:
        try:
            propagate(backend, data, rabbit, cancelled=goes_slowly)
        except CancelledError as error:
            refused.append(error)

    older = threading.Thread(target=first)
    older.start()
    assert running.wait(20)
    assert len(propagate(backend, data, rabbit, bird)) == 20
    older.join(20)
    assert "propagated anew" in str(refused[0])


def test_who_waits_for_another_propagation_and_hangs_up_waits_no_longer(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    running, release = threading.Event(), threading.Event()

    def holds() -> bool:
        running.set()
        return not release.wait(20)

    holder = threading.Thread(target=lambda: propagate(backend, data, clicked, cancelled=holds))
    holder.start()
    assert running.wait(20)
    with pytest.raises(CancelledError, match="while it waited"):
        predict(backend, data, PROPAGATE, drafts=draft(clicked), cancelled=lambda: True)
    release.set()
    holder.join(20)
    assert backend.jobs.all()[0].state == "done"


def test_a_frame_that_could_not_be_read_is_tried_again_with_the_next_propagate(
    backend: Backend, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    read = FrameSubset.__getitem__

    def fails_at_5(source: FrameSubset, index: int) -> RgbFrame:
        if index == 5:
            raise UnreadableMediaError("Frame 5 cannot be decoded.")
        return read(source, index)

    with monkeypatch.context() as broken:
        broken.setattr(FrameSubset, "__getitem__", fails_at_5)
        assert len(propagate(backend, data, clicked)) == 9
    assert len(propagate(backend, data, clicked)) == 10


def test_what_a_batch_has_no_time_for_is_left_to_be_asked_for_again(
    backend: Backend, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    [clicked] = predict(backend, data, point(4, "Rabbit"))
    tasks = [{"id": n, "data": data, "annotations": [{"id": n, "result": [clicked]}]} for n in (1, 2)]
    tasks.append({"id": 3, "data": data, "annotations": []})
    payload = {"tasks": tasks, "project": "7.1", "label_config": BRUSH, "params": {}}
    with monkeypatch.context() as hurried:
        hurried.setattr("tam_backend.service.backend.BATCH_S_PER_TASK", 0.0)
        hurried_answers = backend.predict(payload, cancelled=never)
    assert [len(each["result"]) for each in hurried_answers] == [0, 0, 0]
    incomplete = f"{backend.model_version} (incomplete)"
    assert [each["model_version"] for each in hurried_answers] == [incomplete, incomplete, backend.model_version]
    answers = backend.predict(payload, cancelled=never)
    assert [len(each["result"]) for each in answers] == [10, 10, 0]
    assert {each["model_version"] for each in answers} == {backend.model_version}


def test_an_answer_that_was_not_accepted_is_dropped_when_a_later_one_is_in_the_draft(
    backend: Backend, data: dict[str, Any]
) -> None:
    predict(backend, data, point(0, "Bird", disc=2, name="b"))
    [rabbit] = predict(backend, data, point(0, "Rabbit"))
    just_now = datetime.now(timezone.utc).isoformat()
    results = predict(backend, data, PROPAGATE, drafts=draft(rabbit, updated_at=just_now))
    assert {each["value"]["brushlabels"][0] for each in results} == {"Rabbit"}


def test_an_animation_as_the_one_image_of_a_task_is_refused(backend: Backend, tmp_path: Path) -> None:
    pages = [Image.fromarray(frame) for frame in VIDEO]
    pages[0].save(tmp_path / "moving.webp", save_all=True, append_images=pages[1:], lossless=True)
    record = backend.library.register(tmp_path / "moving.webp")
    config = BRUSH.replace('valueList="$frames"', 'value="$picture"')
    with pytest.raises(UnreadableMediaError, match=r"moving\.webp has 10 pages"):
        predict(
            backend, {"picture": backend.library.video_url("http://x", record.id)}, point(0, "Rabbit"), config=config
        )


def test_a_damaged_page_is_named_and_the_others_are_answered(backend: Backend, tmp_path: Path) -> None:
    folder = tmp_path / "some damaged"
    folder.mkdir()
    for index, frame in enumerate(VIDEO):
        cv2.imwrite(str(folder / f"{index}.png"), frame[..., ::-1])
    (folder / "5.png").write_bytes((folder / "5.png").read_bytes()[:500])
    record = backend.library.register(folder)
    data = {"frames": [backend.library.frame_url("http://x", record.id, index) for index in range(VIDEO.frames)]}
    [rabbit] = predict(backend, data, point(0, "Rabbit"))
    results = predict(backend, data, PROPAGATE, drafts=draft(rabbit))
    assert {each["item_index"] for each in results} | {0} == set(range(VIDEO.frames)) - {5}
    assert [each.message for each in backend.problems.recent()] == [
        "Frame 5 was left out: 5.png is no image that can be decoded."
    ]


def test_a_box_on_a_video_becomes_a_track_of_boxes(backend: Backend, tmp_path: Path) -> None:
    with OverlayWriter(tmp_path / "clip.mp4", VIDEO.size_hw, 24) as writer:
        for frame in VIDEO:
            writer.write(frame, {})
    record = backend.library.register(tmp_path / "clip.mp4")
    (x, y), r = VIDEO.centre(3), VIDEO.radius
    drawn = {
        "id": "v1", "from_name": "track", "to_name": "clip", "type": "videorectangle",
        "value": {"framesCount": 10, "duration": 10 / 24, "labels": ["Rabbit"], "sequence": [
            {"frame": 4, "enabled": True, "rotation": 0, "time": 4 / 24, "x": 100 * (x - r) / 128,
             "y": 100 * (y - r) / 96, "width": 200 * r / 128, "height": 200 * r / 96}]},
    }  # fmt: skip
    [result] = predict(backend, {"video": backend.library.video_url("http://x", record.id)}, drawn, config=VIDEO_CONFIG)
    assert (result["id"], result["type"], result["value"]["labels"]) == ("v1", "videorectangle", ["Rabbit"])
    sequence = {each["frame"]: each for each in result["value"]["sequence"]}
    assert sorted(sequence) == list(range(1, 11))
    assert sequence[4]["x"] == drawn["value"]["sequence"][0]["x"]
    for frame, each in sequence.items():
        x, y = VIDEO.centre(frame - 1)
        assert each["x"] + each["width"] / 2 == pytest.approx(100 * x / 128, abs=2)
        assert each["y"] + each["height"] / 2 == pytest.approx(100 * y / 96, abs=2)


def clicked_at(frame: int, value: Mapping[str, Any]) -> dict[str, Any]:
    return {"params": {"context": {"result": [region("clicks", "keypointlabels", frame, value, "Rabbit", "p")]}}}


@pytest.mark.parametrize(
    ("change", "error", "says"),
    [
        ({"label_config": "<View><Text name='t' value='$t'/></View>"}, LabelConfigError, ""),
        ({"label_config": "<View>"}, LabelConfigError, ""),
        ({"tasks": [{"id": 1, "data": {}}]}, PayloadError, "as 'frames' in its data"),
        ({"tasks": [{"id": 1, "data": {"frames": [1, 2]}}]}, PayloadError, "as 'frames' in its data"),
        ({"tasks": [{"id": 1, "data": {"frames": ["http://a.invalid/"]}}]}, MediaForbiddenError, "TAM_MEDIA_HOSTS"),
        ({"tasks": [{"id": 1, "data": {"frames": ["file:///etc/passwd"]}}]}, MediaForbiddenError, "TAM_MEDIA_DIRS"),
        ({"tasks": []}, PayloadError, "one task, not 0"),
        (clicked_at(0, {"x": 900, "y": 5}), PromptOffFrameError, "outside frame 0"),
        (clicked_at(77, {"x": 9, "y": 5}), InvalidInputError, "frames 0 to 9"),
        (clicked_at(0, {"x": "9"}), PayloadError, ""),
    ],
)  # fmt: skip
def test_bad_requests_get_a_sentence_and_the_next_one_is_served(
    backend: Backend, data: dict[str, Any], change: dict[str, Any], error: type[Exception], says: str
) -> None:
    good = {
        "tasks": [{"id": 1, "data": data}],
        "project": "7.1",
        "label_config": BRUSH,
        "params": {"context": {"result": [point(4, "Rabbit")]}},
    }
    with pytest.raises(error) as raised:
        backend.predict(good | change, cancelled=never)
    assert says in str(raised.value)
    assert len(backend.predict(good, cancelled=never)[0]["result"]) == 1


def test_networks_that_cannot_be_loaded_fail_each_request_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> TrackAnything:
        raise WeightsError("The weights are damaged.", "Install the package again.")

    monkeypatch.setattr(TrackAnything, "load", fails)
    broken = Backend(make_settings(tmp_path / "data"))
    for _ in range(2):
        with pytest.raises(WeightsError, match="damaged"):
            predict(broken, {"frames": ["data:,"]}, point(0, "Rabbit"))
    assert broken.describe()["ready"] is False


def test_a_request_that_comes_while_the_networks_load_waits_only_as_long_as_its_budget(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = threading.Event()
    monkeypatch.setattr(
        TrackAnything, "load", lambda *_, **__: loaded.wait(20) and TrackAnything(ColourModels().models())
    )
    slow = Backend(make_settings(tmp_path / "data", time_budget_s=0.2))
    with pytest.raises(BusyError, match="still being loaded"):
        predict(slow, {"frames": ["data:,"]}, point(0, "Rabbit"))
    loaded.set()


@pytest.fixture
def with_login(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Backend]:
    """A backend that asks for a login, so that who tells it something is known."""
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: TrackAnything(ColourModels().models()))
    made = Backend(make_settings(tmp_path / "data", basic_auth_user="ls", basic_auth_pass="secret"))
    yield made
    made.close()


def test_setup_learns_where_label_studio_is_and_checks_the_config(with_login: Backend) -> None:
    said = {"schema": BRUSH, "hostname": "http://ls.example:8080", "access_token": "a" * 40}
    assert with_login.setup(said) == with_login.model_version
    assert with_login._label_studio.authorization() == {"Authorization": f"Token {'a' * 40}"}
    with pytest.raises(LabelConfigError):
        with_login.setup({"schema": "<View/>"})


@pytest.mark.parametrize("host", ["http://evil.example", "http://169.254.169.254", "http://localhost:5432"])
def test_no_request_without_a_login_changes_which_hosts_are_trusted(backend: Backend, host: str) -> None:
    for token in ("", "a" * 40):
        backend.setup({"schema": BRUSH, "hostname": host, "access_token": token})
    for address in (f"{host}/data/upload/1/x.mp4", f"{host}/tasks/1/presign/?fileuri=x"):
        with pytest.raises(MediaForbiddenError):
            predict(backend, {"frames": [address]}, point(0, "Rabbit"))
    with pytest.raises(MediaNotFoundError, match="where it runs is not known"):
        predict(backend, {"frames": ["/data/upload/1/x.mp4"]}, point(0, "Rabbit"))
    assert backend._label_studio.authorization() == {}
    [problem] = [each for each in backend.problems.recent() if each.where == "setup"]
    assert host in problem.message
    assert "LABEL_STUDIO_URL" in problem.remedy


def test_a_key_of_the_settings_is_never_used_for_an_address_learnt_from_a_request(tmp_path: Path) -> None:
    careful = Backend(make_settings(tmp_path / "data", label_studio_api_key="b" * 40))
    careful.setup({"schema": BRUSH, "hostname": "http://evil.example", "access_token": ""})
    careful.setup({"schema": BRUSH, "hostname": "http://evil.example", "access_token": "c" * 40})
    assert careful._label_studio.authorization() == {}


def test_a_token_is_never_taken_along_to_another_address(with_login: Backend) -> None:
    with_login.setup({"schema": BRUSH, "hostname": "http://ls.example", "access_token": "a" * 40})
    with_login.setup({"schema": BRUSH, "hostname": "http://ls.example/", "access_token": ""})
    assert with_login._label_studio.authorization()
    with_login.setup({"schema": BRUSH, "hostname": "http://evil.example", "access_token": ""})
    assert with_login._label_studio.authorization() == {}
