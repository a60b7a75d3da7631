"""What is measured with wrong labels is what its names say."""

from __future__ import annotations

import numpy as np
import pytest

from benchmarks.bad_labels import KINDS, SpoiledMasks
from tam_backend.adaptation.labeled import IdMask

FRAMES = range(0, 40, 2)


def square(at: int) -> IdMask:
    mask = np.zeros((60, 80), np.uint8)
    mask[10:30, 5 + at // 2 : 25 + at // 2] = 1
    return mask


def wrong(kind: str, video: int) -> list[int]:
    """Return the frames whose masks are not as they were, of which all can be read."""
    true = {at: square(at) for at in FRAMES}
    masks = SpoiledMasks(true, KINDS[kind], video)
    assert list(masks) == list(FRAMES)
    assert len(masks) == len(FRAMES)
    return [at for at, mask in masks.items() if not np.array_equal(mask, true[at])]


@pytest.mark.parametrize("video", [0, 1])
def test_few_masks_of_every_video_are_anywhere(video: int) -> None:
    assert 1 <= len(wrong("anywhere", video)) <= 6


@pytest.mark.parametrize("kind", ["two things", "whole and part"])
@pytest.mark.parametrize("video", [0, 1])
def test_annotators_take_turns(kind: str, video: int) -> None:
    assert wrong(kind, video) == list(FRAMES)[1::2]


@pytest.mark.parametrize("kind", ["other meaning", "empty masks"])
def test_what_changes_between_videos_is_the_second_one(kind: str) -> None:
    assert wrong(kind, 0) == []
    assert wrong(kind, 1) == list(FRAMES)


def test_a_part_is_a_half_and_empty_is_empty() -> None:
    part = SpoiledMasks({0: square(0)}, KINDS["other meaning"], 1)[0]
    assert 0.4 < part.sum() / square(0).sum() < 0.6
    assert not SpoiledMasks({0: square(0)}, KINDS["empty masks"], 1)[0].any()
