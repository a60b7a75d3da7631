"""What the tracker is not asked for has no part in what it learns."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor, nn

from tam_backend.adaptation.courses import TRACKER
from tam_backend.adaptation.learning import TrackRules
from tam_backend.adaptation.track_lesson import UNKNOWN, TrackLesson
from tam_backend.models.kind_registry import EMBEDDED_DIR

SIDE, LENGTH = 64, 3


@pytest.fixture(scope="module")
def network() -> nn.Module:
    return TRACKER.loaded(EMBEDDED_DIR / TRACKER.file)


def clips() -> tuple[Tensor, Tensor]:
    """Return two clips, (2, T, 3, S, S) and (2, T, S, S), in which two squares go to the right."""
    labels = torch.zeros(2, LENGTH, SIDE, SIDE, dtype=torch.uint8)
    for t in range(LENGTH):
        labels[:, t, 8:28, 8 + 4 * t : 30 + 4 * t] = 1
        labels[:, t, 44:56, 8 + 4 * t : 20 + 4 * t] = 2
    frames = torch.randint(0, 256, (2, LENGTH, 3, SIDE, SIDE), generator=torch.Generator().manual_seed(1))
    return frames.to(torch.uint8), labels


def loss(network: nn.Module, frames: Tensor, labels: Tensor, hide_second: float = 0.0) -> float:
    torch.manual_seed(2)
    lesson = TrackLesson(TrackRules(hide_second=hide_second, drop_previous=0.0))
    return float(lesson(network, frames, labels, 0.0)[0].detach())


def test_a_second_object_that_is_not_given_is_background(network: nn.Module) -> None:
    frames, labels = clips()
    without = labels.where(labels != 2, 0)
    assert loss(network, frames, labels, hide_second=1) == pytest.approx(loss(network, frames, without), rel=0.01)
    assert loss(network, frames, labels) != pytest.approx(loss(network, frames, without), rel=0.05)


def test_each_clip_of_a_batch_counts_by_the_objects_that_are_asked_for(network: nn.Module) -> None:
    frames, labels = clips()
    labels[1] = labels[1].where(labels[1] != 2, 0)
    apart = [loss(network, frames[i : i + 1], labels[i : i + 1]) for i in (0, 1)]
    assert loss(network, frames, labels) == pytest.approx((2 * apart[0] + apart[1]) / 3, rel=0.01)


def test_frames_that_nobody_drew_are_not_judged(network: nn.Module) -> None:
    frames, labels = clips()
    labels[:, 1:] = UNKNOWN
    assert loss(network, frames, labels) == 0
