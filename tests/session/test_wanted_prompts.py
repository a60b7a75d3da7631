"""A session is brought to the prompts that are wanted, whatever it held, and only what differs is tracked anew."""

from __future__ import annotations

import numpy as np
import pytest
from colour_models import ColourModels
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import MovingDiscs

from tam_backend.engine import TrackAnything
from tam_backend.errors import InvalidPromptError
from tam_backend.session.pursuit import reconcile
from tam_backend.session.session import Session
from tam_backend.types import Prompt

TWO = MovingDiscs(frames=10, starts_xy=((20, 30), (110, 70)), steps_xy=((5, 1), (-4, 0)))


def new_session() -> Session:
    return TrackAnything(ColourModels().models()).session(TWO)


def click(object_id: int, frame: int, label: str | None = None) -> Prompt:
    return Prompt(object_id, frame, points=[(*TWO.centre(frame, object_id), True)], label=label)


def drawn(object_id: int, frame: int, size: int = 5, label: str | None = None) -> Prompt:
    mask = np.zeros(TWO.size_hw, np.bool_)
    mask[3 : 3 + size, 3 : 3 + size] = True
    return Prompt(object_id, frame, mask=mask, label=label)


@st.composite
def prompts(draw: st.DrawFn) -> list[Prompt]:
    places = draw(st.sets(st.tuples(st.integers(1, 2), st.integers(0, 9)), min_size=1, max_size=6))
    make = {"click": click, "drawn": drawn}
    return [make[draw(st.sampled_from(sorted(make)))](*place) for place in sorted(places)]


def what_is_known(session: Session) -> dict[int, dict[int, tuple[object, bytes]]]:
    return {
        each: {
            frame: (session.known(each)[frame].points, mask.array.tobytes())
            for frame, mask in session.keyframes(each).items()
        }
        for each in session.labels
    }


@settings(max_examples=30, deadline=None)
@given(prompts(), prompts())
def test_whatever_it_held_it_knows_just_what_is_wanted(held: list[Prompt], wanted: list[Prompt]) -> None:
    session, fresh = new_session(), new_session()
    reconcile(session, held)
    list(session.propagate())
    reconcile(session, wanted)
    reconcile(fresh, wanted)
    assert what_is_known(session) == what_is_known(fresh)


@settings(max_examples=15, deadline=None)
@given(prompts())
def test_the_same_again_changes_nothing(wanted: list[Prompt]) -> None:
    session = new_session()
    reconcile(session, wanted)
    list(session.propagate())
    reconcile(session, list(reversed(wanted)))
    assert list(session.update()) == []


def test_only_the_object_and_frames_that_differ_are_tracked_anew() -> None:
    session = new_session()
    reconcile(session, [click(1, 0), click(2, 0), drawn(1, 8)])
    list(session.propagate())
    reconcile(session, [click(1, 0), click(2, 0), drawn(1, 8), drawn(1, 4)])
    assert {result.frame for result in session.update()} == {1, 2, 3, 4, 5, 6, 7}
    reconcile(session, [click(1, 0), click(2, 0), drawn(1, 4)])
    assert {result.frame for result in session.update()} == {5, 6, 7, 8, 9}


def test_a_new_label_is_a_renaming() -> None:
    session = new_session()
    reconcile(session, [click(1, 0, "Cat")])
    list(session.propagate())
    reconcile(session, [click(1, 0, "Dog")])
    assert session.labels == {1: "Dog"}
    assert list(session.update()) == []


def test_an_object_without_prompts_is_gone() -> None:
    session = new_session()
    reconcile(session, [click(1, 0), click(2, 0)])
    list(session.propagate())
    reconcile(session, [click(2, 0)])
    assert list(session.labels) == [2]
    assert all(list(result.masks) == [2] for result in session.tracks)


def test_a_refused_prompt_takes_nothing_back() -> None:
    session = new_session()
    reconcile(session, [click(1, 0)])
    wrong = Prompt(1, 3, mask=np.ones((2, 2), np.bool_))
    with pytest.raises(InvalidPromptError):
        reconcile(session, [wrong])
    assert list(session.known(1)) == [0]
