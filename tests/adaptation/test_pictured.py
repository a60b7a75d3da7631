"""Pictures of what networks learnt: frames that tell, the bad ones too, small whatever the videos are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from labeled_discs import labeled_discs
from synthetic import MovingDiscs

from tam_backend.adaptation.judging import Scores
from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.outcome import ComparedFrame
from tam_backend.adaptation.pictured import PANEL_SIDE, Answers, compared_frames, telling_frames
from tam_backend.errors import UnreadableMediaError
from tam_backend.types import BoolMask, RgbFrame

SCORES = st.dictionaries(
    st.sampled_from(["a", "b", "c"]), st.dictionaries(st.integers(0, 9), st.floats(0, 1), max_size=10), max_size=3
)
BEFORE, AFTER = {"one": {0: 0.5, 2: 0.5, 4: 0.5}}, {"one": {0: 0.9, 2: 0.3, 4: 0.6}}


@given(SCORES, SCORES)
def test_the_best_the_middle_and_the_worst_are_chosen_of_what_was_judged_both_times(
    before: Scores, after: Scores
) -> None:
    gains = {
        (name, at): after[name][at] - before[name][at]
        for name in before.keys() & after.keys()
        for at in before[name].keys() & after[name].keys()
    }
    chosen = telling_frames(before, after)
    assert len(chosen) == min(3, len(gains))
    assert len({(name, at) for _, name, at in chosen}) == len(chosen), "none twice"
    if len(chosen) > 1:
        found = [gains[name, at] for _, name, at in chosen]
        assert (found[0], found[-1]) == (max(gains.values()), min(gains.values()))
    if len(chosen) == 3:
        assert sorted(gains.values())[(len(gains) - 1) // 2] == found[1]


def test_a_choice_is_called_what_it_is() -> None:
    assert telling_frames(BEFORE, AFTER) == [
        ("largest gain", "one", 0),
        ("median", "one", 4),
        ("largest loss", "one", 2),
    ]
    assert [choice for choice, _, _ in telling_frames(BEFORE, BEFORE)] == ["smallest loss", "median", "smallest gain"]


def nothing(labeled: LabeledVideo, frames: Sequence[int]) -> Mapping[int, Mapping[int, BoolMask]]:
    return {at: {1: np.zeros(labeled.video.size_hw, np.bool_)} for at in frames}


def right(labeled: LabeledVideo, frames: Sequence[int]) -> Mapping[int, Mapping[int, BoolMask]]:
    return {at: {1: labeled.masks[at] == 1} for at in frames}


def all_of_it(labeled: LabeledVideo, frames: Sequence[int]) -> Mapping[int, Mapping[int, BoolMask]]:
    return {at: {1: np.ones(labeled.video.size_hw, np.bool_)} for at in frames}


def drawn(
    videos: Sequence[LabeledVideo], answers: tuple[Answers, Answers] = (nothing, right), notes: list[str] | None = None
) -> list[ComparedFrame]:
    scores = {each.name: BEFORE["one"] for each in videos}, {each.name: AFTER["one"] for each in videos}
    return compared_frames("the tracker", scores, videos, answers, [] if notes is None else notes)


def picture(compared: ComparedFrame) -> RgbFrame:
    decoded = cv2.imdecode(np.frombuffer(compared.jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    return np.asarray(decoded[..., ::-1], np.uint8)


def panels(compared: ComparedFrame) -> list[RgbFrame]:
    strip = picture(compared)
    width = (strip.shape[1] - 12) // 3
    return [strip[:, place * (width + 6) : place * (width + 6) + width] for place in range(3)]


def test_before_after_and_people_stand_side_by_side() -> None:
    compared = drawn([labeled_discs("one")], (all_of_it, right))
    assert [(each.choice, each.video, each.frame) for each in compared] == telling_frames(BEFORE, AFTER)
    assert (compared[0].before, compared[0].after) == (50, 90)
    before, after, people = panels(compared[0])
    assert np.abs(after.astype(int) - people).mean() < 8, "but for the JPEG's noise"
    assert np.abs(before.astype(int) - people).mean() > 30
    assert before.shape == people.shape


def test_what_is_shown_is_cut_out_around_all_that_was_said() -> None:
    video = MovingDiscs(height=1080, width=1920, starts_xy=((400, 300),), radius=30)
    masks = {at: video.truth(at).astype(np.uint8) for at in (0, 2, 4)}

    def far(labeled: LabeledVideo, frames: Sequence[int]) -> Mapping[int, Mapping[int, BoolMask]]:
        return {at: {1: np.roll(labeled.masks[at] == 1, 1000, 1)} for at in frames}

    labeled = LabeledVideo("one", video, masks)
    close, wide = drawn([labeled], (right, right))[0], drawn([labeled], (right, far))[0]
    assert panels(close)[0].shape[:2] == (121, 121), "half of the disc's 61 pixels on each side"
    assert panels(wide)[0].shape[1] == PANEL_SIDE, "what it says far away is seen too"


@pytest.mark.parametrize(
    ("height", "width"), [(1, 1), (1, 4000), (4000, 1), (40, 30), (2160, 3840), (3840, 2160), (50, 5000)]
)
def test_pictures_are_small_whatever_the_video_is(height: int, width: int) -> None:
    video = MovingDiscs(height=height, width=width)
    masks = {at: np.ones((height, width), np.uint8) for at in (0, 2, 4)}
    compared = drawn([LabeledVideo("one", video, masks)])
    assert len(compared) == 3
    for each in compared:
        tall, wide = picture(each).shape[:2]
        assert tall <= PANEL_SIDE
        assert wide <= 3 * PANEL_SIDE + 12
        assert len(each.jpeg) < 200_000


def test_a_video_that_cannot_be_read_any_more_is_named_and_the_others_are_drawn() -> None:
    class Torn(MovingDiscs):
        def __getitem__(self, index: int) -> RgbFrame:
            raise UnreadableMediaError(f"Frame {index} is damaged.")

    notes: list[str] = []
    good, torn = labeled_discs("good"), LabeledVideo("torn", Torn(), labeled_discs("torn").masks)
    scores = {"torn": {0: 0.5, 2: 0.5}, "good": {4: 0.5}}, {"torn": {0: 0.9, 2: 0.1}, "good": {4: 0.6}}
    [only] = compared_frames("the tracker", scores, [torn, good], (nothing, right), notes)
    assert (only.choice, only.video) == ("median", "good")
    assert notes == ["torn could not be shown: Frame 0 is damaged."]


def test_what_was_not_answered_is_drawn_as_nothing() -> None:
    [first, *_] = drawn([labeled_discs("one")], (lambda labeled, frames: {}, right))
    [same, *_] = drawn([labeled_discs("one")])
    assert first.jpeg == same.jpeg


def test_nothing_is_asked_of_videos_of_which_no_frame_tells() -> None:
    def never(labeled: LabeledVideo, frames: Sequence[int]) -> Mapping[int, Mapping[int, BoolMask]]:
        raise AssertionError((labeled, frames))

    assert compared_frames("the tracker", ({}, {}), [labeled_discs("one")], (never, never), []) == []
