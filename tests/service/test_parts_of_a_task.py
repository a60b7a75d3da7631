"""All media of a task are answered, each with its own; one bad part of it does not refuse the others."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

import cv2
import numpy as np
import pytest
from test_backend import PROPAGATE, VIDEO, backend, by_frame, data, draft, mask_of, point, predict

from tam_backend.errors import MediaError, RegionError
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.service.backend import Backend

__all__ = ["backend", "data"]  # fixtures

TWO_CAMERAS = "<View>{}</View>".format(
    "".join(
        f'<Image name="{name}" valueList="${name}"/><BrushLabels name="mask_{name}" toName="{name}">'
        f'<Label value="Rabbit"/></BrushLabels><KeyPointLabels name="point_{name}" toName="{name}" smart="true">'
        '<Label value="Rabbit"/><Label value="Propagate"/></KeyPointLabels>'
        for name in ("left", "right")
    )
)


def drawn(frame: int, camera: str = "", disc: int = 1, **more: Any) -> dict[str, Any]:
    """Return a mask of a disc that was drawn by hand."""
    names = {"from_name": f"mask_{camera}", "to_name": camera} if camera else {}
    size = {"original_height": VIDEO.height, "original_width": VIDEO.width, "image_rotation": 0}
    value = {"format": "rle", "rle": encode_brush(VIDEO.truth(frame, disc)), "brushlabels": ["Rabbit"]}
    made = {"id": f"hand{camera}{frame}{disc}", "from_name": "masks", "to_name": "pages", "type": "brushlabels"}
    return {**made, **size, "item_index": frame, "value": value, **names, **more}


def named(results: list[dict[str, Any]]) -> dict[str, set[int]]:
    return {
        name: {r["item_index"] for r in results if r["to_name"] == name} for name in {r["to_name"] for r in results}
    }


@pytest.fixture
def cameras(data: dict[str, Any]) -> dict[str, Any]:
    return {"left": data["frames"], "right": data["frames"]}  # the same pictures, which must not be one session


def test_each_frame_list_gets_the_masks_of_its_own_objects(backend: Backend, cameras: dict[str, Any]) -> None:
    annotation = {"id": 5, "result": [drawn(0, "left"), drawn(4, "right", disc=2)]}
    results = predict(backend, cameras, annotations=[annotation], config=TWO_CAMERAS, batch=True)
    assert named(results) == {"left": set(range(10)) - {0}, "right": set(range(10)) - {4}}
    for each in results:
        assert each["from_name"] == f"mask_{each['to_name']}"
        disc = 1 if each["to_name"] == "left" else 2
        assert (mask_of(each) & VIDEO.truth(each["item_index"], disc)).any()
    assert len({each["id"] for each in results}) == len(results)


def test_propagate_answers_for_the_list_that_it_was_clicked_on(backend: Backend, cameras: dict[str, Any]) -> None:
    go = {**PROPAGATE, "from_name": "point_right", "to_name": "right"}
    both = draft(drawn(0, "left"), drawn(4, "right", disc=2))
    assert named(predict(backend, cameras, go, drafts=both, config=TWO_CAMERAS)) == {"right": set(range(10)) - {4}}


def test_a_list_that_cannot_be_read_does_not_refuse_the_other(backend: Backend, cameras: dict[str, Any]) -> None:
    annotation = {"id": 5, "result": [drawn(0, "left"), drawn(4, "right")]}
    task = {"left": ["nowhere.png"], "right": cameras["right"]}
    payload = {
        "tasks": [{"id": 3, "data": task, "annotations": [annotation]}],
        "project": "7.1",
        "label_config": TWO_CAMERAS,
        "params": {"context": None},
    }
    [answer] = backend.predict(payload, cancelled=lambda: False)
    assert set(named(answer["result"])) == {"right"}
    assert answer["model_version"] != backend.model_version  # is asked for again
    assert any("left" in problem.where for problem in backend.problems.recent())
    payload["tasks"][0]["data"] = {"left": ["nowhere.png"], "right": ["nowhere.png"]}
    with pytest.raises(MediaError):
        backend.predict(payload, cancelled=lambda: False)


BAD = {
    "turned": {"image_rotation": 90},
    "without a size": {"original_width": None, "original_height": None},
    "a size of nothing": {"original_width": 0},
    "no run lengths": {"value": {"format": "rle", "brushlabels": ["Rabbit"]}},
    "damaged run lengths": {"value": {"format": "rle", "rle": [1, 2, 3], "brushlabels": ["Rabbit"]}},
    "of another size": {"original_width": VIDEO.width + 8},
    "a page that is no number": {"item_index": "3"},
    "labels that are no texts": {"value": {"format": "rle", "rle": [], "brushlabels": [7]}},
}


@pytest.mark.parametrize("what", BAD)
def test_a_bad_region_is_named_and_left_out(backend: Backend, data: dict[str, Any], what: str) -> None:
    bad = drawn(3, **BAD[what])
    [clicked] = predict(backend, data, point(0, "Rabbit"), drafts=draft(bad))
    assert clicked["item_index"] == 0
    answer = by_frame(predict(backend, data, PROPAGATE, drafts=draft(bad, drawn(0))))
    assert set(answer) >= {1, 2, 4, 5, 6, 7, 8, 9}
    assert any(bad["id"] in problem.message for problem in backend.problems.recent())
    batch = predict(backend, data, annotations=[{"id": 1, "result": [bad, drawn(0)]}], batch=True)
    assert set(by_frame(batch)) >= {1, 2, 4, 5, 6, 7, 8, 9}


def test_a_mask_of_ours_that_cannot_be_read_is_not_replaced(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    masks = by_frame([clicked, *predict(backend, data, PROPAGATE, drafts=draft(clicked))])
    turned = {**masks[3], "image_rotation": 90}
    answer = predict(backend, data, PROPAGATE, drafts=draft(*(masks | {3: turned}).values()))
    assert 3 not in by_frame(answer)


def test_a_bad_click_is_refused_by_name(backend: Backend, data: dict[str, Any]) -> None:
    with pytest.raises(RegionError, match="turned"):
        predict(backend, data, {**point(0, "Rabbit"), "image_rotation": 90})


SIZES = ((96, 128), (80, 120), (96, 128), (160, 90))


@pytest.fixture
def uneven() -> dict[str, Any]:
    """Pages of several sizes, a red disc in the middle of each."""
    pages = []
    for height, width in SIZES:
        page = np.full((height, width, 3), 90, np.uint8)
        cv2.circle(page, (width // 2, height // 2), 20, (0, 0, 255), -1)
        pages.append("data:image/png;base64," + b64encode(cv2.imencode(".png", page)[1].tobytes()).decode())
    return {"frames": pages}


def middle(number: int, label: str) -> dict[str, Any]:
    height, width = SIZES[number]
    size = {"original_height": height, "original_width": width}
    click = point(number, label)
    return {**click, **size, "value": {**click["value"], "x": 50, "y": 50}}


@pytest.mark.parametrize("number", range(len(SIZES)))
def test_a_page_of_another_size_gets_a_mask_of_its_own_size(
    backend: Backend, uneven: dict[str, Any], number: int
) -> None:
    [clicked] = predict(backend, uneven, middle(number, "Rabbit"))
    assert mask_of(clicked).shape == SIZES[number]
    assert mask_of(clicked)[SIZES[number][0] // 2, SIZES[number][1] // 2]


def test_pages_of_several_sizes_are_tracked_together(backend: Backend, uneven: dict[str, Any]) -> None:
    [clicked] = predict(backend, uneven, middle(1, "Rabbit"))
    masks = by_frame(predict(backend, uneven, PROPAGATE, drafts=draft(clicked)))
    assert {frame: mask_of(mask).shape for frame, mask in masks.items()} == {n: SIZES[n] for n in (0, 2, 3)}
    # The one that was clicked comes back bit for bit, so that it is left out.
    assert 1 not in masks
