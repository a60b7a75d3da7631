# ruff: noqa: F811 - fixtures are imported
"""What people say of which objects are one, or have been taken for each other, holds for what is tracked next."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from synthetic import iou
from test_backend import PROPAGATE, VIDEO, backend, data, draft, mask_of, predict  # noqa: F401 - fixtures
from test_parts_of_a_task import drawn

from tam_backend.labelstudio.identity import SAME_OBJECT, SWAP
from tam_backend.service.backend import Backend

Data = Mapping[str, Any]


def ours(key: str, frame: int, disc: int, source: str = "propagated") -> dict[str, Any]:
    return drawn(frame, disc=disc, id=f"tam-{key}-{frame}f", origin="prediction", meta={"tam_source": source})


def relation(one: str, other: str, label: str) -> dict[str, Any]:
    return {"type": "relation", "from_id": one, "to_id": other, "direction": "right", "labels": [label]}


def places(results: list[dict[str, Any]]) -> dict[tuple[str, int], int]:
    """(key, page) -> which disc the mask shows."""
    return {
        (each["id"].split("-")[1], each["item_index"]): max(
            (1, 2), key=lambda disc: iou(mask_of(each), VIDEO.truth(each["item_index"], disc))
        )
        for each in results
    }


def test_swapped_objects_are_tracked_each_as_itself_and_their_regions_keep_their_ids(
    backend: Backend, data: Data
) -> None:
    saved = [ours("a", 0, 1, "prompt"), ours("b", 0, 2, "prompt"), ours("a", 5, 2), ours("b", 5, 1)]
    results = predict(backend, data, PROPAGATE, drafts=draft(*saved, relation("tam-a-5f", "tam-b-5f", SWAP)))
    found = places(results)
    assert {page for _, page in found} == set(range(10)) - {0, 5}, "what the editor has already is not sent again"
    assert all(disc == (1 if (key == "a") == (page < 5) else 2) for (key, page), disc in found.items())
    view = backend.store.find("7", "1")
    assert view is not None
    first, second = sorted(view.quality)
    for frame in range(10):
        masks = backend.store.masks(view.summary.key, frame)
        assert iou(masks[first], VIDEO.truth(frame, 1)) > 0.7
        assert iou(masks[second], VIDEO.truth(frame, 2)) > 0.7


def test_objects_that_are_one_are_tracked_as_one(backend: Backend, data: Data) -> None:
    saved = [ours("a", 0, 1, "prompt"), ours("b", 6, 1, "prompt"), ours("b", 7, 1)]
    results = predict(backend, data, PROPAGATE, drafts=draft(*saved, relation("tam-a-0f", "tam-b-6f", SAME_OBJECT)))
    keys = {each["item_index"]: each["id"].split("-")[1] for each in results}
    assert keys.pop(7, "b") == "b", "a region that is there keeps its id"
    assert keys == dict.fromkeys((1, 2, 3, 4, 5, 8, 9), "a")
    view = backend.store.find("7", "1")
    assert view is not None
    assert len(view.quality) == 1
