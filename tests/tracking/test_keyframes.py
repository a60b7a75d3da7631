"""A human's masks cost a small part of their pixels, however many frames they are on; none is lost by that."""

from __future__ import annotations

import tracemalloc
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from colour_models import ColourModels
from stored_sessions import KEY, VIDEO, click, opened
from synthetic import MovingDiscs

from tam_backend.engine import TrackAnything
from tam_backend.session.pursuit import reconcile
from tam_backend.session.session import Session
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.sessions import SessionStore
from tam_backend.tracking.keyframes import ObjectKeyframes
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import BoolMask, EncodedMask, Prompt

MANY = MovingDiscs(frames=300, height=360, width=640)
DECODED_BYTES = len(MANY) * MANY.height * MANY.width


@pytest.fixture
def store(tmp_path: Path) -> SessionStore:
    return SessionStore(Database(sqlite_url(tmp_path / "tam.sqlite")))


def drawn(frame: int) -> BoolMask:
    """Return a mask for a frame of MANY that is like no other's."""
    mask = np.zeros(MANY.size_hw, np.bool_)
    mask[frame : frame + 50, frame : frame + 200] = True
    return mask


def of_many(store: SessionStore | None) -> Session:
    stored = store and store.open(KEY, frames=len(MANY), size_hw=MANY.size_hw, weights="colour-1")
    return TrackAnything(ColourModels().models()).session(MANY, stored)


@contextmanager
def traced() -> Iterator[None]:
    """See what is allocated in the block by `tracemalloc.get_traced_memory()`: bytes held now, and at most."""
    tracemalloc.start()
    try:
        yield
    finally:
        tracemalloc.stop()


def test_hundreds_of_keyframes_are_held_in_a_small_part_of_their_size(store: SessionStore) -> None:
    with traced(), of_many(store) as session:
        for frame in range(len(MANY)):
            session.prompt(Prompt(1, frame, mask=drawn(frame)))
        assert tracemalloc.get_traced_memory()[0] < DECODED_BYTES / 20
    with traced(), of_many(store) as session:
        assert max(tracemalloc.get_traced_memory()) < DECODED_BYTES / 20, "at no time while it was taken up"
        assert all(np.array_equal(mask, drawn(frame)) for frame, mask in session.keyframes(1).items())


def test_hundreds_of_keyframes_are_worked_with_a_few_at_a_time() -> None:
    with traced(), of_many(None) as session:
        said = [Prompt(1, frame, mask=drawn(frame)) for frame in range(len(MANY))]
        reconcile(session, said)
        for _ in session.propagate(0, 20):
            pass
        reconcile(session, said[:-20])
        for _ in session.update():
            pass
        assert tracemalloc.get_traced_memory()[1] < DECODED_BYTES / 2, "the video takes a third: it is made on the spot"


def test_frames_on_which_an_object_is_gone_come_back_empty(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(Prompt(1, 0, mask=VIDEO.truth(0)))
        for frame in range(10, 35):
            session.prompt(Prompt(1, frame, mask=np.zeros(VIDEO.size_hw, np.bool_)))
        before = session.keyframes(1)
    with opened(store) as session:
        assert session.keyframes(1).keys() == before.keys()
        assert all(np.array_equal(mask, before[frame]) for frame, mask in session.keyframes(1).items())
        list(session.update())
        assert not session.tracks[20].masks[1].any()
    assert store.masks(KEY, 0)[1].any()


def test_what_keyframes_there_are_and_where_they_show_the_object_is_told_without_decoding(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    masks = {2: VIDEO.truth(2), 5: np.zeros(VIDEO.size_hw, np.bool_), 9: VIDEO.truth(9)}
    keyframes = ObjectKeyframes({frame: KeptMask(EncodedMask.of(mask), 0.5, "prompt") for frame, mask in masks.items()})
    monkeypatch.setattr(EncodedMask, "array", property(lambda mask: pytest.fail("It was decoded.")))
    assert (list(keyframes), len(keyframes), 5 in keyframes, 6 in keyframes) == ([2, 5, 9], 3, True, False)
    assert [keyframes.shows(frame) for frame in keyframes] == [True, False, True]
    assert list(keyframes.since(5)) == [5, 9]


def test_of_several_objects_on_a_frame_only_masks_in_dispute_are_changed(store: SessionStore) -> None:
    """A mask that was given whole keeps all its pixels, a click's loses those, and another disc's loses none."""
    lower = VIDEO.truth(3)
    lower[: round(VIDEO.centre(3)[1])] = False
    with opened(store) as session:
        for prompt in (click(1, 3), click(2, 3), Prompt(3, 3, mask=lower)):
            session.prompt(prompt)
        masks = next(result.masks for result in session.propagate(3, 4))
    assert np.array_equal(masks[1], VIDEO.truth(3) & ~lower)
    assert np.array_equal(masks[2], VIDEO.truth(3, 2))
    assert np.array_equal(masks[3], lower)
