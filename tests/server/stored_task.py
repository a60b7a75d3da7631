"""A session in a database as the server finds it: two discs that were tracked, one of them doubtful for a while."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from synthetic import MovingDiscs

from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.known import Known
from tam_backend.store.sessions import ObjectState, SessionKey, SessionStore
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import EncodedMask

VIDEO = MovingDiscs(frames=60, height=120, width=160, starts_xy=((20, 40), (130, 90)), steps_xy=((2, 0.5), (-1, -0.5)))
KEY = SessionKey("7", "12", "discs")
KEYFRAME, ABSENT_FROM, DOUBTFUL = 5, 50, range(30, 36)


def stored_task(folder: Path, key: SessionKey = KEY, labels: tuple[str, str] = ("Red", "Blue")) -> SessionStore:
    """Disc 1 has a keyframe and leaves at frame 50; disc 2's masks are doubtful on frames 30 to 35."""
    store = SessionStore(Database(sqlite_url(folder / "tam.sqlite")))
    session = store.open(key, frames=len(VIDEO), size_hw=VIDEO.size_hw, weights="colour-1")
    for object_id in (1, 2):
        truth = EncodedMask.of(VIDEO.truth(KEYFRAME, object_id))
        keyframe = KeptMask(truth, 1.0, "prompt")
        state = ObjectState(labels[object_id - 1], {KEYFRAME: Known(mask=truth)}, {KEYFRAME: keyframe})
        session.save_object(object_id, state, [KEYFRAME])
    for frame in range(len(VIDEO)):
        masks = {1: VIDEO.truth(frame, 1), 2: VIDEO.truth(frame, 2)}
        if frame >= ABSENT_FROM:
            masks[1] = np.zeros(VIDEO.size_hw, np.bool_)
        quality = {1: 0.99 if frame >= ABSENT_FROM else 0.93, 2: 0.42 if frame in DOUBTFUL else 0.9}
        source = "prompt" if frame == KEYFRAME else "propagated"
        kept = {each: KeptMask(EncodedMask.of(masks[each]), quality[each], source) for each in (1, 2)}
        session.put(frame, kept)
    session.close()
    return store
