"""A propagation that stops and goes on finds what an uninterrupted one finds."""

from __future__ import annotations

import numpy as np
import pytest
from colour_models import ColourModels
from synthetic import MovingDiscs, iou

from tam_backend.engine import TrackAnything
from tam_backend.errors import InvalidInputError, UnreadableMediaError
from tam_backend.session.pursuit import Pursuit
from tam_backend.tracking.passes import Workplace
from tam_backend.types import Prompt

VIDEO = MovingDiscs()


def prompted(frame: int = 4) -> Pursuit:
    session = TrackAnything(ColourModels().models()).session(VIDEO)
    session.prompt(Prompt(object_id=7, frame=frame, points=[(*VIDEO.centre(frame), True)]))
    return Pursuit(session)


def test_it_goes_on_where_it_stopped_and_ends_when_every_frame_is_tracked() -> None:
    propagation = prompted()
    tracked = [propagation.advance() for _ in range(6)]
    assert [result.frame for result in tracked if result] == [4, 5, 6, 7, 8]
    assert (propagation.frames_done, propagation.frames_total, propagation.done) == (5, 12, False)
    while not propagation.done:
        propagation.advance()
    assert propagation.frames_done == 12
    assert propagation.advance() is None


def test_what_was_found_is_kept_bit_for_bit_in_ascending_order() -> None:
    propagation = prompted()
    yielded = {}
    while not propagation.done:
        result = propagation.advance()
        if result is not None:
            yielded[result.frame] = result
    kept = list(propagation.results())
    assert [result.frame for result in kept] == list(range(12))
    for result in kept:
        assert np.array_equal(result.masks[7], yielded[result.frame].masks[7])
        assert result.quality == yielded[result.frame].quality
        assert result.source == yielded[result.frame].source


def test_a_session_without_prompts_cannot_be_propagated() -> None:
    with pytest.raises(InvalidInputError):
        Pursuit(TrackAnything(ColourModels().models()).session(VIDEO)).advance()


def test_new_prompts_leave_only_what_they_can_influence_to_be_done() -> None:
    pursuit = prompted(0)
    while not pursuit.done:
        pursuit.advance()
    click = Prompt(object_id=7, frame=0, points=[(*VIDEO.centre(0), True)])
    pursuit.want([click, Prompt(object_id=7, frame=6, mask=VIDEO.truth(6))])
    assert (pursuit.frames_done, pursuit.done) == (1, False)
    pursuit.want([click])
    while not pursuit.done:
        pursuit.advance()
    pursuit.want([click])
    assert pursuit.done


def test_no_step_tracks_more_than_one_frame_even_when_objects_join_late(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workplace, "shares_cores", False)  # else another thread tracks up to three more
    colours = ColourModels()
    session = TrackAnything(colours.models()).session(VIDEO)
    session.prompt(Prompt(object_id=1, frame=0, points=[(*VIDEO.centre(0), True)]))
    session.prompt(Prompt(object_id=2, frame=9, points=[(*VIDEO.centre(9), True)]))
    propagation = Pursuit(session)
    tracked = 0
    while not propagation.done:
        propagation.advance()
        now = sum(len(tracker.tracked) for tracker in colours.trackers)
        assert now - tracked <= 1
        tracked = now


def test_a_propagation_that_failed_says_so_and_is_never_taken_for_complete(monkeypatch: pytest.MonkeyPatch) -> None:
    propagation = prompted()
    propagation.advance()

    def fails(*_: object) -> None:
        raise UnreadableMediaError("Frame 5 cannot be decoded.")

    with monkeypatch.context() as broken:
        broken.setattr(MovingDiscs, "__getitem__", fails)
        with pytest.raises(UnreadableMediaError):
            for _ in range(4):
                propagation.advance()
    assert not propagation.done
    while not propagation.done:
        propagation.advance()
    assert [result.frame for result in propagation.results()] == list(range(12))


@pytest.mark.parametrize("keyframe", [0, 4, 11])
@pytest.mark.parametrize("tracked", range(13))
def test_an_object_that_takes_the_place_of_another_is_tracked_however_far_that_one_came(
    keyframe: int, tracked: int
) -> None:
    discs = MovingDiscs(starts_xy=((30, 25), (100, 70)), steps_xy=((3, 0), (-3, 0)))
    propagation = Pursuit(TrackAnything(ColourModels().models()).session(discs))
    propagation.want([Prompt(1, keyframe, points=[(*discs.centre(keyframe, 1), True)])])
    for _ in range(tracked):
        propagation.advance()
    propagation.want([Prompt(2, keyframe, points=[(*discs.centre(keyframe, 2), True)])])
    while not propagation.done:
        propagation.advance()
    found = list(propagation.results())
    assert [result.frame for result in found] == list(range(12))
    assert all(iou(result.masks[2], discs.truth(result.frame, 2)) > 0.9 for result in found)
