"""What people hang on our masks (choices, notes, ratings ..) outlives every later answer."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_backend import BRUSH, VIDEO, backend, by_frame, data, draft, mask_of, point, predict, propagate

from tam_backend.labelstudio.attributes import attributes_by_region, brought_along, human_notes
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.service.backend import Backend

__all__ = ["backend", "data"]  # fixtures

GIVEN = {
    "choices": ["occluded"],
    "textarea": ["behind the pole"],
    "rating": 4,
    "number": 17,
    "taxonomy": [["animal", "rabbit"]],
    "datetime": "2026-01-01",
}


def attribute(mask: dict[str, Any], kind: str, value: Any) -> dict[str, Any]:
    """Return what the editor stores of an attribute: one more result with the region's id and shape."""
    shape = {key: each for key, each in mask["value"].items() if key != "brushlabels"}
    name = f"a_{kind}"
    return {
        **mask,
        "from_name": name,
        "type": kind,
        "value": {**shape, ("text" if kind == "textarea" else kind): value},
    }


def given_on(results: list[dict[str, Any]], region_id: str) -> dict[str, Any]:
    keys = {kind: "text" if kind == "textarea" else kind for kind in GIVEN}
    return {
        each["type"]: each["value"][keys[each["type"]]]
        for each in results
        if each.get("id") == region_id and each["type"] in keys
    }


def in_editor(regions: list[dict[str, Any]], answer: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Accept an answer as the editor does: a region that is sent again replaces the old one, attributes included."""
    new = {each["id"] for each in answer}
    return [each for each in regions if each.get("id") not in new] + answer


@pytest.mark.parametrize("batch", [False, True])
def test_they_survive_where_the_mask_changes_and_where_it_does_not(
    backend: Backend, data: dict[str, Any], batch: bool
) -> None:
    [clicked] = predict(backend, data, point(0, "Rabbit"))
    masks = by_frame(propagate(backend, data, clicked))
    hung = [attribute(masks[frame], kind, value) for frame in (3, 7) for kind, value in GIVEN.items()]
    relation = {"type": "relation", "from_id": masks[3]["id"], "to_id": masks[7]["id"], "direction": "right"}
    # A correction on page 5 changes the masks around it.
    moved = VIDEO.truth(4, 1)
    corrected = dict(masks[5], origin="prediction-changed", value={**masks[5]["value"], "rle": encode_brush(moved)})
    regions = [*(masks | {5: corrected}).values(), *hung, relation]
    annotations = [{"id": 5, "result": regions}]
    answer = (
        predict(backend, data, annotations=annotations, batch=True)
        if batch
        else predict(backend, data, point(0, "Propagate", name="go"), drafts=draft(*regions))
    )
    after = in_editor(regions, answer)
    for frame in (3, 7):
        assert given_on(after, masks[frame]["id"]) == GIVEN
    assert relation in after
    assert corrected in after
    if batch:
        assert given_on(answer, masks[3]["id"]) == GIVEN


def test_a_click_that_changes_a_mask_brings_them_along_with_the_new_shape(
    backend: Backend, data: dict[str, Any]
) -> None:
    [clicked] = predict(backend, data, point(2, "Rabbit"))
    noted = {**clicked, "meta": {**clicked["meta"], "text": ["look again"]}, "parentID": "group"}
    regions = [noted, attribute(clicked, "choices", ["occluded"])]
    click = {**point(2, "Rabbit", name="more"), "item_index": 2}
    answer = predict(backend, data, click, drafts=draft(*regions))
    mask, choice = answer
    assert (mask["id"], choice["id"]) == (clicked["id"], clicked["id"])
    assert mask["meta"] == {"tam_source": "prompt", "text": ["look again"]}
    assert mask["parentID"] == "group"
    assert choice["value"] == {"format": "rle", "rle": mask["value"]["rle"], "choices": ["occluded"]}
    assert (mask_of(choice) == mask_of(mask)).all()


def test_regions_without_any_bring_nothing(backend: Backend, data: dict[str, Any]) -> None:
    [clicked] = predict(backend, data, point(2, "Rabbit"))
    assert len(predict(backend, data, point(2, "Rabbit", name="more"), drafts=draft(clicked))) == 1
    assert "brushlabels" in clicked["value"]
    assert "Choices" not in BRUSH


def test_our_own_remark_is_no_note_of_a_human() -> None:
    assert human_notes({"meta": {"tam_source": "propagated", "text": "needs review"}}) == {}
    assert human_notes({"meta": {"tam_source": "propagated", "text": ["needs review"]}}) == {}
    assert human_notes({"meta": {"text": ["needs review", "sure?"]}}) == {"meta": {"text": ["needs review", "sure?"]}}


KINDS = st.sampled_from([*GIVEN, "pairwise", "something new"])


@given(st.lists(st.tuples(st.sampled_from("abc"), KINDS, st.integers()), max_size=8))
def test_every_attribute_stays_with_its_region(hung: list[tuple[str, str, int]]) -> None:
    shapes = [{"id": each, "type": "brushlabels", "value": {"rle": [1], "brushlabels": ["Dog"]}} for each in "abc"]
    results = [{"id": each, "type": kind, "from_name": kind, "value": {"rle": [1], kind: n}} for each, kind, n in hung]
    found = attributes_by_region([*shapes, *results, {"type": "relation", "from_id": "a", "to_id": "b"}])
    for region_id in "abc":
        new = {"id": region_id, "to_name": "frames", "value": {"format": "rle", "rle": [2], "brushlabels": ["Dog"]}}
        mask, *attributes = brought_along([new], found.get(region_id, ()), notes={})
        assert mask == new
        assert [(each["id"], each["type"], each["value"][each["type"]]) for each in attributes] == [
            item for item in hung if item[0] == region_id
        ]
        assert all(each["value"]["rle"] == [2] for each in attributes)
