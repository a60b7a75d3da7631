"""What the compact tracker promises beyond the protocol, which test_every_tracker.py holds it to."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from tam_backend.models.compact_tracker.compact_tracker import CompactTracker
from tam_backend.models.protocols import Models, Revision, TrackingStep
from tam_backend.types import BoolMask, RgbFrame

Scene = Callable[[int], tuple[RgbFrame, BoolMask]]
AsImage = Callable[[RgbFrame], Tensor]


@pytest.fixture
def tracker(compact: Models) -> CompactTracker:
    made = compact.new_tracker()
    assert isinstance(made, CompactTracker)
    return made


def _tiny(seed: int, size_hw: tuple[int, int] = (40, 70)) -> Tensor:
    return torch.rand(3, *size_hw, generator=torch.Generator().manual_seed(seed))


def _labels(size_hw: tuple[int, int] = (40, 70), **boxes: tuple[int, int, int, int]) -> Tensor:
    """Draw (x0, y0, x1, y1) boxes; `o3=...` is object 3."""
    labels = torch.zeros(size_hw, dtype=torch.int64)
    for name, (x0, y0, x1, y1) in boxes.items():
        labels[y0:y1, x0:x1] = int(name[1:])
    return labels


def test_a_moving_object_is_followed(
    tracker: CompactTracker, scene: Scene, as_image: AsImage, iou: Callable[[BoolMask, BoolMask], float]
) -> None:
    frame, mask = scene(0)
    tracker.step(as_image(frame), torch.from_numpy(mask.astype(np.int64)))
    for index in range(1, 13):
        frame, mask = scene(index)
        probabilities = tracker.step(as_image(frame))
        assert iou(probabilities.argmax(0).numpy() == 1, mask) > 0.85


def test_given_mask_comes_out_unchanged_and_channels_are_in_the_order_of_ids(tracker: CompactTracker) -> None:
    labels = _labels(o9=(5, 5, 30, 30), o2=(40, 5, 60, 30))
    step = tracker.track(_tiny(0), labels)
    assert step.object_ids == (2, 9) == tracker.object_ids
    expected = torch.stack([labels == 0, labels == 2, labels == 9]).float()
    assert torch.equal(step.probabilities, expected)
    assert step.reading is None


def test_correction_of_one_object_leaves_the_others_their_prediction_outside_of_it(tracker: CompactTracker) -> None:
    tracker.step(_tiny(0), _labels(o1=(5, 5, 30, 30), o2=(40, 5, 60, 30)))
    given = _labels(o2=(20, 10, 50, 35)) == 2
    probabilities = tracker.step(_tiny(1), given.long() * 2, [2])
    assert torch.equal(probabilities[2], given.float())
    assert (probabilities[1][given] == 0).all()
    assert (probabilities[1][~given] > 0).any()
    torch.testing.assert_close(probabilities.sum(0), torch.ones(40, 70))


def test_late_object_joins_and_reads_only_what_was_stored_since(tracker: CompactTracker) -> None:
    tracker.step(_tiny(0), _labels(o5=(5, 5, 30, 30)))
    tracker.step(_tiny(1))
    joined = tracker.track(_tiny(2), _labels(o2=(40, 5, 60, 30)), [2])
    assert joined.object_ids == (2, 5)
    assert joined.reading is not None
    assert (joined.reading.affinity[0] == 0).all()  # nothing was read for the one that has just joined
    step = tracker.track(_tiny(3))
    assert step.reading is not None
    cells = step.reading.grid_hw[0] * step.reading.grid_hw[1]
    late = step.reading.indices[0][step.reading.affinity[0] > 0]
    assert late.min() >= cells  # the first frame's elements come first in the reading order
    assert (step.reading.indices[1] < cells).any()


def test_reading_has_one_softmax_per_object_and_cell(tracker: CompactTracker) -> None:
    tracker.step(_tiny(0), _labels(o1=(5, 5, 30, 30), o2=(40, 5, 60, 30)))
    reading = tracker.track(_tiny(1)).reading
    assert reading is not None
    height, width = reading.grid_hw
    assert (height, width) == (64 // 16, 96 // 16)
    assert reading.affinity.shape == reading.similarity.shape == reading.indices.shape
    assert reading.affinity.shape[:2] == (2, height * width)
    torch.testing.assert_close(reading.affinity.sum(2), torch.ones(2, height * width))
    assert reading.foreground.shape == (2, height, width)
    assert ((reading.foreground >= 0) & (reading.foreground <= 1 + 1e-5)).all()


def test_memory_and_reading_stay_flat_over_many_frames_and_corrections(tracker: CompactTracker) -> None:
    mask = _labels((32, 32), o1=(4, 4, 20, 20))
    seen = []
    for index in range(150):
        tracker.step(_tiny(index, (32, 32)), mask if index % 7 == 0 else None)
        seen.append(tracker.memory_elements)
    cells = (32 // 16) ** 2
    assert max(seen) <= (8 + 4 + 1) * cells
    assert max(seen[:75]) == max(seen[75:])


def test_memorised_keyframes_stay_bounded_and_do_not_move_the_clock(compact: Models) -> None:
    plain, informed = compact.new_tracker(), compact.new_tracker()
    assert isinstance(informed, CompactTracker)
    mask = _labels((32, 32), o1=(4, 4, 20, 20))
    for tracker in (plain, informed):
        tracker.step(_tiny(0, (32, 32)), mask)
    for seed in range(100, 140):
        informed.memorise(_tiny(seed, (32, 32)), mask)
    assert informed.memory_elements == 8 * (32 // 16) ** 2
    assert not torch.equal(plain.step(_tiny(1, (32, 32))), informed.step(_tiny(1, (32, 32))))


def test_memorising_before_the_first_frame_is_enough_to_track(
    tracker: CompactTracker, scene: Scene, as_image: AsImage, iou: Callable[[BoolMask, BoolMask], float]
) -> None:
    frame, mask = scene(3)
    tracker.memorise(as_image(frame), torch.from_numpy(mask.astype(np.int64)))
    assert tracker.object_ids == (1,)
    frame, mask = scene(0)
    assert iou(tracker.step(as_image(frame)).argmax(0).numpy() == 1, mask) > 0.8


def test_mask_that_is_not_permanent_rolls_out_but_a_joining_object_is_kept(tracker: CompactTracker) -> None:
    mask = _labels((32, 32), o1=(4, 4, 20, 20))
    for index in range(40):
        tracker.track(_tiny(index, (32, 32)), mask, permanent=False)
    assert tracker.memory_elements <= (1 + 4 + 1) * (32 // 16) ** 2
    assert torch.isfinite(tracker.step(_tiny(99, (32, 32)))).all()


def test_last_frame_is_not_memorised(tracker: CompactTracker) -> None:
    tracker.step(_tiny(0), _labels(o1=(5, 5, 30, 30)))
    before = tracker.memory_elements
    tracker.step(_tiny(1), last=True)
    assert tracker.memory_elements == before


def test_revision_takes_the_place_of_the_prediction_in_answer_and_memory(compact: Models) -> None:
    plain, revised = compact.new_tracker(), compact.new_tracker()
    for tracker in (plain, revised):
        tracker.step(_tiny(0), _labels(o1=(5, 5, 30, 30), o2=(40, 5, 60, 30)))
    better = _labels(o1=(10, 10, 35, 38))
    seen: list[TrackingStep] = []

    def review(step: TrackingStep) -> Revision:
        seen.append(step)
        return Revision(better, (1,))

    predicted = plain.track(_tiny(1))
    step = revised.track(_tiny(1), review=review)
    torch.testing.assert_close(seen[0].probabilities, predicted.probabilities)
    assert torch.equal(step.probabilities[1], (better == 1).float())
    torch.testing.assert_close(step.probabilities[2], predicted.probabilities[2] * (better != 1))
    torch.testing.assert_close(step.probabilities.sum(0), torch.ones(40, 70))
    assert not torch.allclose(revised.step(_tiny(2)), plain.step(_tiny(2)), atol=1e-3)


def test_a_revised_frame_rolls_out_of_memory_like_any_other(tracker: CompactTracker) -> None:
    better = _labels(o1=(10, 10, 35, 38))
    tracker.step(_tiny(0), _labels(o1=(5, 5, 30, 30)))
    elements = []
    for index in range(1, 12):
        tracker.track(_tiny(index), review=lambda _: Revision(better, (1,)))
        elements.append(tracker.memory_elements)
    assert elements[0] > elements[-1] / 5
    assert elements[5:] == [elements[5]] * 6
