"""What every tracker does alike, on weights that really move masks: the protocol, word by word.

To try one more: a fixture in `TRACKERS` that returns its factory.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
import torch
from torch import Tensor, nn

from tam_backend.errors import InvalidInputError
from tam_backend.models.protocols import Models, Revision, Tracker, TrackerFactory, TrackingStep
from tam_backend.models.xmem import XMemConfig, XMemTracker
from tam_backend.models.xmem.xmem_config import MemoryConfig

if TYPE_CHECKING:
    from tam_backend.models.xmem.network import XMemNetwork

CPU = torch.device("cpu")
ALMOST = 1e-5
TRACKERS = ("compact_trackers", "xmem_trackers", "cutie_trackers", "sam2_trackers")


@pytest.fixture(scope="session")
def compact_trackers(compact: Models) -> TrackerFactory:
    return compact.new_tracker


@pytest.fixture(scope="session")
def xmem_trackers(xmem: XMemNetwork) -> TrackerFactory:
    """With a memory that is full after some frames."""
    config = XMemConfig(
        mem_every=2, min_mid_term_frames=2, max_mid_term_frames=4, num_prototypes=4, max_long_term_elements=30
    )
    return lambda: XMemTracker(xmem, config)


@pytest.fixture(scope="session")
def cutie_trackers() -> TrackerFactory:
    """With a memory that is full after some frames."""
    pytest.importorskip("cutie", reason="an extra")
    from benchmarks.lively_cutie import lively_cutie
    from tam_backend.models.cutie_tracker.cutie_network import CutieNetwork
    from tam_backend.models.cutie_tracker.cutie_quick import quicken
    from tam_backend.models.cutie_tracker.cutie_tracker import CutieTracker

    network = CutieNetwork(quicken(lively_cutie("small"), CPU))
    config = MemoryConfig(
        mem_every=2, min_mid_term_frames=2, max_mid_term_frames=4, num_prototypes=4, max_long_term_elements=30
    )
    return lambda: CutieTracker(network, config)


@pytest.fixture(scope="session")
def sam2_trackers() -> TrackerFactory:
    pytest.importorskip("sam2", reason="an extra")
    from benchmarks.lively_sam2 import enliven, tiny_sam2
    from tam_backend.models.sam2_tracker.sam2_tracker import Sam2Tracker

    network = enliven(tiny_sam2())
    return lambda: Sam2Tracker(network, CPU, fast=False)


@pytest.fixture(params=TRACKERS, ids=lambda name: name.removesuffix("_trackers"))
def new_tracker(request: pytest.FixtureRequest) -> TrackerFactory:
    factory: TrackerFactory = request.getfixturevalue(request.param)
    return factory


@pytest.fixture
def tracker(new_tracker: TrackerFactory) -> Tracker:
    return new_tracker()


def image(seed: int, size_hw: tuple[int, int] = (40, 70)) -> Tensor:
    return torch.rand(3, *size_hw, generator=torch.Generator().manual_seed(seed))


def labels(size_hw: tuple[int, int] = (40, 70), **boxes: tuple[int, int, int, int]) -> Tensor:
    """Draw (x0, y0, x1, y1) boxes; `o3=...` is object 3."""
    drawn = torch.zeros(size_hw, dtype=torch.int64)
    for name, (x0, y0, x1, y1) in boxes.items():
        drawn[y0:y1, x0:x1] = int(name[1:])
    return drawn


def assert_same(probability: Tensor, expected: Tensor) -> None:
    """XMem's probabilities, like its authors', come only this near to 0 and 1."""
    torch.testing.assert_close(probability, expected.float(), atol=ALMOST, rtol=0)


def held_bytes(tracker: Tracker) -> int:
    """Count the bytes of all tensors that a tracker holds, its network left out."""
    storages = {
        tensor.untyped_storage().data_ptr(): tensor.untyped_storage().nbytes() for tensor in _tensors(tracker, set())
    }
    return sum(storages.values())


def _tensors(value: object, seen: set[int]) -> Iterator[Tensor]:
    if id(value) in seen or isinstance(value, nn.Module):
        return
    seen.add(id(value))
    if isinstance(value, Tensor):
        yield value
        return
    parts = [*value.values()] if isinstance(value, dict) else [*value] if isinstance(value, list | tuple) else []
    for part in (*parts, *getattr(value, "__dict__", {}).values()):
        yield from _tensors(part, seen)


TWO = labels(o1=(5, 5, 30, 30), o2=(40, 5, 60, 30))


def test_the_weights_move_masks(tracker: Tracker) -> None:
    tracker.step(image(0), TWO)
    answers = [tracker.step(image(index)) for index in range(1, 4)]
    assert all(0.001 < answer[1:].sum() / answer.sum() < 0.999 for answer in answers)
    assert not torch.allclose(answers[0], answers[2], atol=1e-3)


def test_probabilities_sum_to_one_at_the_size_of_the_image(tracker: Tracker) -> None:
    tracker.step(image(0), TWO)
    probabilities = tracker.step(image(1))
    assert (probabilities.shape, probabilities.dtype) == ((3, 40, 70), torch.float32)
    torch.testing.assert_close(probabilities.sum(0), torch.ones(40, 70))


def test_what_another_thread_encoded_ahead_gives_the_same_masks(new_tracker: TrackerFactory) -> None:
    at_once, ahead = new_tracker(), new_tracker()
    with ThreadPoolExecutor(1) as pool:
        encoded = [pool.submit(ahead.encode, image(index)) for index in range(4)]
    for index, found in enumerate(encoded):
        expected = at_once.track(image(index), TWO if index == 0 else None)
        step = ahead.track(found.result(), TWO if index == 0 else None)
        assert torch.equal(step.probabilities, expected.probabilities)
    with pytest.raises(InvalidInputError, match="must be RGB"):
        ahead.encode(255 * image(0))


def test_a_given_mask_comes_out_unchanged_and_channels_are_in_the_order_of_ids(tracker: Tracker) -> None:
    given = labels(o9=(5, 5, 30, 30), o2=(40, 5, 60, 30))
    step = tracker.track(image(0), given)
    assert step.object_ids == (2, 9) == tracker.object_ids
    assert_same(step.probabilities, torch.stack([given == 0, given == 2, given == 9]))
    assert step.reading is None


def test_a_correction_of_one_object_leaves_the_others_their_prediction_outside_of_it(tracker: Tracker) -> None:
    tracker.step(image(0), TWO)
    given = labels(o2=(20, 10, 50, 35)) == 2
    probabilities = tracker.step(image(1), given.long() * 2, [2])
    assert_same(probabilities[2], given)
    assert (probabilities[1][given] < ALMOST).all()
    assert (probabilities[1][~given] > 0).any()
    torch.testing.assert_close(probabilities.sum(0), torch.ones(40, 70))


def test_a_correction_on_any_frame_changes_what_follows(new_tracker: TrackerFactory) -> None:
    plain, corrected = new_tracker(), new_tracker()
    for tracker in (plain, corrected):
        tracker.step(image(0), TWO)
        tracker.step(image(1))
    plain.step(image(2))
    corrected.step(image(2), labels(o1=(20, 15, 60, 38)), [1])
    assert not torch.allclose(plain.step(image(3)), corrected.step(image(3)), atol=1e-3)


def test_labels_that_the_mask_does_not_speak_for_do_not_join(tracker: Tracker) -> None:
    step = tracker.track(image(0), TWO, [1])
    assert step.object_ids == (1,)
    assert_same(step.probabilities[1], TWO == 1)


def test_an_object_that_the_mask_speaks_for_but_does_not_show_is_absent(tracker: Tracker) -> None:
    step = tracker.track(image(0), labels(o1=(5, 5, 30, 30)), [1, 4])
    assert step.object_ids == (1, 4)
    assert (step.probabilities[2] < ALMOST).all()
    assert torch.isfinite(tracker.step(image(1))).all()


def test_objects_join_on_any_frame(tracker: Tracker) -> None:
    tracker.step(image(0), labels(o5=(5, 5, 30, 30)))
    tracker.step(image(1))
    joining = labels(o2=(40, 5, 60, 30))
    joined = tracker.track(image(2), joining, [2])
    assert joined.object_ids == (2, 5)
    assert_same(joined.probabilities[1], joining == 2)
    after = tracker.track(image(3))
    assert after.object_ids == (2, 5) and torch.isfinite(after.probabilities).all()


def test_a_removed_object_is_forgotten_and_may_come_back(tracker: Tracker) -> None:
    tracker.step(image(0), TWO)
    tracker.step(image(1))
    tracker.remove(1)
    assert tracker.object_ids == (2,)
    assert tracker.track(image(2)).object_ids == (2,)
    assert tracker.track(image(3), labels(o1=(0, 0, 9, 9)), [1]).object_ids == (1, 2)
    with pytest.raises(InvalidInputError, match="7"):
        tracker.remove(7)


def test_memory_does_not_grow_with_the_frames(tracker: Tracker) -> None:
    """With the keyframes of a human it may; they are few."""
    given = labels((32, 32), o1=(4, 4, 20, 20), o2=(20, 20, 30, 30))
    held = []
    for index in range(80):
        tracker.step(image(index, (32, 32)), given if index in (0, 10) else None)
        if index == 5:
            tracker.memorise(image(1000, (32, 32)), given)
        held.append(held_bytes(tracker))
    assert min(held) > 0, "the memory was found"
    assert max(held[50:]) <= max(held[:50])


def test_a_mask_that_is_not_permanent_ages_but_the_frame_on_which_an_object_joins_does_not(tracker: Tracker) -> None:
    given = labels((32, 32), o1=(4, 4, 20, 20))
    held = []
    for index in range(40):
        tracker.track(image(index, (32, 32)), given, permanent=False)
        held.append(held_bytes(tracker))
    assert max(held[30:]) <= max(held[:30])
    assert torch.isfinite(tracker.step(image(99, (32, 32)))).all()


def test_the_last_frame_is_not_memorised(new_tracker: TrackerFactory) -> None:
    short, long = new_tracker(), new_tracker()
    for tracker in (short, long):
        tracker.step(image(0), TWO)
    before = held_bytes(short)
    ended = short.step(image(1), last=True)
    assert torch.equal(ended, long.step(image(1)))
    assert held_bytes(short) <= before + 2 * ended.numel() * ended.element_size(), "at most the answer itself"


def test_a_keyframe_from_elsewhere_is_read(new_tracker: TrackerFactory) -> None:
    plain, informed = new_tracker(), new_tracker()
    for tracker in (plain, informed):
        tracker.step(image(0), TWO)
    informed.memorise(image(9), labels(o1=(30, 5, 60, 35)), [1])
    assert not torch.equal(plain.step(image(1)), informed.step(image(1)))


def test_a_keyframe_from_elsewhere_is_enough_to_track(tracker: Tracker) -> None:
    tracker.memorise(image(9), labels(o3=(5, 5, 30, 30)))
    assert tracker.object_ids == (3,)
    step = tracker.track(image(0))
    assert step.object_ids == (3,) and torch.isfinite(step.probabilities).all()


def test_memorised_objects_join(tracker: Tracker) -> None:
    tracker.step(image(0), labels(o3=(5, 5, 30, 30)))
    tracker.memorise(image(9), labels(o1=(5, 5, 30, 30)))
    assert tracker.object_ids == (1, 3)
    assert tracker.track(image(1)).object_ids == (1, 3)


def test_a_mask_without_an_object_cannot_be_memorised(tracker: Tracker) -> None:
    with pytest.raises(InvalidInputError, match="memorise"):
        tracker.memorise(image(0), labels())


def test_the_same_input_gives_the_same_output_whatever_another_tracker_does(new_tracker: TrackerFactory) -> None:
    def run(between: Tracker | None) -> Tensor:
        tracker = new_tracker()
        tracker.step(image(0), TWO)
        answers = []
        for index in range(1, 8):
            if between is not None:
                between.step(image(50 + index), labels(o4=(0, 0, 20, 20)))
            answers.append(tracker.step(image(index)))
        return torch.stack(answers)

    assert torch.equal(run(None), run(new_tracker()))


@pytest.mark.parametrize("size_hw", [(1, 1), (1, 50), (33, 65), (16, 16)])
def test_frames_of_any_size_keep_their_size(size_hw: tuple[int, int], tracker: Tracker) -> None:
    given = torch.ones(size_hw, dtype=torch.uint8)
    assert_same(tracker.step(image(0, size_hw), given)[1], torch.ones(size_hw))
    probabilities = tracker.step(image(1, size_hw))
    assert probabilities.shape == (2, *size_hw)
    assert torch.isfinite(probabilities).all()


@pytest.mark.parametrize("mask", [None, labels()], ids=["no mask", "empty mask"])
def test_a_first_frame_without_an_object_is_refused_and_changes_nothing(mask: Tensor | None, tracker: Tracker) -> None:
    with pytest.raises(InvalidInputError, match="mask with the first frame"):
        tracker.step(image(0), mask)
    assert held_bytes(tracker) == 0 and tracker.object_ids == ()
    tracker.step(image(0, (20, 30)), labels((20, 30), o1=(2, 2, 9, 9)))  # of another size than the refused one


def test_frames_of_another_size_are_refused(tracker: Tracker) -> None:
    tracker.step(image(0), labels(o1=(5, 5, 30, 30)))
    with pytest.raises(InvalidInputError, match="40x71"):
        tracker.step(image(0, (40, 71)))
    tracker.step(image(1))  # and the tracker still works


@pytest.mark.parametrize(
    ("given", "mask", "object_ids"),
    [
        (torch.zeros(1, 8, 8), torch.ones(8, 8, dtype=torch.int64), None),
        (torch.zeros(3, 8, 8, dtype=torch.uint8), torch.ones(8, 8, dtype=torch.int64), None),
        (torch.zeros(3, 0, 8), torch.ones(0, 8, dtype=torch.int64), None),
        (torch.zeros(3, 8, 8), torch.ones(8, 9, dtype=torch.int64), None),
        (torch.zeros(3, 8, 8), torch.ones(8, 8), None),
        (torch.zeros(3, 8, 8), torch.full((8, 8), -1), None),
        (torch.zeros(3, 8, 8), torch.ones(8, 8, dtype=torch.int64), [0]),
        (torch.zeros(3, 8, 8), None, [1]),
    ],
    ids=["1 channel", "uint8", "no pixels", "mask size", "float mask", "negative label", "id 0", "ids without mask"],
)
def test_input_that_does_not_fit_is_refused(
    given: Tensor, mask: Tensor | None, object_ids: list[int] | None, tracker: Tracker
) -> None:
    with pytest.raises(InvalidInputError):
        tracker.track(given, mask, object_ids)


def test_a_revision_takes_the_place_of_the_prediction_in_answer_and_memory(new_tracker: TrackerFactory) -> None:
    plain, revised = new_tracker(), new_tracker()
    for tracker in (plain, revised):
        tracker.step(image(0), TWO)
    better = labels(o1=(10, 10, 35, 38))
    seen: list[TrackingStep] = []

    def review(step: TrackingStep) -> Revision:
        seen.append(step)
        return Revision(better, (1,))

    predicted = plain.track(image(1))
    step = revised.track(image(1), review=review)
    torch.testing.assert_close(seen[0].probabilities, predicted.probabilities)
    assert_same(step.probabilities[1], better == 1)
    assert (step.probabilities[2][better == 1] < ALMOST).all(), "the other object has none of its pixels"
    torch.testing.assert_close(step.probabilities.sum(0), torch.ones(40, 70))
    assert not torch.allclose(revised.step(image(2)), plain.step(image(2)), atol=1e-3)


def test_nothing_changes_without_a_revision_and_given_masks_are_not_reviewed(new_tracker: TrackerFactory) -> None:
    plain, reviewed = new_tracker(), new_tracker()
    asked: list[TrackingStep] = []
    for index in range(4):
        given = labels(o1=(5, 5, 30, 30)) if index in (0, 2) else None
        step = reviewed.track(image(index), given, review=asked.append)  # type: ignore[func-returns-value]
        assert torch.equal(step.probabilities, plain.step(image(index), given))
    assert len(asked) == 2


def test_a_reading_says_what_was_read_for_each_object(tracker: Tracker) -> None:
    """A tracker that cannot say (`TrackerKind.explains`) gives none."""
    tracker.step(image(0), TWO)
    reading = tracker.track(image(1)).reading
    if reading is not None:
        height, width = reading.grid_hw
        assert reading.affinity.shape == reading.similarity.shape == reading.indices.shape
        assert reading.affinity.shape[:2] == (2, height * width)
        torch.testing.assert_close(reading.affinity.sum(2), torch.ones(2, height * width))
        assert reading.foreground.shape == (2, height, width)
        assert ((reading.foreground >= 0) & (reading.foreground <= 1 + 1e-5)).all()
