"""A correction changes the frames that it can influence, and no others; what a human drew is never overwritten."""

from __future__ import annotations

import numpy as np
import pytest
from colour_models import ColourModels
from hypothesis import given
from hypothesis import strategies as st
from synthetic import MovingDiscs, iou

from tam_backend.engine import TrackAnything
from tam_backend.errors import FrameOutOfRangeError, InvalidInputError, InvalidPromptError
from tam_backend.session.session import Session
from tam_backend.tracking.fusion import fused
from tam_backend.tracking.spans import gaps_around
from tam_backend.types import BoolMask, FrameResult, Mask, Prompt

VIDEO = MovingDiscs(frames=16)
TWO = MovingDiscs(frames=16, starts_xy=((20, 30), (110, 70)), steps_xy=((5, 1), (-4, 0)))


def tracked(video: MovingDiscs = VIDEO, frame: int = 0, discs: int = 1) -> Session:
    session = TrackAnything(ColourModels().models()).session(video)
    for disc in range(1, discs + 1):
        session.prompt(Prompt(object_id=disc, frame=frame, points=[(*video.centre(frame, disc), True)]))
    list(session.propagate())
    return session


def kept(session: Session) -> dict[int, FrameResult]:
    return {result.frame: result for result in session.tracks}


def square(video: MovingDiscs, size: int = 6) -> BoolMask:
    mask = np.zeros(video.size_hw, np.bool_)
    mask[2 : 2 + size, 2 : 2 + size] = True
    return mask


def test_nothing_is_tracked_again_without_a_correction() -> None:
    assert list(tracked().update()) == []


def test_a_correction_reaches_to_the_neighbouring_keyframes_and_all_else_stays_bit_for_bit() -> None:
    session = tracked()
    for frame in (4, 12):
        session.prompt(Prompt(object_id=1, frame=frame, mask=VIDEO.truth(frame)))
    list(session.update())
    before = kept(session)
    session.paint(1, 8, add=square(VIDEO))
    updated = [result.frame for result in session.update()]
    assert set(updated) == {5, 6, 7, 8, 9, 10, 11}
    after = kept(session)
    for frame in set(range(16)) - set(updated):
        assert np.array_equal(before[frame].masks[1], after[frame].masks[1])
        assert before[frame].quality == after[frame].quality
    assert np.array_equal(after[8].masks[1], before[8].masks[1] | square(VIDEO))
    assert after[8].source[1] == "prompt"
    assert list(session.update()) == []


def test_without_later_keyframes_a_correction_reaches_the_ends_of_the_video() -> None:
    session = tracked(frame=6)
    session.paint(1, 9, add=square(VIDEO))
    assert {result.frame for result in session.update()} == set(range(7, 16))
    session.clear(1, 6)
    assert {result.frame for result in session.update()} == set(range(9))


def test_other_objects_keep_their_masks_except_for_pixels_that_the_corrected_one_takes() -> None:
    session = tracked(TWO, discs=2)
    before = kept(session)
    x, y = (int(v) for v in TWO.centre(8, 2))
    stroke = np.zeros(TWO.size_hw, np.bool_)
    stroke[y - 3 : y + 3, x - 3 : x + 3] = True
    session.paint(1, 8, add=stroke)
    list(session.update())
    after = kept(session)
    assert np.array_equal(after[8].masks[2], before[8].masks[2] & ~stroke)
    for frame in range(16):
        assert not (after[frame].masks[1] & after[frame].masks[2]).any()
        lost = before[frame].masks[2] & ~after[frame].masks[2]
        assert np.array_equal(lost, before[frame].masks[2] & after[frame].masks[1])


def test_a_humans_mask_is_never_overwritten_by_anothers_correction() -> None:
    session = tracked(TWO, discs=2)
    session.prompt(Prompt(object_id=2, frame=10, mask=square(TWO, 20)))
    session.paint(1, 8, add=square(TWO, 12))
    list(session.update())
    assert np.array_equal(session.tracks[10].masks[2], square(TWO, 20))
    assert not (session.tracks[10].masks[1] & square(TWO, 20)).any()


def test_erasing_wins_over_adding_and_erasing_all_says_that_the_object_is_hidden_there() -> None:
    session = tracked()
    both = session.paint(1, 5, add=square(VIDEO), erase=square(VIDEO))
    assert not (both.array & square(VIDEO)).any()
    hidden = session.paint(1, 5, erase=np.ones(VIDEO.size_hw, np.bool_))
    assert hidden.area == 0
    list(session.update())
    assert not session.tracks[5].masks[1].any()
    assert iou(session.tracks[6].masks[1], VIDEO.truth(6)) > 0.8


def test_an_object_that_ends_is_gone_until_it_is_shown_again() -> None:
    session = tracked()
    session.end(1, 5)
    assert {result.frame for result in session.update()} == set(range(1, 16))
    assert all(session.tracks[frame].masks[1].any() == (frame < 5) for frame in range(16))
    assert session.tracks[9].quality[1] == 1.0
    session.prompt(Prompt(object_id=1, frame=11, mask=VIDEO.truth(11)))
    list(session.update())
    assert all(session.tracks[frame].masks[1].any() == (frame < 5 or frame >= 11) for frame in range(16))
    again = {result.frame: result for result in session.propagate()}
    assert all(again[frame].masks[1].any() == (frame < 5 or frame >= 11) for frame in range(16))


def test_an_object_added_after_the_propagation_is_tracked_and_the_others_are_not() -> None:
    session = tracked(TWO)
    before = kept(session)
    session.prompt(Prompt(object_id=2, frame=7, points=[(*TWO.centre(7, 2), True)]))
    assert {result.frame for result in session.update()} == set(range(16))
    for frame in range(16):
        assert iou(session.tracks[frame].masks[2], TWO.truth(frame, 2)) > 0.8
        assert np.array_equal(session.tracks[frame].masks[1], before[frame].masks[1])


def test_part_of_an_object_becomes_another() -> None:
    session = tracked()
    half = VIDEO.truth(6)
    half[:, : int(VIDEO.centre(6)[0])] = False
    new = session.split(1, 6, half, label="right half")
    list(session.update())
    assert np.array_equal(session.tracks[6].masks[new], half)
    assert not (session.tracks[6].masks[1] & half).any()
    assert session.labels == {1: "", new: "right half"}
    session.rename(1, "left half")
    assert session.labels[1] == "left half"


def test_a_removed_object_leaves_every_frame() -> None:
    session = tracked(TWO, discs=2)
    session.remove(2)
    assert list(session.update()) == []
    assert all(set(result.masks) == {1} for result in session.tracks)


def test_a_negative_click_on_a_tracked_frame_corrects_the_mask_there() -> None:
    session = tracked()
    x, y = VIDEO.centre(5)
    mask = session.prompt(Prompt(object_id=1, frame=5, points=[(x + 5, y, False)]))
    assert 0 < mask.area < VIDEO.truth(5).sum()
    with pytest.raises(InvalidPromptError):  # there is no mask to correct
        session.prompt(Prompt(object_id=2, frame=5, points=[(x, y, False)]))


def test_an_update_before_any_propagation_is_one() -> None:
    session = TrackAnything(ColourModels().models()).session(VIDEO)
    session.prompt(Prompt(object_id=1, frame=0, points=[(*VIDEO.centre(0), True)]))
    assert len(list(session.update())) == 16


def test_a_cancelled_update_can_be_made_again() -> None:
    session = tracked()
    session.paint(1, 8, add=square(VIDEO))
    steps = session.update_stepwise()
    next(steps)
    steps.close()
    assert {result.frame for result in session.update()} == set(range(1, 16))


def test_wrong_corrections_are_refused_and_change_nothing() -> None:
    session = tracked()
    with pytest.raises(InvalidInputError, match="no object 4"):
        session.paint(4, 0, add=square(VIDEO))
    with pytest.raises(InvalidInputError, match="no stroke"):
        session.paint(1, 0)
    with pytest.raises(FrameOutOfRangeError):
        session.paint(1, 16, add=square(VIDEO))
    with pytest.raises(FrameOutOfRangeError):
        session.end(1, 99)
    with pytest.raises(InvalidPromptError, match="3x2"):
        session.paint(1, 0, add=np.ones((2, 3), np.bool_))
    assert list(session.update()) == []


frames = st.sets(st.integers(0, 19), max_size=6)


@given(frames, frames)
def test_gaps_are_what_lies_between_a_change_and_its_neighbours(keyframes: set[int], changed: set[int]) -> None:
    gaps = gaps_around(keyframes, changed, 20)
    covered = [frame for gap in gaps for frame in gap.frames]
    assert len(covered) == len(set(covered))
    expected = set()
    for frame in changed if keyframes else ():
        for step in (-1, 1):
            at = frame + step
            while 0 <= at < 20 and at not in keyframes:
                expected.add(at)
                at += step
        expected |= {frame} - keyframes
    assert set(covered) == expected
    for gap in gaps:
        assert gap.left in {None, *keyframes} and gap.right in {None, *keyframes}
        assert gap.frames == range(0 if gap.left is None else gap.left + 1, 20 if gap.right is None else gap.right)


def disc(x: float, radius: float = 10) -> BoolMask:
    yy, xx = np.mgrid[:60, :80]
    return np.asarray((xx - x) ** 2 + (yy - 30) ** 2 <= radius**2)


def test_two_passes_that_agree_are_averaged_by_their_way_and_quality() -> None:
    a, b = Mask(disc(30), 0.9), Mask(disc(34), 0.9)
    middle = fused(a, b, 0.5)
    assert iou(middle.array, disc(32)) > 0.95
    assert iou(fused(a, b, 0.0).array, a.array) == 1.0
    assert iou(fused(a, b, 1.0).array, b.array) == 1.0
    sure = fused(a, Mask(b.array, 0.1), 0.5)
    assert iou(sure.array, a.array) > iou(middle.array, a.array)


def test_passes_that_speak_of_different_things_are_not_mixed() -> None:
    a, b = Mask(disc(20), 0.6), Mask(disc(60), 0.9)
    assert np.array_equal(fused(a, b, 0.5).array, b.array)
    nothing = Mask(np.zeros((60, 80), np.bool_), 0.9)
    assert fused(nothing, nothing, 0.5).area == 0
    assert np.array_equal(fused(a, nothing, 0.1).array, a.array)


def test_points_that_contradict_each_other_make_a_mask_or_a_clear_error_and_never_a_broken_session() -> None:
    session = tracked()
    x, y = VIDEO.centre(5)
    before = kept(session)
    mask = session.prompt(Prompt(object_id=1, frame=5, points=[(x, y, True), (x, y, False)]))
    assert mask.array.shape == VIDEO.size_hw
    list(session.update())
    assert np.array_equal(session.tracks[5].masks[1], mask.array)
    session.clear(1, 5)
    list(session.update())
    for frame in range(16):
        assert iou(session.tracks[frame].masks[1], before[frame].masks[1]) > 0.95


def test_a_frame_that_was_never_tracked_can_be_corrected() -> None:
    session = TrackAnything(ColourModels().models()).session(VIDEO)
    session.prompt(Prompt(object_id=1, frame=0, points=[(*VIDEO.centre(0), True)]))
    list(session.propagate(0, 4))
    assert 12 not in session.tracks
    drawn = session.paint(1, 12, add=VIDEO.truth(12))
    assert np.array_equal(drawn.array, VIDEO.truth(12))
    updated = {result.frame for result in session.update()}
    assert updated >= set(range(4, 16))
    assert np.array_equal(session.tracks[12].masks[1], VIDEO.truth(12))
    assert session.tracks[12].source[1] == "prompt"
    assert sorted(result.frame for result in session.tracks) == list(range(16))


def test_an_object_whose_only_mask_is_empty_is_absent_everywhere_and_harms_no_other() -> None:
    session = tracked(TWO, discs=1)
    before = kept(session)
    session.prompt(Prompt(object_id=2, frame=7, mask=np.zeros(TWO.size_hw, np.bool_)))
    list(session.update())
    for frame in range(16):
        assert not session.tracks[frame].masks[2].any()
        assert np.array_equal(session.tracks[frame].masks[1], before[frame].masks[1])


def test_an_empty_mask_hides_an_object_on_its_frame_alone() -> None:
    session = tracked()
    session.prompt(Prompt(object_id=1, frame=5, mask=np.zeros(VIDEO.size_hw, np.bool_)))
    list(session.update())
    assert [frame for frame in range(16) if not session.tracks[frame].masks[1].any()] == [5]
