"""Videos are split by name, the same way every time, and each is either learnt from or judged on."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeled_discs import labeled_discs

from tam_backend.adaptation.kept_video import KeptVideo, keep
from tam_backend.adaptation.splitting import split, usable
from tam_backend.errors import InvalidInputError


def kept(name: str, labels: int = 6, empty: bool = False) -> KeptVideo:
    ids = {at: np.full((4, 4), not empty, np.uint8) for at in range(labels)}
    return KeptVideo(name, {at: np.zeros((4, 4, 3), np.uint8) for at in ids}, ids)


names = st.lists(st.text(min_size=1, max_size=5), unique=True, min_size=2, max_size=20)


@given(names)
def test_every_video_is_on_one_side_and_both_sides_have_one(videos: list[str]) -> None:
    found = split([kept(name) for name in videos])
    assert sorted((*found.learnt_from, *found.held_out)) == sorted(videos)
    assert found.learnt_from
    assert 1 <= len(found.held_out) <= 4
    assert len(found.held_out) <= len(found.learnt_from)


@given(names)
def test_the_order_in_which_videos_come_does_not_matter(videos: list[str]) -> None:
    forth, back = (split([kept(name) for name in order]) for order in (videos, videos[::-1]))
    assert set(forth.held_out) == set(back.held_out)


def test_videos_with_enough_labels_are_judged_on() -> None:
    for name in "abcdefgh":
        assert split([kept("few", labels=3), kept(name)]).held_out == (name,)


def test_one_video_is_not_enough_and_the_remedy_says_so() -> None:
    with pytest.raises(InvalidInputError, match="only one has") as error:
        usable([kept("one")], [])
    assert error.value.remedy == "Label a second video."


def test_videos_without_objects_or_with_one_label_are_left_out_and_said() -> None:
    notes: list[str] = []
    good = usable([kept("a"), kept("empty", empty=True), kept("b"), kept("single", labels=1)], notes)
    assert [each.name for each in good] == ["a", "b"]
    assert [note.split(":")[0] for note in notes] == ["empty was left out", "single was left out"]


def test_where_all_are_left_out_the_error_says_why() -> None:
    with pytest.raises(InvalidInputError, match="all its masks are empty"):
        usable([kept("empty", empty=True), kept("bare", empty=True)], [])


def test_discs_are_usable() -> None:
    assert usable([keep(labeled_discs(name), 2**30, []) for name in "ab"], [])
