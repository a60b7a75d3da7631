"""People say which objects are one, and which exchanged their masks: by relations, which Label Studio's editor has."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from ls_json import HW, blob, box, brush, click, point, task

from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.identity import SAME_OBJECT, SWAP, Identity, Swap
from tam_backend.labelstudio.prompts import read_task
from tam_backend.labelstudio.prompts_in_pixels import to_prompts
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.labelstudio.supported import remarks

PAGE = recommended_config(["Dog", "Cat"], new_objects=True)
CONFIG = parse_config(PAGE)
LEFT, RIGHT = blob(10, 10, 60, 60), blob(120, 10, 180, 60)


def mask(key, frame, shape, source="propagated", label="Dog"):
    return brush(f"tam-{key}-{frame}f", shape, label, frame, "prediction", meta={"tam_source": source})


def relation(one, other, *labels):
    return {"type": "relation", "from_id": one, "to_id": other, "direction": "right", "labels": list(labels)}


def read(draft, *clicked):
    return read_task(task(draft=draft), click(*clicked), CONFIG, propagate_label="Propagate")


def frames_of(each):
    return {region.region_id for region in each.regions}


# --- one object ---


def test_two_objects_that_are_said_to_be_one_are_one():
    draft = [mask("a", 0, LEFT, "prompt"), mask("a", 1, LEFT), mask("b", 5, RIGHT, "prompt"), mask("b", 6, RIGHT)]
    assert len(read(draft).objects) == 2
    [one] = read([*draft, relation("tam-b-5f", "tam-a-0f", SAME_OBJECT)]).objects
    assert one.key == "a"
    assert [prompt.frame for prompt in to_prompts(one, HW)] == [0, 5]
    assert [one.key_on(frame) for frame in (0, 1, 5, 6, 9)] == ["a", "a", "b", "b", "a"], "regions keep their ids"


def test_where_both_have_a_mask_the_object_has_both_parts():
    draft = [mask("a", 0, LEFT, "prompt"), mask("b", 0, RIGHT, "prompt"), relation("tam-a-0f", "tam-b-0f", SAME_OBJECT)]
    [prompt] = to_prompts(read(draft).objects[0], HW)
    assert np.array_equal(prompt.mask, LEFT | RIGHT)


def test_a_mask_drawn_by_hand_can_be_said_to_be_an_objects():
    draft = [mask("a", 0, LEFT, "prompt"), mask("a", 5, LEFT), brush("hand", RIGHT, "Dog", 5)]
    assert len(read(draft).objects) == 2
    [one] = read([*draft, relation("hand", "tam-a-0f", SAME_OBJECT)]).objects
    assert frames_of(one) == {"tam-a-0f", "tam-a-5f", "hand"}


def test_three_are_one_by_two_relations_in_any_order():
    draft = [mask(key, frame, LEFT, "prompt") for frame, key in enumerate("abc")]
    said = [relation("tam-c-2f", "tam-b-1f", SAME_OBJECT), relation("tam-b-1f", "tam-a-0f", "same OBJECT ")]
    for order in (said, said[::-1]):
        assert [each.key for each in read([*draft, *order]).objects] == ["a"]


@pytest.mark.parametrize("labels", [[], ["Owner of"], ["Same"], [7], None])
def test_other_relations_say_nothing(labels):
    draft = [mask("a", 0, LEFT, "prompt"), mask("b", 0, RIGHT, "prompt")]
    other = {**relation("tam-a-0f", "tam-b-0f"), "labels": labels}
    found = read([*draft, other])
    assert [each.key for each in found.objects] == ["a", "b"]
    assert found.left_out == ()


@pytest.mark.parametrize("ends", [("tam-a-0f", "gone"), ("gone", "lost"), ("tam-a-0f", "tam-a-0f"), (None, 5)])
def test_relations_of_what_is_not_there_say_nothing(ends):
    draft = [mask("a", 0, LEFT, "prompt"), mask("b", 0, RIGHT, "prompt")]
    assert len(read([*draft, relation(*ends, SAME_OBJECT, SWAP)]).objects) == 2


# --- exchanged ---


def swapped():
    """Two objects that the tracker has taken for each other on page 3."""
    shapes = {"a": LEFT, "b": RIGHT}, {"a": RIGHT, "b": LEFT}
    draft = [
        mask(key, frame, shapes[frame >= 3][key], "prompt" if frame == 0 else "propagated")
        for key in "ab"
        for frame in range(6)
    ]
    return [*draft, relation("tam-b-3f", "tam-a-3f", SWAP)]


def test_from_the_page_of_a_swap_on_each_object_has_the_others_masks():
    found = {each.key: each for each in read(swapped()).objects}
    assert frames_of(found["a"]) == {
        *(f"tam-a-{page}f" for page in range(3)),
        *(f"tam-b-{page}f" for page in (3, 4, 5)),
    }
    assert [found["a"].key_on(page) for page in range(8)] == ["a"] * 3 + ["b"] * 5
    assert [found["b"].key_on(page) for page in range(8)] == ["b"] * 3 + ["a"] * 5


def test_the_masks_on_that_page_are_to_be_tracked_from():
    for each, shape in zip(read(swapped()).objects, (LEFT, RIGHT), strict=True):
        prompts = {prompt.frame: prompt.mask for prompt in to_prompts(each, HW)}
        assert set(prompts) == {0, 3}
        assert all(np.array_equal(found, shape) for found in prompts.values())


def test_a_click_on_a_later_page_speaks_of_the_object_that_is_there_now():
    found = read(swapped(), point("p", 20, 30, "Dog", 4))
    assert found.asked.object.key == "a"
    assert found.asked.object.key_on(4) == "b"
    assert found.ours_on(found.asked.object, 4).region_id == "tam-b-4f"


def test_a_swap_that_cannot_be_understood_is_named_and_nothing_else_is_lost():
    draft = [mask("a", 0, LEFT, "prompt"), mask("b", 1, RIGHT, "prompt"), brush("hand", RIGHT, "Cat", 0)]
    for ends in (("tam-a-0f", "tam-b-1f"), ("tam-a-0f", "hand")):
        found = read([*draft, relation(*ends, SWAP)])
        assert len(found.objects) == 3
        [fault] = found.left_out
        assert SWAP in fault.message
        assert "one page" in fault.remedy


SWAPS = st.lists(
    st.builds(Swap, st.integers(0, 5), st.sampled_from("abc"), st.sampled_from("abc")).filter(
        lambda s: s.one != s.other
    ),
    max_size=6,
).map(lambda swaps: Identity(swaps=tuple(sorted(swaps, key=lambda swap: swap.frame))))


@given(SWAPS, st.integers(0, 7))
def test_every_mask_has_one_object_and_every_object_one_mask(identity, frame):
    owners = {key: identity.owner(key, frame) for key in "abc"}
    assert sorted(owners.values()) == ["a", "b", "c"]
    assert all(identity.key_on(owner, frame) == key for key, owner in owners.items())


@given(st.integers(0, 5), st.integers(0, 7))
def test_a_swap_said_again_later_takes_it_back_from_there(first, frame):
    identity = Identity(swaps=(Swap(first, "a", "b"), Swap(first + 1, "a", "b")))
    assert (identity.owner("a", frame) == "b") == (frame == first)


def test_our_config_offers_both_relations_and_hears_nothing_against_it():
    for text in (SAME_OBJECT, SWAP):
        assert f'<Relation value="{text}"/>' in PAGE
    assert "<Relation" not in recommended_config(["Dog"])
    assert remarks(PAGE, "Propagate") == ()


def test_boxes_and_points_are_not_swapped():
    assert read([*swapped(), box("x", 5, 5, 20, 20, "Cat", 4)]).objects[-1].label == "Cat"
