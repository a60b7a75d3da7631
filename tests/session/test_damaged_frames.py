"""Frames that cannot be read are left out and named; everything else is as it is without them."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import pytest
from colour_models import ColourModels
from hypothesis import given, settings
from hypothesis import strategies as st
from synthetic import MovingDiscs, iou

from tam_backend.engine import TrackAnything
from tam_backend.errors import MediaForbiddenError, MediaNotFoundError, UnreadableMediaError
from tam_backend.session.pursuit import Pursuit
from tam_backend.session.session import Session
from tam_backend.types import Prompt, RgbFrame


@dataclass
class Damaged(MovingDiscs):
    """Two discs, with frames that cannot be read."""

    starts_xy: tuple[tuple[float, float], ...] = ((20, 30), (100, 70))
    steps_xy: tuple[tuple[float, float], ...] = ((5, 1), (-4, 0))
    damaged: set[int] = field(default_factory=set)
    error: type[Exception] = UnreadableMediaError

    def __getitem__(self, index: int) -> RgbFrame:
        if index in self.damaged:
            raise self.error(f"Frame {index} of {self.name} is damaged.", "")  # type: ignore[call-arg]
        return super().__getitem__(index)


def session_on(video: MovingDiscs) -> Session:
    return TrackAnything(ColourModels().models()).session(video)


def mask_of(video: MovingDiscs, object_id: int, frame: int) -> Prompt:
    return Prompt(object_id=object_id, frame=frame, mask=video.truth(frame, object_id))


def follows(video: MovingDiscs, session: Session, object_id: int) -> bool:
    return all(iou(result.masks[object_id], video.truth(result.frame, object_id)) > 0.9 for result in session.tracks)


@pytest.mark.parametrize("error", [UnreadableMediaError, MediaNotFoundError])
def test_the_other_frames_are_tracked_and_the_damaged_one_is_named(error: type[Exception]) -> None:
    video = Damaged(damaged={5}, error=error)
    session = session_on(video)
    session.prompt(mask_of(video, 1, 0))
    assert [result.frame for result in session.propagate()] == [0, 1, 2, 3, 4, 6, 7, 8, 9, 10, 11]
    assert follows(video, session, 1)
    assert {frame: str(each) for frame, each in session.unreadable.items()} == {5: "Frame 5 of discs is damaged."}
    assert not session.outstanding


def test_what_concerns_all_frames_still_ends_it() -> None:
    video = Damaged(damaged={5}, error=MediaForbiddenError)
    session = session_on(video)
    session.prompt(mask_of(video, 1, 0))
    with pytest.raises(MediaForbiddenError):
        list(session.propagate())


def test_a_video_that_is_gone_altogether_is_no_damaged_frame() -> None:
    video = Damaged()
    session = session_on(video)
    session.prompt(mask_of(video, 1, 0))
    running = session.propagate()
    next(running)
    video.damaged = set(range(12))
    with pytest.raises(UnreadableMediaError):
        list(running)
    assert session.outstanding


def test_a_range_without_a_readable_frame_is_refused() -> None:
    video = Damaged(damaged={4, 5})
    session = session_on(video)
    session.prompt(mask_of(video, 1, 0))
    with pytest.raises(UnreadableMediaError, match="Frame 4"):
        list(session.propagate(4, 6))


def test_an_object_whose_first_mask_is_on_a_damaged_frame_joins_at_its_next() -> None:
    video = Damaged(damaged={2})
    session = session_on(video)
    session.prompt(mask_of(video, 1, 0))
    for frame in (2, 6):
        session.prompt(mask_of(video, 2, frame))
    results = {result.frame: result for result in session.propagate()}
    assert sorted(results) == [0, 1, *range(3, 12)]
    assert all(set(result.masks) == {1, 2} for result in results.values())
    assert follows(video, session, 1) and follows(video, session, 2)


def test_an_object_that_is_shown_on_a_damaged_frame_only_does_not_keep_the_others() -> None:
    video = Damaged(damaged={2})
    session = session_on(video)
    session.prompt(mask_of(video, 1, 0))
    session.prompt(mask_of(video, 2, 2))
    assert [list(result.masks) for result in session.propagate()] == [[1]] * 11
    assert list(session.unreadable) == [2]


def test_a_correction_reaches_over_a_damaged_frame() -> None:
    video = Damaged(damaged={5})
    session = session_on(video)
    session.prompt(mask_of(video, 1, 0))
    list(session.propagate())
    session.prompt(mask_of(video, 1, 8))
    again = [result.frame for result in session.update()]
    assert {3, 4, 6, 7} <= set(again) and 5 not in again
    assert follows(video, session, 1)
    assert not session.outstanding


def test_a_frame_that_was_repaired_is_tracked_with_the_next_correction() -> None:
    video = Damaged(damaged={5})
    session = session_on(video)
    session.prompt(mask_of(video, 1, 0))
    list(session.propagate())
    video.damaged.clear()
    session.prompt(mask_of(video, 1, 11))
    list(session.update())
    assert len(session.tracks) == 12 and not session.unreadable and follows(video, session, 1)


def test_prompts_on_a_damaged_frame_are_left_out_beside_others() -> None:
    video = Damaged(damaged={3})
    pursuit = Pursuit(session_on(video))
    click = Prompt(object_id=2, frame=3, points=[(*video.centre(3, 2), True)])
    pursuit.want([mask_of(video, 1, 0), click])
    while not pursuit.done:
        pursuit.advance()
    assert len(list(pursuit.results())) == 11
    assert list(pursuit.session.unreadable) == [3]
    with pytest.raises(UnreadableMediaError):
        Pursuit(session_on(video)).want([click])


def test_a_frame_that_was_repaired_is_tracked_when_it_is_looked_at_again() -> None:
    video = Damaged(damaged={5, 6})
    pursuit = Pursuit(session_on(video))
    pursuit.want([mask_of(video, 1, 0)])
    while not pursuit.done:
        pursuit.advance()
    video.damaged = {6}
    pursuit.look_again()
    assert not pursuit.done
    tracked = []
    while not pursuit.done:
        result = pursuit.advance()
        tracked += [] if result is None else [result.frame]
    assert tracked == [5]
    assert list(pursuit.session.unreadable) == [6]


@settings(max_examples=40, deadline=None)
@given(
    damaged=st.sets(st.integers(0, 11), max_size=9),
    keyframes=st.dictionaries(st.integers(0, 11), st.sampled_from([1, 2]), min_size=1, max_size=4),
    stops=st.lists(st.integers(1, 6), max_size=3),
    correction=st.integers(0, 11),
)
def test_whatever_is_damaged_all_other_frames_are_tracked(
    damaged: set[int], keyframes: dict[int, int], stops: list[int], correction: int
) -> None:
    video = Damaged(damaged=damaged)
    pursuit = Pursuit(session_on(video))
    said = [mask_of(video, object_id, frame) for frame, object_id in keyframes.items()]
    if not keyframes.keys() - damaged:
        pursuit.want(said)
        with pytest.raises(UnreadableMediaError):
            pursuit.advance()
        return
    shown = {object_id for frame, object_id in keyframes.items() if frame not in damaged}
    for stop in [*stops, 1000]:
        pursuit.want(said)  # the same again: what was tracked stays
        for _ in range(stop):
            pursuit.advance()
    assert pursuit.done
    tracked = {result.frame: result for result in pursuit.results()}
    assert tracked.keys() == set(range(12)) - damaged
    for frame, result in tracked.items():
        assert result.masks.keys() == shown
        assert all(iou(result.masks[each], video.truth(frame, each)) > 0.8 for each in shown)
    pursuit.want([*said, mask_of(video, min(shown), correction)])
    for _ in range(100):
        pursuit.advance()
    assert pursuit.done
    assert {result.frame for result in pursuit.results()} >= set(range(12)) - damaged
    assert np.all([each.masks.keys() >= shown for each in pursuit.results() if each.frame not in damaged])
