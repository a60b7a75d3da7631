"""Cutie behind our protocol: the package's own masks where the rules agree, and our rules where they do not."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.peers import CutieCore
from benchmarks.speed import scene
from tam_backend.errors import InvalidInputError
from tam_backend.models.cutie_tracker.cutie_network import CutieFrame, CutieNetwork, Description
from tam_backend.models.cutie_tracker.cutie_quick import quicken
from tam_backend.models.cutie_tracker.cutie_tracker import CutieTracker
from tam_backend.models.protocols import Revision, TrackingStep
from tam_backend.models.xmem.xmem_config import MemoryConfig

SIDE = 106  # of the shorter side, padded to 112: 7 x 12 cells
UPSTREAM = MemoryConfig(permanent_memory=False)
Given = Callable[[int], tuple[Tensor | None, list[int] | None]]


def shown(index: int) -> tuple[Tensor, Tensor]:
    """An image of two coloured things that move, and their labels 1 and 2."""
    frame = scene(index // 2, 2, SIDE)
    return frame.image, frame.labels


def overlaps(expected: Tensor, got: Tensor) -> list[float]:
    masks = [(expected.argmax(0) == each, got.argmax(0) == each) for each in range(1, len(expected))]
    return [float((a & b).sum() / (a | b).sum().clamp(min=1)) for a, b in masks]


def first_mask_only(index: int) -> tuple[Tensor | None, list[int] | None]:
    return (shown(0)[1], [1, 2]) if index == 0 else (None, None)


def with_corrections(index: int) -> tuple[Tensor | None, list[int] | None]:
    """Of all objects at once: the core takes no others of known objects."""
    return (shown(index)[1], [1, 2]) if index in (0, 4) else (None, None)


@pytest.mark.parametrize("given", [first_mask_only, with_corrections])
def test_masks_are_those_of_the_packages_own_inference_core(
    published_cutie: Any, cutie: CutieNetwork, given: Given
) -> None:
    core, ours = CutieCore(published_cutie), CutieTracker(cutie, UPSTREAM)
    for index in range(30):
        image = shown(index)[0]
        expected, got = core.step(image, *given(index)), ours.step(image, *given(index))
        assert {*expected.argmax(0).unique().tolist()} == {*range(len(expected))}, "no object is lost"
        assert min(overlaps(expected, got)) >= 0.99, index
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_masks_of_an_object_that_joins_late_are_the_packages_too(published_cutie: Any, cutie: CutieNetwork) -> None:
    """Up to a thousandth: the core lets only those compete within the network that joined together."""
    core, ours = CutieCore(published_cutie), CutieTracker(cutie, UPSTREAM)
    for index in range(12):
        image, labels = shown(index)
        given = {0: (labels * (labels == 1), [1]), 3: (labels * (labels == 2), [2])}.get(index, (None, None))
        expected, got = core.step(image, *given), ours.step(image, *given)
        assert min(overlaps(expected, got)) >= 0.99, index
        torch.testing.assert_close(got, expected, atol=1e-4 if index < 4 else 5e-3, rtol=0)


def test_masks_are_the_packages_beyond_consolidations_too(published_cutie: Any, cutie: CutieNetwork) -> None:
    """Masks on the first 12 frames fill the working memory twice; all else is predicted from both memories."""
    core, ours = CutieCore(published_cutie), CutieTracker(cutie, UPSTREAM)
    for index in range(18):
        image, labels = shown(index)
        given = (labels, [1, 2]) if index < 14 else (None, None)
        expected, got = core.step(image, *given), ours.step(image, *given)
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)
    assert ours.memory.long_term_elements == 128


def test_the_base_network_agrees_with_the_package_as_well() -> None:
    from benchmarks.lively_cutie import lively_cutie

    network = lively_cutie("base", seed=1)
    core = CutieCore(network)
    ours = CutieTracker(CutieNetwork(quicken(copy.deepcopy(network), torch.device("cpu"))), UPSTREAM)
    for index in range(3):
        image = shown(index)[0]
        expected, got = core.step(image, *first_mask_only(index)), ours.step(image, *first_mask_only(index))
        torch.testing.assert_close(got, expected, atol=1e-4, rtol=0)


def test_lively_weights_let_masks_follow_their_objects(cutie: CutieNetwork) -> None:
    """Without it the comparisons above would say nothing."""
    tracker = CutieTracker(cutie)
    for index in range(8):
        image, labels = shown(index)
        probabilities = tracker.step(image, *first_mask_only(index))
    found = [float(((probabilities.argmax(0) == i) & (labels == i)).sum() / (labels == i).sum()) for i in (1, 2)]
    assert min(found) > 0.3, found


def test_an_answer_is_a_distribution_at_the_images_size(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    image, labels = shown(0)
    tracker.track(image, labels)
    step = tracker.track(shown(1)[0])
    assert step.object_ids == (1, 2)
    assert step.probabilities.shape == (3, *image.shape[1:]) and step.probabilities.dtype == torch.float32
    torch.testing.assert_close(step.probabilities.sum(0), torch.ones(image.shape[1:]))


def test_what_was_given_comes_back(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    image, labels = shown(0)
    assert torch.equal(tracker.track(image, labels).probabilities.argmax(0), labels)
    later, labels = shown(3)
    corrected = tracker.track(later, labels * (labels == 1), [1]).probabilities.argmax(0)
    assert torch.equal(corrected == 1, labels == 1)


def test_an_object_joins_late_and_the_first_one_goes_on(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    image, labels = shown(0)
    tracker.track(image, labels * (labels == 2), [2])
    tracker.track(shown(1)[0])
    image, labels = shown(2)
    joined = tracker.track(image, labels * (labels == 1), [1])
    assert joined.object_ids == (1, 2)
    after = tracker.track(shown(3)[0])
    assert after.object_ids == (1, 2)
    assert (after.probabilities.argmax(0) == 2).any(), "the other is still there"
    assert (after.probabilities.argmax(0) == 1).any()


def test_an_object_that_leaves_is_forgotten_in_all_memories(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    tracker.track(*shown(0))
    tracker.track(shown(1)[0])
    tracker.remove(1)
    assert tracker.object_ids == (2,)
    assert not any(name.endswith(".1") for name in tracker.export_memory())
    assert tracker.track(shown(2)[0]).object_ids == (2,)
    with pytest.raises(InvalidInputError, match="Object 1"):
        tracker.remove(1)


def test_a_keyframe_from_elsewhere_is_remembered_for_good_and_the_clock_stands(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    image, labels = shown(20)
    tracker.memorise(image, labels * (labels == 2), [2])
    tracker.track(*shown(0), [1, 2])
    assert tracker.memory.permanent_frames == 2
    step = tracker.track(shown(1)[0])
    assert step.object_ids == (1, 2) and (step.probabilities.argmax(0) == 2).any()


def test_an_object_known_from_elsewhere_alone_is_looked_for_at_once(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    image, labels = shown(0)
    tracker.memorise(image, labels * (labels == 2), [2])
    step = tracker.track(shown(1)[0])
    assert step.object_ids == (2,)
    assert (step.probabilities.argmax(0) == 1).any(), "the same thing, a frame later"


def test_keyframes_stay_when_all_else_has_aged(cutie: CutieNetwork) -> None:
    config = MemoryConfig(mem_every=1, min_mid_term_frames=2, max_mid_term_frames=3, num_prototypes=8)
    tracker = CutieTracker(cutie, config)
    for index in range(9):
        image, labels = shown(index)
        tracker.track(image, *((labels, [1, 2]) if index in (0, 4) else (None, None)))
    assert tracker.memory.permanent_frames == 2
    assert tracker.memory.long_term_elements > 0


def test_the_same_frames_give_the_same_masks(cutie: CutieNetwork) -> None:
    runs = []
    for _ in range(2):
        tracker = CutieTracker(cutie)
        runs.append([tracker.step(shown(index)[0], *first_mask_only(index)) for index in range(4)])
    assert all(torch.equal(a, b) for a, b in zip(*runs, strict=True))


def test_a_pass_goes_on_from_an_exported_memory(cutie: CutieNetwork, tmp_path: Path) -> None:
    first, second = CutieTracker(cutie), CutieTracker(cutie)
    for index in range(6):
        first.step(shown(index)[0], *first_mask_only(index))
    save_file(first.export_memory(), tmp_path / "memory.safetensors")
    second.import_memory(load_file(tmp_path / "memory.safetensors"))
    for index in range(6, 9):
        assert torch.equal(first.step(shown(index)[0]), second.step(shown(index)[0]))


def test_a_memory_with_a_part_missing_is_refused_and_nothing_changes(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    tracker.track(*shown(0))
    exported = tracker.export_memory()
    with pytest.raises(InvalidInputError, match="lacks 'times'"):
        tracker.import_memory({name: tensor for name, tensor in exported.items() if name != "times"})
    assert tracker.object_ids == (1, 2)


def test_a_revision_takes_the_place_of_the_prediction_in_answer_and_memory(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    tracker.track(*shown(0))
    image, labels = shown(1)
    seen: list[TrackingStep] = []

    def review(step: TrackingStep) -> Revision:
        seen.append(step)
        return Revision(labels * (labels == 1), (1,))

    step = tracker.track(image, review=review)
    assert torch.equal(step.probabilities.argmax(0) == 1, labels == 1)
    assert seen[0].reading is not None
    assert tracker.memory.working_frames == 2 and tracker.memory.permanent_frames == 1


def test_a_reading_tells_where_memory_saw_each_object(cutie: CutieNetwork) -> None:
    tracker = CutieTracker(cutie)
    image, labels = shown(0)
    assert tracker.track(image, labels).reading is None
    reading = tracker.track(image).reading
    assert reading is not None and reading.grid_hw == (7, 12)
    assert reading.affinity.shape == reading.similarity.shape == reading.indices.shape == (2, 84, 30)
    torch.testing.assert_close(reading.affinity.sum(2), torch.ones(2, 84))
    inside, outside = reading.foreground[0, 2, 4], reading.foreground[0, 0, 11]
    assert inside > 0.5 > outside, "object 1 is near the top left"


class Featherweight:
    """Stands in for `CutieNetwork` where only the memory's size matters: 4 cells, few channels, noise."""

    device = torch.device("cpu")
    channels = (4, 6, 2)
    summary_shape = (2, 4)

    def __init__(self) -> None:
        self._noise = torch.Generator().manual_seed(0)

    def _random(self, *shape: int) -> Tensor:
        return torch.rand(shape, generator=self._noise)

    def encode(self, image: Tensor) -> CutieFrame:
        cells = (2, 2)
        features = (self._random(1),) * 3
        shrinkage = 1 + self._random(1, 1, *cells)
        return CutieFrame(
            image, features, features[0], self._random(1, 4, *cells), shrinkage, self._random(1, 4, *cells)
        )

    def segment(
        self, frame: CutieFrame, readout: Tensor, sensory: Tensor, last_masks: Tensor, summaries: Tensor, update: bool
    ) -> tuple[Tensor, Tensor]:
        return self._random(1 + len(readout), *frame.image.shape[-2:]).softmax(0), sensory

    def describe(self, frame: CutieFrame, masks: Tensor, sensory: Tensor) -> Description:
        return Description(self._random(len(masks), 6, 2, 2), sensory, self._random(len(masks), *self.summary_shape))


def held_bytes(tracker: CutieTracker) -> int:
    return sum(tensor.numel() * tensor.element_size() for tensor in tracker.export_memory().values())


def test_memory_is_bounded_over_thousands_of_frames() -> None:
    config = replace(UPSTREAM, mem_every=2, num_prototypes=8, max_long_term_elements=50)
    network: Any = Featherweight()
    tracker = CutieTracker(network, config)
    image, mask = torch.zeros(3, 32, 32), torch.ones(32, 32, dtype=torch.int64)
    tracker.step(image, mask)
    sizes = []
    for index in range(3000):
        tracker.step(image)
        if index >= 1000:
            sizes.append(held_bytes(tracker))
    assert max(sizes[1000:]) <= max(sizes[:1000])
    assert tracker.memory.long_term_elements <= 50


@pytest.mark.parametrize(
    ("mask", "ids", "says"),
    [(None, None, "No object is known yet"), (None, [1], "without the mask"), (torch.ones(4, 4).long(), [1], "mask")],
)
def test_a_first_frame_that_tells_nothing_is_refused(
    cutie: CutieNetwork, mask: Tensor | None, ids: Sequence[int] | None, says: str
) -> None:
    with pytest.raises(InvalidInputError, match=says):
        CutieTracker(cutie).track(shown(0)[0], mask, ids)
