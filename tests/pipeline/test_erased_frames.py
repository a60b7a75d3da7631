"""Frames on which an object is gone cost no memory of their own, however many they are."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from stored_sessions import KEY, VIDEO, opened

from tam_backend.pipeline.database import Database, sqlite_url
from tam_backend.pipeline.known import Known
from tam_backend.pipeline.store import SessionStore
from tam_backend.types import Mask, Prompt


def arrays(keyframes: Mapping[int, Mask], known: Mapping[int, Known]) -> set[int]:
    masks = [mask.array for mask in keyframes.values()] + [each.mask for each in known.values()]
    return {id(mask) for mask in masks if mask is not None}


def test_erased_frames_share_one_mask_now_and_after_they_were_stored(tmp_path: Path) -> None:
    nothing = np.zeros(VIDEO.size_hw, np.bool_)
    nothing.flags.writeable = False
    store = SessionStore(Database(sqlite_url(tmp_path / "tam.sqlite")))
    with opened(store) as session:
        session.prompt(Prompt(1, 0, mask=VIDEO.truth(0)))
        for frame in range(10, 35):
            session.prompt(Prompt(1, frame, mask=nothing))
        assert len(arrays(session.keyframes(1), session.known(1))) == 2
        before = {frame: mask.array.copy() for frame, mask in session.keyframes(1).items()}
    with opened(store) as session:
        assert len(arrays(session.keyframes(1), session.known(1))) == 2
        assert session.keyframes(1).keys() == before.keys()
        for frame, mask in session.keyframes(1).items():
            assert np.array_equal(mask.array, before[frame])
        list(session.update())
        assert not session.tracks[20].masks[1].any()
    assert store.masks(KEY, 0)[1].any()


@pytest.mark.parametrize("given", [np.zeros((4, 5), np.bool_), np.zeros((4, 5), np.uint8), np.ones((4, 5), np.bool_)])
def test_a_mask_that_may_still_be_changed_is_copied(given: np.ndarray[Any, Any]) -> None:
    prompt = Prompt(1, 0, mask=given)
    before = np.array(prompt.mask)
    given[:] = 1 - given if given.dtype != np.bool_ else ~given
    assert np.array_equal(prompt.mask, before)  # type: ignore[arg-type]
