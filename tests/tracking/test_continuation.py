"""A propagation that stopped goes on with the frames that have no result, and touches no other."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
from colour_models import ColourModels
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import MovingDiscs, iou

from tam_backend.engine import TrackAnything
from tam_backend.tracking.continuation import stretches
from tam_backend.types import Prompt

TWO = MovingDiscs(frames=16, starts_xy=((20, 30), (110, 70)), steps_xy=((5, 1), (-4, 0)))


@given(st.sets(st.integers(0, 40)))
def test_stretches_are_the_same_frames_without_gaps_between_neighbours(frames: set[int]) -> None:
    found = stretches(sorted(frames))
    assert [frame for stretch in found for frame in stretch] == sorted(frames)
    assert all(b.start > a.stop for a, b in pairwise(found))


@settings(max_examples=25, deadline=None)
@given(st.integers(1, 20), st.integers(0, 15), st.integers(0, 15))
def test_wherever_it_stopped_every_frame_gets_the_masks_it_would_have_got(steps: int, first: int, second: int) -> None:
    session = TrackAnything(ColourModels().models()).session(TWO)
    for object_id, frame in ((1, first), (2, second)):
        session.prompt(Prompt(object_id, frame, points=[(*TWO.centre(frame, object_id), True)]))
    running = session.propagate_stepwise()
    for _ in range(steps):
        next(running, None)
    running.close()
    held = {result.frame: result for result in session.tracks}
    again = [result.frame for result in session.update()]
    assert sorted(again) == sorted(set(range(16)) - held.keys())
    for frame in range(16):
        result = session.tracks[frame]
        assert list(result.masks) == [1, 2]
        for object_id in (1, 2):
            assert iou(result.masks[object_id], TWO.truth(frame, object_id)) > 0.9
            if frame in held:
                assert np.array_equal(result.masks[object_id], held[frame].masks[object_id])


def test_a_keyframe_in_the_missing_frames_is_kept_as_it_is() -> None:
    session = TrackAnything(ColourModels().models()).session(TWO)
    session.prompt(Prompt(1, 0, points=[(*TWO.centre(0), True)]))
    running = session.propagate()
    for _ in range(4):
        next(running)
    running.close()
    drawn = np.zeros(TWO.size_hw, np.bool_)
    drawn[5:9, 5:9] = True
    session.prompt(Prompt(1, 10, mask=drawn))
    list(session.update())
    assert np.array_equal(session.tracks[10].masks[1], drawn)
    assert session.tracks[10].source[1] == "prompt"


def test_what_is_nowhere_stays_nowhere_when_a_stopped_propagation_goes_on() -> None:
    video = MovingDiscs(frames=6)
    session = TrackAnything(ColourModels().models()).session(video)
    session.prompt(Prompt(1, 0, mask=np.zeros(video.size_hw, np.bool_), label="Rabbit"))
    first = session.update()
    for _ in range(3):
        next(first)
    first.close()  # type: ignore[attr-defined]  # an iterator that is a generator
    found = {result.frame: result.masks[1].any() for result in session.update()}
    assert found == {3: False, 4: False, 5: False}
