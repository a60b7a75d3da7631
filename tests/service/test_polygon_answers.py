"""A page whose masks are polygons: clicks, Propagate and corrections, as with brush masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from label_studio_double import LabelStudioDouble
from synthetic import iou
from test_backend import CONFIG, PROPAGATE, VIDEO, draft, point, predict
from test_background import (  # noqa: F401 - fixtures, found by their names
    backend,
    data,
    event,
    idle,
    label_studio,
    make_backend,
    send,
)

from tam_backend.labelstudio.polygons import decode_polygon
from tam_backend.service.backend import Backend
from tam_backend.types import BoolMask

# ruff: noqa: F811
POLYGON = CONFIG.format("Polygon")


def shown(result: Mapping[str, Any]) -> BoolMask:
    return decode_polygon(result["value"], (result["original_height"], result["original_width"]))


def by_page(results: list[dict[str, Any]]) -> dict[int, dict[str, Any]]:
    return {each["item_index"]: each for each in results}


def propagated(backend: Backend, data: Mapping[str, Any]) -> dict[int, dict[str, Any]]:
    [clicked] = predict(backend, data, point(0, "Rabbit"), config=POLYGON)
    return by_page([clicked, *predict(backend, data, PROPAGATE, drafts=draft(clicked), config=POLYGON)])


def tell(backend: Backend, label_studio: LabelStudioDouble, data: Mapping[str, Any], regions: list[Any]) -> list[Any]:
    """Submit, and return what is stored for it."""
    payload = event(data, regions, "ANNOTATION_UPDATED")
    send(backend, label_studio, {**payload, "project": {"id": 7, "label_config": POLYGON}})
    idle(backend)
    results: list[Any] = label_studio.stored()[-1]["result"]
    return results


def test_a_click_and_a_propagate_are_answered_with_polygons(backend: Backend, data: dict[str, Any]) -> None:
    regions = propagated(backend, data)
    assert sorted(regions) == list(range(VIDEO.frames))
    for frame, region in regions.items():
        assert (region["type"], region["from_name"]) == ("polygonlabels", "masks")
        assert iou(shown(region), VIDEO.truth(frame)) > 0.7, frame


def test_what_comes_back_as_it_was_sent_is_no_human_hand(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    regions = propagated(backend, data)
    stored = by_page(tell(backend, label_studio, data, list(regions.values())))
    assert sorted(stored) == list(range(VIDEO.frames)), "all of them are still ours to send"
    assert all(np.array_equal(shown(stored[frame]), shown(regions[frame])) for frame in stored)


@pytest.mark.parametrize("origin", ["prediction-changed", "prediction"])
def test_a_polygon_that_a_human_edits_is_a_correction_there_and_is_never_sent_back(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any], origin: str
) -> None:
    regions = propagated(backend, data)
    tell(backend, label_studio, data, list(regions.values()))
    mine = {
        **regions[4],
        "origin": origin,
        "value": {**regions[4]["value"], "points": [[x, y + 3] for x, y in regions[4]["value"]["points"]]},
    }
    stored = by_page(tell(backend, label_studio, data, [*(regions[f] for f in regions if f != 4), mine]))
    assert sorted(stored) == [frame for frame in range(VIDEO.frames) if frame != 4]
    view = backend.store.find("7", "1")
    assert view is not None
    [kept] = backend.store.masks(view.summary.key, 4).values()
    assert np.array_equal(kept, shown(mine)), "the human's mask is the keyframe, pixel by pixel"


def test_a_deleted_polygon_stays_deleted(
    backend: Backend, label_studio: LabelStudioDouble, data: dict[str, Any]
) -> None:
    regions = propagated(backend, data)
    tell(backend, label_studio, data, list(regions.values()))
    stored = by_page(tell(backend, label_studio, data, [regions[frame] for frame in regions if frame != 5]))
    assert sorted(stored) == [0, 1, 2, 3, 4, 6, 7, 8, 9]


def test_the_tolerance_is_a_setting(backend: Backend, data: dict[str, Any]) -> None:
    [fine] = predict(backend, data, point(0, "Rabbit"), config=POLYGON)
    backend._desk = type(backend._desk)(**{**vars(backend._desk), "polygon_tolerance_px": 0.0})
    [exact] = predict(backend, data, point(0, "Rabbit"), config=POLYGON, task=2)
    assert len(exact["value"]["points"]) > len(fine["value"]["points"])
