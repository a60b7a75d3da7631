"""What a human did to our masks is read off the masks themselves."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from tam_backend.labelstudio.config import Control, ControlKind
from tam_backend.labelstudio.edits import erased, frames_by_object, mask_digest, told_apart, value_digest
from tam_backend.labelstudio.encoding import encode_brush
from tam_backend.labelstudio.ids import result_id
from tam_backend.labelstudio.regions import Origin, Region
from tam_backend.types import BoolMask

BRUSH = Control(name="masks", to_name="pages", kind=ControlKind.BRUSH)
SIZE = (6, 8)
FRAMES = st.dictionaries(st.sampled_from("abc"), st.frozensets(st.integers(0, 5)), max_size=3)


def mask(*pixels: tuple[int, int]) -> BoolMask:
    found = np.zeros(SIZE, np.bool_)
    for row, column in pixels:
        found[row, column] = True
    return found


def region(drawn: BoolMask, key: str | None = "abc", frame: int = 2, origin: Origin = "prediction") -> Region:
    return Region(
        region_id="drawn" if key is None else result_id(key, frame),
        own_key=key,
        control=BRUSH,
        labels=("Bird",),
        frame=frame,
        origin=origin,
        size_hw=SIZE,
        encoded={"format": "rle", "rle": encode_brush(drawn)},
    )


def test_a_mask_that_we_sent_was_left_alone_whichever_of_our_answers_it_is() -> None:
    older, newer = mask((1, 1)), mask((2, 2))
    sent = {("abc", 2): [mask_digest(older), mask_digest(newer)]}
    assert told_apart(region(older), sent).origin == "prediction"
    assert told_apart(region(newer), sent).origin == "prediction"


def test_a_mask_that_we_never_sent_was_edited_whatever_its_origin_says() -> None:
    sent = {("abc", 2): [mask_digest(mask((1, 1)))]}
    assert told_apart(region(mask((1, 1), (1, 2))), sent).is_humans_mask
    assert told_apart(region(mask()), sent).is_humans_mask, "all of it was rubbed out"


def test_what_the_editor_says_was_changed_is_a_humans_even_where_it_looks_the_same() -> None:
    sent = {("abc", 2): [mask_digest(mask((1, 1)))]}
    assert told_apart(region(mask((1, 1)), origin="prediction-changed"), sent).is_humans_mask


def test_a_mask_that_a_note_was_hung_on_is_a_humans_only_where_it_was_edited() -> None:
    sent = {("abc", 2): [mask_digest(mask((1, 1)))]}
    noted = replace(region(mask((1, 1)), origin="prediction-changed"), attributes=({"type": "textarea"},))
    assert not told_apart(noted, sent).is_humans_mask, "the editor calls that a change, too"
    edited = replace(region(mask((2, 2)), origin="prediction-changed"), attributes=({"type": "textarea"},))
    assert told_apart(edited, sent).is_humans_mask


def test_a_mask_that_comes_back_as_it_was_written_is_not_decoded() -> None:
    sent_as = {"format": "rle", "rle": [1, 2, 3]}
    each = replace(region(mask((1, 1))), encoded=dict(sent_as))
    assert told_apart(each, {("abc", 2): ["0" * 16, value_digest(sent_as)]}) is each
    assert "mask" not in each.__dict__


@given(st.binary(max_size=5), st.binary(max_size=5), st.booleans())
def test_another_writing_has_another_digest(one: bytes, other: bytes, touched: bool) -> None:
    written = {"rle": list(one), "brushlabels": ["A"]}
    again = {"rle": list(other), "touches": [{"type": "eraser"}] if touched else []}
    assert (value_digest(written) == value_digest(again)) == (one == other and not touched)
    assert value_digest({"imageDataURL": one.hex()}) != value_digest({"imageDataURL": other.hex() + "a"})


def test_what_cannot_be_decoded_has_no_digest_of_its_writing() -> None:
    for damaged in ([300], ["a"], [None]):
        assert value_digest({"rle": damaged}) == ""


def test_what_we_know_nothing_of_stays_as_it_came() -> None:
    for each in (region(mask((1, 1)), frame=3), region(mask((1, 1)), key=None, origin="manual")):
        assert told_apart(each, {("abc", 2): ["0" * 16]}) is each


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 7)), max_size=9), st.integers(0, 47))
def test_one_pixel_makes_another_digest(pixels: list[tuple[int, int]], place: int) -> None:
    one = mask(*pixels)
    other = one.copy()
    other.flat[place] ^= True
    assert mask_digest(one) != mask_digest(other)
    assert mask_digest(one) == mask_digest(one.copy())
    assert mask_digest(np.zeros((6, 8), np.bool_)) != mask_digest(np.zeros((8, 6), np.bool_))


def test_frames_are_told_by_object_and_hand_drawn_regions_are_nobodys() -> None:
    regions = [region(mask((1, 1)), frame=2), region(mask((1, 1)), frame=4), region(mask((1, 1)), key=None)]
    assert frames_by_object(regions) == {"abc": frozenset({2, 4})}


@given(FRAMES, FRAMES)
def test_erased_is_what_was_there_and_is_not_of_objects_that_still_are(
    before: dict[str, frozenset[int]], now: dict[str, frozenset[int]]
) -> None:
    gone = erased(before, now)
    for key, frames in gone.items():
        assert frames
        assert frames <= before[key]
        assert not frames & now[key]
        assert now[key], "an object of which nothing is left was deleted, not erased here and there"
    assert erased(before, before) == {}
