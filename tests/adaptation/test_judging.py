"""Judging asks the package's own inference, on the frames that people labeled."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from labeled_discs import labeled_discs
from synthetic import MovingDiscs

from tam_backend.adaptation.courses import SEGMENTER, TRACKER
from tam_backend.adaptation.judging import clicked, clicked_on, iou, score_all, tracked, tracked_on
from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.errors import UnreadableMediaError
from tam_backend.models.compact_tracker.compact_network import CompactNetwork
from tam_backend.models.kind_registry import EMBEDDED_DIR
from tam_backend.models.segmenters.click_network import ClickNetwork


@pytest.fixture(scope="module")
def tracker() -> CompactNetwork:
    network = TRACKER.loaded(EMBEDDED_DIR / TRACKER.file)
    assert isinstance(network, CompactNetwork)
    return network


@pytest.fixture(scope="module")
def segmenter() -> ClickNetwork:
    network = SEGMENTER.loaded(EMBEDDED_DIR / SEGMENTER.file)
    assert isinstance(network, ClickNetwork)
    return network


def never() -> None:
    pass


def test_what_is_easy_to_track_is_judged_well_on_every_labeled_frame_after_the_first(tracker: CompactNetwork) -> None:
    scores = tracked(tracker, labeled_discs("discs", [0, 3, 6, 9]), never)
    assert list(scores) == [3, 6, 9]
    assert min(scores.values()) > 0.8


def test_wrong_labels_are_judged_badly(tracker: CompactNetwork) -> None:
    labeled = labeled_discs("discs", [0, 3, 6])
    moved = {at: mask if at == 0 else np.roll(mask, 60, 1) for at, mask in labeled.masks.items()}
    assert max(tracked(tracker, LabeledVideo("moved", labeled.video, moved), never).values()) < 0.1


def test_tracking_begins_where_the_first_object_is_drawn(tracker: CompactNetwork) -> None:
    labeled = labeled_discs("discs", [0, 4, 8])
    masks = {**labeled.masks, 0: np.zeros_like(labeled.masks[0])}
    assert list(tracked(tracker, LabeledVideo("late", labeled.video, masks), never)) == [8]


def test_an_object_drawn_later_joins_then_and_is_judged_from_the_next_label_on(tracker: CompactNetwork) -> None:
    labeled = labeled_discs("discs", [0, 3, 6], discs=2)
    masks = {**labeled.masks, 0: np.where(labeled.masks[0] == 2, 0, labeled.masks[0])}
    scores = tracked(tracker, LabeledVideo("joining", labeled.video, masks), never)
    assert list(scores) == [3, 6]
    assert min(scores.values()) > 0.7


def test_nothing_is_judged_where_there_is_nothing_to_judge_by(tracker: CompactNetwork) -> None:
    video = MovingDiscs()
    empty = np.zeros(video.size_hw, np.uint8)
    assert tracked(tracker, LabeledVideo("empty", video, {0: empty, 5: empty}), never) == {}
    assert tracked(tracker, labeled_discs("single", [2]), never) == {}


def test_a_long_video_is_tracked_in_few_frames(tracker: CompactNetwork) -> None:
    labeled = labeled_discs("long", range(0, 120, 3), speed=0.5)
    video = MovingDiscs(frames=120, steps_xy=((0.5, 0.1),))
    tracked(tracker, LabeledVideo("long", video, labeled.masks), never)
    assert video.reads < 60


def test_clicks_find_the_disc(segmenter: ClickNetwork) -> None:
    scores = clicked(segmenter, labeled_discs("discs", [0, 6]), never)
    assert list(scores) == [0, 6]
    assert min(scores.values()) > 0.7


def test_masks_that_are_shown_are_those_that_were_judged(tracker: CompactNetwork, segmenter: ClickNetwork) -> None:
    labeled = labeled_discs("discs", [0, 3, 6, 9])
    scores, shown = tracked(tracker, labeled, never), tracked_on(tracker, labeled, [3, 6], never)
    assert list(shown) == [3, 6]
    assert {at: iou(shown[at][1], labeled.masks[at] == 1) for at in shown} == {at: scores[at] for at in (3, 6)}
    clicks = clicked_on(segmenter, labeled, [6], never)
    assert list(clicks) == [6]
    assert iou(clicks[6][1], labeled.masks[6] == 1) > 0.7


def test_no_more_is_tracked_than_to_the_last_frame_that_is_shown(tracker: CompactNetwork) -> None:
    labeled = labeled_discs("discs", [0, 3, 6, 9])
    video = MovingDiscs()
    tracked_on(tracker, LabeledVideo("discs", video, labeled.masks), [3], never)
    assert video.reads == 4
    assert tracked_on(tracker, labeled_discs("single", [2]), [2], never) == {}


def test_judging_can_be_stopped(tracker: CompactNetwork, segmenter: ClickNetwork) -> None:
    def stop() -> None:
        raise InterruptedError

    for judge, network in ((tracked, tracker), (clicked, segmenter)):
        with pytest.raises(InterruptedError):
            judge(network, labeled_discs("discs"), stop)  # type: ignore[operator]


def test_a_video_that_cannot_be_read_is_named_and_the_others_are_judged() -> None:
    def score(labeled: LabeledVideo) -> dict[int, float]:
        if labeled.name == "torn":
            raise UnreadableMediaError("Frame 3 is damaged.")
        return {0: 1.0}

    notes: list[str] = []
    assert score_all([labeled_discs("torn"), labeled_discs("good")], score, notes) == {"good": {0: 1.0}}
    assert notes == ["torn could not be measured: Frame 3 is damaged."]


def test_judging_leaves_no_gradients(tracker: CompactNetwork) -> None:
    tracked(tracker, labeled_discs("discs", [0, 2]), never)
    assert all(each.grad is None for each in tracker.parameters())
    assert torch.is_grad_enabled()
