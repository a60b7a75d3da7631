from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

from benchmarks.lively_weights import textured
from tam_backend.errors import InvalidInputError
from tam_backend.models.protocols import Revision, Tracker, TrackingStep
from tam_backend.models.xmem import XMemConfig, XMemTracker, three_memories
from tam_backend.models.xmem.network import XMemNetwork

SIZE_HW = (44, 70)  # padded to 48x80: 15 cells
UPSTREAM = XMemConfig(permanent_memory=False)
TINY = replace(
    UPSTREAM, mem_every=2, min_mid_term_frames=2, max_mid_term_frames=4, num_prototypes=12, max_long_term_elements=30
)


def scene(index: int) -> tuple[Tensor, Tensor]:
    """Two coloured boxes that move over texture, and their labels 1 and 2."""
    image = 0.3 + 0.3 * textured(index // 4, SIZE_HW)
    labels = torch.zeros(SIZE_HW, dtype=torch.int64)
    labels[6:26, 4 + index : 26 + index] = 1
    labels[24:42, 44 - index : 66 - index] = 2
    image[:, labels == 1] = torch.tensor([0.9, 0.2, 0.1])[:, None]
    image[:, labels == 2] = torch.tensor([0.1, 0.3, 0.9])[:, None]
    return image, labels


@pytest.fixture
def tracker(xmem: XMemNetwork) -> XMemTracker:
    return XMemTracker(xmem)


@dataclass
class NaiveFrame:
    key: Tensor
    shrinkage: Tensor
    selection: Tensor
    values: dict[int, Tensor]
    use: Tensor
    life: Tensor


@dataclass
class Naive:
    """The specification's rules, one after the other, dense and slow: no chunks, no gather, no shared code of ours.

    Elements are frames of one cell each, so that any of them can go by itself.
    """

    network: XMemNetwork
    config: XMemConfig
    working: list[list[NaiveFrame]] = field(default_factory=list)
    long_term: list[NaiveFrame] = field(default_factory=list)
    hidden: dict[int, Tensor] = field(default_factory=dict)
    time: int = -1
    last_memory: int = 0
    last_deep: int | None = None

    def step(self, image: Tensor, mask: Tensor | None, ids: Sequence[int] | None, last: bool = False) -> Tensor:
        self.time += 1
        config = self.config
        bottom, right = -image.shape[1] % 16, -image.shape[2] % 16
        pads = (right // 2, right - right // 2, bottom // 2, bottom - bottom // 2)
        mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
        normal = torch.nn.functional.pad((image - mean[:, None, None]) / std[:, None, None], pads)
        frame = self.network.encode_key(normal[None])
        stored = not last and (mask is not None or self.time - self.last_memory >= config.mem_every)
        known = sorted(self.hidden)
        given = [] if mask is None else sorted(ids if ids is not None else set(mask.unique().tolist()) - {0})
        planes: dict[int, Tensor] = {}
        if not set(known) <= set(given):
            readout = self.read(frame.key[0].flatten(1).T, frame.selection[0].flatten(1).T, known)
            h, w = frame.key.shape[-2:]
            readout = readout.transpose(1, 2).reshape(len(known), -1, h, w)
            hidden = torch.stack([self.hidden[i] for i in known])
            update = not last and (config.deep_update_every > 0 or not stored)
            logits, hidden = self.network.decode(frame, readout, hidden, update)
            self.hidden.update(zip(known, hidden, strict=True))
            probabilities = self.compete(logits.sigmoid())
            planes = dict(zip(known, probabilities[1:], strict=True))
        if mask is not None:
            padded = torch.nn.functional.pad(mask, pads)
            taken = torch.stack([padded == i for i in given]).any(0)
            planes = {i: plane.masked_fill(taken, 0) for i, plane in planes.items()}
            planes.update({i: (padded == i).float() for i in given})
            probabilities = self.compete(torch.stack([planes[i] for i in sorted(planes)]))
            for i in given:
                self.hidden.setdefault(i, torch.zeros(64, *frame.key.shape[-2:]))
        known = sorted(self.hidden)
        if stored:
            values = self.network.encode_value(frame, probabilities[1:])
            self.store(frame.key[0], frame.shrinkage[0], frame.selection[0], dict(zip(known, values, strict=True)))
            self.last_memory = self.time
            due = self.last_deep is None or self.time - self.last_deep >= config.deep_update_every
            if config.deep_update_every == -1 or due:
                hidden = self.network.deep_update(values, torch.stack([self.hidden[i] for i in known]))
                self.hidden.update(zip(known, hidden, strict=True))
                self.last_deep = self.time
        height, width = image.shape[1:]
        return probabilities[:, pads[2] : pads[2] + height, pads[0] : pads[0] + width]

    @staticmethod
    def compete(p: Tensor) -> Tensor:
        p = torch.cat([(1 - p).prod(0, keepdim=True), p]).clamp(1e-7, 1 - 1e-7)
        odds = p / (1 - p)
        return odds / odds.sum(0)

    @staticmethod
    def similarity(elements: list[NaiveFrame], key: Tensor, selection: Tensor) -> Tensor:
        keys, shrinkage = torch.stack([e.key for e in elements]), torch.stack([e.shrinkage for e in elements])
        distance = ((keys[None] - key[:, None]) ** 2 * selection[:, None]).sum(2)
        return -shrinkage * distance / math.sqrt(key.shape[1])

    def read(self, key: Tensor, selection: Tensor, ids: Sequence[int]) -> Tensor:
        elements = [*self.long_term, *(e for frame in self.working for e in frame)]
        similarity = self.similarity(elements, key, selection)
        out = []
        for i in ids:
            own = [n for n, e in enumerate(elements) if i in e.values]
            scores = similarity[:, own]
            least = scores.sort(1, descending=True).values[:, min(self.config.top_k, len(own)) - 1 :][:, :1]
            affinity = scores.masked_fill(scores < least, -torch.inf).softmax(1)
            out.append(affinity @ torch.stack([elements[n].values[i] for n in own]))
            if i == next(iter(self.hidden)):  # the first to join
                for n, use in zip(own, affinity.sum(0), strict=True):
                    if n >= len(self.long_term) or self.config.enable_long_term_count_usage:
                        elements[n].use = elements[n].use + use
                for n, e in enumerate(elements):
                    if n >= len(self.long_term) or self.config.enable_long_term_count_usage:
                        e.life = e.life + 1
        return torch.stack(out)

    def store(self, key: Tensor, shrinkage: Tensor, selection: Tensor, values: dict[int, Tensor]) -> None:
        def cell(x: Tensor, n: int) -> Tensor:
            return x.flatten(1)[:, n]

        config, zero = self.config, torch.tensor(0.0)
        self.working.append(
            [
                NaiveFrame(
                    cell(key, n),
                    cell(shrinkage, n)[0],
                    cell(selection, n),
                    {i: cell(v, n) for i, v in values.items()},
                    zero,
                    zero + 1e-7,
                )
                for n in range(key[0].numel())
            ]
        )
        if not config.enable_long_term or len(self.working) < config.max_mid_term_frames:
            return
        stop = len(self.working) - (config.min_mid_term_frames - 1)
        candidates = [e for frame in self.working[1:stop] for e in frame]
        self.working[1:stop] = []
        room = config.max_long_term_elements - config.num_prototypes
        while len(self.long_term) > room:
            usages = [float(e.use / e.life) for e in self.long_term]
            del self.long_term[usages.index(min(usages))]
        usage = torch.stack([e.use / e.life for e in candidates])
        prototypes = [candidates[n] for n in usage.topk(config.num_prototypes).indices.tolist()]
        keys, selections = torch.stack([p.key for p in prototypes]), torch.stack([p.selection for p in prototypes])
        similarity = self.similarity(candidates, keys, selections)
        shrinkages = similarity.softmax(1) @ torch.stack([e.shrinkage for e in candidates])
        for number, prototype in enumerate(prototypes):
            made = {}
            for i in prototype.values:
                own = [n for n, e in enumerate(candidates) if i in e.values]
                made[i] = similarity[number, own].softmax(0) @ torch.stack([candidates[n].values[i] for n in own])
            self.long_term.append(
                NaiveFrame(prototype.key, shrinkages[number], prototype.selection, made, zero, zero + 1e-7)
            )


Inputs = Callable[[int], tuple[Tensor | None, Sequence[int] | None]]


def first_mask_only(index: int) -> tuple[Tensor | None, Sequence[int] | None]:
    return (scene(0)[1], [1, 2]) if index == 0 else (None, None)


def with_corrections(index: int) -> tuple[Tensor | None, Sequence[int] | None]:
    labels = scene(index)[1]
    if index == 7:
        return labels * (labels == 2), [2]  # partial
    return (labels, [1, 2]) if index in (0, 5) else (None, None)  # full


def with_late_objects(index: int) -> tuple[Tensor | None, Sequence[int] | None]:
    labels = scene(index)[1]
    late = torch.zeros_like(labels)
    late[30:42, 2:14] = 9
    given = {0: (labels * (labels == 2), [2]), 3: (labels * (labels == 1), [1]), 4: (late, None)}
    return given.get(index, (None, None))


@pytest.mark.parametrize(
    ("config", "inputs", "frames"),
    [
        (replace(TINY, max_mid_term_frames=50), first_mask_only, 5),
        (replace(TINY, mem_every=1), first_mask_only, 11),
        (TINY, with_corrections, 11),
        (replace(TINY, mem_every=1), with_late_objects, 11),
        (replace(TINY, deep_update_every=3), with_corrections, 9),
        (replace(TINY, deep_update_every=1), first_mask_only, 4),
        (replace(TINY, mem_every=1, enable_long_term_count_usage=False, top_k=7), first_mask_only, 10),
        (replace(TINY, enable_long_term=False), with_corrections, 8),
    ],
    ids=[
        "working memory",
        "consolidation and removal",
        "corrections",
        "late objects through consolidations",
        "deep update every 3",
        "deep update every 1",
        "long-term usage not counted",
        "no long-term memory",
    ],
)
@torch.inference_mode()
def test_tracking_equals_the_specification_written_out(
    config: XMemConfig, inputs: Inputs, frames: int, xmem: XMemNetwork
) -> None:
    tracker, naive = XMemTracker(xmem, config), Naive(xmem, config)
    for index in range(frames):
        image, (mask, ids) = scene(index)[0], inputs(index)
        last = index == frames - 1
        own, expected = tracker.step(image, mask, ids, last=last), naive.step(image, mask, ids, last)
        difference = (own - expected).abs()
        assert own.shape == expected.shape
        assert difference.mean() <= 2e-4, f"frame {index}"
        assert difference.flatten().kthvalue(math.ceil(0.999 * difference.numel())).values <= 2e-2, f"frame {index}"
        assert (own.argmax(0) == expected.argmax(0)).float().mean() >= 0.995, f"frame {index}"
    assert tracker.memory.long_term_elements == len(naive.long_term)
    assert tracker.memory.working_frames == len(naive.working)


def test_masks_follow_the_colours_that_they_were_given_on(tracker: XMemTracker) -> None:
    image, labels = scene(0)
    tracker.step(image, labels)
    for index in range(1, 7):
        image, labels = scene(index)
        probabilities = tracker.step(image)
        for object_id in (1, 2):
            inside = probabilities[object_id][labels == object_id].mean()
            assert inside > 2 * probabilities[object_id][labels != object_id].mean()
            assert inside > probabilities[3 - object_id][labels == object_id].mean()


def test_tracker_fills_the_protocol(tracker: XMemTracker) -> None:
    seam: Tracker = tracker
    image, labels = scene(0)
    step = seam.track(image, labels)
    assert step.object_ids == seam.object_ids == (1, 2)
    assert step.reading is None
    assert step.probabilities.shape == (3, *SIZE_HW)
    assert step.probabilities.dtype == torch.float32
    torch.testing.assert_close(step.probabilities.sum(0), torch.ones(SIZE_HW))
    assert torch.equal(step.probabilities.argmax(0), labels)


def test_reading_tells_affinity_similarity_and_what_was_seen_of_each_object(tracker: XMemTracker) -> None:
    image, labels = scene(0)
    tracker.step(image, labels)
    reading = tracker.track(image).reading
    assert reading is not None
    assert reading.grid_hw == (3, 5)
    assert reading.affinity.shape == reading.similarity.shape == reading.indices.shape == (2, 15, 15)
    torch.testing.assert_close(reading.affinity.sum(2), torch.ones(2, 15))
    torch.testing.assert_close(reading.similarity.softmax(2), reading.affinity)
    padded = torch.nn.functional.pad(labels, (5, 5, 2, 2))
    covered = torch.stack([(padded == i).float() for i in (1, 2)]).view(2, 3, 16, 5, 16).mean((2, 4)).flatten(1)
    expected = torch.stack([(reading.affinity[i] * covered[i][reading.indices[i]]).sum(1) for i in range(2)])
    torch.testing.assert_close(reading.foreground.flatten(1), expected, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("mask", [None, torch.zeros(SIZE_HW, dtype=torch.int64)], ids=["no mask", "empty mask"])
def test_first_step_without_an_object_is_a_clear_error_and_changes_nothing(
    mask: Tensor | None, tracker: XMemTracker
) -> None:
    with pytest.raises(InvalidInputError, match="Give a mask with the first frame"):
        tracker.step(scene(0)[0], mask)
    assert tracker.step(*scene(0)).shape == (3, *SIZE_HW)


@pytest.mark.parametrize(
    ("image", "mask", "ids"),
    [
        (torch.zeros(3, 32, 32), None, None),
        (torch.zeros(1, *SIZE_HW), None, None),
        (torch.zeros(3, *SIZE_HW, dtype=torch.uint8), None, None),
        (torch.full((3, *SIZE_HW), 255.0), None, None),
        (torch.full((3, *SIZE_HW), -2.1), None, None),
        (torch.full((3, *SIZE_HW), torch.nan), None, None),
        (np.zeros((3, *SIZE_HW), np.float32), None, None),
        (torch.zeros(3, *SIZE_HW), torch.ones(8, 8, dtype=torch.int64), None),
        (torch.zeros(3, *SIZE_HW), torch.ones(SIZE_HW), None),
        (torch.zeros(3, *SIZE_HW), None, [1]),
        (torch.zeros(3, *SIZE_HW), torch.ones(SIZE_HW, dtype=torch.int64), [0]),
    ],
)
def test_input_that_does_not_fit_is_refused(
    image: Tensor, mask: Tensor | None, ids: list[int] | None, tracker: XMemTracker
) -> None:
    tracker.step(*scene(0))
    with pytest.raises(InvalidInputError):
        tracker.step(image, mask, ids)


def test_pixels_of_given_objects_are_taken_away_from_predicted_ones(tracker: XMemTracker) -> None:
    image, labels = scene(0)
    tracker.step(image, labels)
    corrected = torch.zeros_like(labels)
    corrected[10:40, 10:40] = 2
    plain = XMemTracker(tracker._network)
    plain.step(image, labels)
    predicted, step = plain.step(image), tracker.track(image, corrected, [2])
    assert step.object_ids == (1, 2)
    assert step.reading is not None
    probabilities = step.probabilities
    assert (probabilities[2][corrected == 2] > 0.999).all()
    assert (probabilities[1][corrected == 2] < 1e-5).all()
    assert (probabilities[2][corrected != 2] < 1e-5).all()
    assert (probabilities[1][(corrected != 2) & (predicted[1] > 0.9)] > 0.9).all()


def test_labels_that_the_mask_does_not_speak_for_are_ignored(xmem: XMemNetwork) -> None:
    image, labels = scene(0)
    one, both = XMemTracker(xmem), XMemTracker(xmem)
    assert torch.equal(both.step(image, labels, [1]), one.step(image, labels * (labels == 1), [1]))
    assert both.object_ids == (1,)


def test_late_objects_join_in_the_order_of_ids_and_may_be_given_again(xmem: XMemNetwork) -> None:
    tracker = XMemTracker(xmem, TINY)
    image, labels = scene(0)
    tracker.step(image, labels * 300, [600])  # labels above 255 are labels
    step = tracker.track(image, (labels == 1) * 7)
    assert step.object_ids == (7, 600)
    again = tracker.track(image, (labels == 1) * 7, [7])  # upstream: AssertionError
    assert again.object_ids == (7, 600)
    assert again.reading is not None
    late = again.reading.indices[0][again.reading.affinity[0] > 0]
    assert late.min() >= 15  # the first frame does not know it
    assert again.reading.indices[1].min() < 15


def test_object_given_but_absent_is_tracked_as_absent(tracker: XMemTracker) -> None:
    image, labels = scene(0)
    step = tracker.track(image, labels, [1, 2, 5])
    assert step.object_ids == (1, 2, 5)
    assert (step.probabilities[3] < 1e-5).all()
    assert torch.isfinite(tracker.step(image)).all()


def test_one_pixel_frames_are_tracked(xmem: XMemNetwork) -> None:
    tracker = XMemTracker(xmem, replace(TINY, mem_every=1))
    mask = torch.ones(1, 1, dtype=torch.int64)
    for index in range(7):
        probabilities = tracker.step(torch.full((3, 1, 1), 0.4), mask if index == 0 else None)
        assert probabilities.shape == (2, 1, 1)
        assert torch.isfinite(probabilities).all()


def test_objects_of_one_pixel_with_large_ids_are_tracked_on_frames_of_odd_size(xmem: XMemNetwork) -> None:
    tracker = XMemTracker(xmem)
    image = torch.rand(3, 37, 53, generator=torch.Generator().manual_seed(0))
    labels = torch.zeros(37, 53, dtype=torch.int32)
    labels[3, 4], labels[9, 9] = 1000, 300  # upstream's labels wrap above 255
    tracker.step(image, labels)
    assert tracker.object_ids == (300, 1000)
    probabilities = tracker.step(image)
    torch.testing.assert_close(probabilities.sum(0), torch.ones(37, 53))


def test_last_frame_is_not_memorised(tracker: XMemTracker) -> None:
    image, labels = scene(0)
    tracker.step(image, labels)
    tracker.step(image, labels, last=True)
    assert tracker.memory.working_frames == 1


def test_frames_are_memorised_every_so_often_since_the_last_and_with_every_mask(xmem: XMemNetwork) -> None:
    tracker = XMemTracker(xmem, replace(UPSTREAM, mem_every=3))
    image, labels = scene(0)
    counts = []
    for index in range(10):
        tracker.step(image, labels if index in (0, 4) else None)
        counts.append(tracker.memory.working_frames)
    assert counts == [1, 1, 1, 2, 3, 3, 3, 4, 4, 4]  # 0, 3, 4 (mask), 7


@pytest.mark.parametrize("permanent", [True, False])
def test_humans_frames_outlive_all_others_only_with_permanent_memory(permanent: bool, xmem: XMemNetwork) -> None:
    tracker = XMemTracker(xmem, replace(TINY, permanent_memory=permanent))
    tiny = torch.rand(24, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(16, 16, dtype=torch.int64)
    for index in range(24):
        tracker.step(tiny[index], mask if index in (0, 5, 8) else None)
    assert tracker.memory.permanent_frames == (3 if permanent else 0)
    assert tracker.memory.working_frames <= (3 - 1 + 3 if permanent else 3)


def test_masks_that_are_not_a_humans_age_but_the_frame_on_which_an_object_joins_does_not(xmem: XMemNetwork) -> None:
    tracker = XMemTracker(xmem)
    image, labels = scene(0)
    tracker.track(image, labels, permanent=False)
    assert tracker.memory.permanent_frames == 1
    tracker.track(scene(1)[0], labels, permanent=False)
    assert tracker.memory.permanent_frames == 1
    tracker.track(scene(2)[0], labels)
    assert tracker.memory.permanent_frames == 2


@pytest.mark.parametrize("long_term", [True, False])
def test_memory_is_flat_however_long_the_video_is(
    long_term: bool, xmem: XMemNetwork, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(three_memories, "_MOST_ELEMENTS_WITHOUT_LONG_TERM", 32)
    tracker = XMemTracker(xmem, replace(TINY, mem_every=1, enable_long_term=long_term))
    tiny = torch.rand(20, 3, 16, 16, generator=torch.Generator().manual_seed(3))
    mask = torch.ones(16, 16, dtype=torch.int64)
    sizes = []
    for index in range(50):
        tracker.step(tiny[index % 20], mask if index % 25 == 0 else None)
        sizes.append(tracker.memory.elements)
    assert max(sizes[32:40]) == max(sizes[40:])
    assert max(sizes) <= (4 + 30 if long_term else 32)


def test_memorised_keyframe_is_read_and_does_not_move_the_clock(xmem: XMemNetwork) -> None:
    plain, informed = XMemTracker(xmem), XMemTracker(xmem)
    image, labels = scene(0)
    for tracker in (plain, informed):
        tracker.step(image, labels)
    informed.memorise(*scene(6), [1])
    assert informed.memory.working_frames == informed.memory.permanent_frames == 2
    reading = informed.track(scene(6)[0]).reading
    assert reading is not None
    assert (reading.indices[0] >= 15).any()
    assert (reading.indices[1] < 15).all()  # the keyframe does not speak for object 2
    for index in range(1, 5):
        plain.step(scene(index)[0])
    for index in range(2, 5):
        informed.step(scene(index)[0])
    assert (plain.memory.working_frames, informed.memory.working_frames) == (1, 2)
    informed.step(scene(5)[0])
    assert informed.memory.working_frames == 3


def test_memorising_before_the_first_frame_is_enough_to_track(tracker: XMemTracker) -> None:
    tracker.memorise(*scene(2))
    assert tracker.object_ids == (1, 2)
    image, labels = scene(0)
    probabilities = tracker.step(image)
    assert probabilities[1][labels == 1].mean() > 2 * probabilities[1][labels != 1].mean()


def test_mask_without_an_object_cannot_be_memorised(tracker: XMemTracker) -> None:
    with pytest.raises(InvalidInputError, match="no object in the mask"):
        tracker.memorise(scene(0)[0], torch.zeros(SIZE_HW, dtype=torch.int64))


def test_removed_object_is_gone_and_the_others_stay(tracker: XMemTracker) -> None:
    image, labels = scene(0)
    tracker.step(image, labels)
    tracker.remove(1)
    step = tracker.track(image)
    assert step.object_ids == tracker.object_ids == (2,)
    assert step.probabilities.shape == (2, *SIZE_HW)
    with pytest.raises(InvalidInputError, match="Object 1 is not in"):
        tracker.remove(1)
    tracker.remove(2)
    assert tracker.memory.elements == 0
    with pytest.raises(InvalidInputError, match="first frame"):
        tracker.step(image)
    tracker.step(image, labels)
    assert torch.isfinite(tracker.step(image)).all()


def test_same_input_gives_the_same_output(xmem: XMemNetwork) -> None:
    def run() -> Tensor:
        tracker = XMemTracker(xmem, TINY)
        return torch.stack([tracker.step(scene(i)[0], scene(0)[1] if i == 0 else None) for i in range(4)])

    assert torch.equal(run(), run())


def test_another_tracker_goes_on_from_an_exported_memory(xmem: XMemNetwork, tmp_path: Path) -> None:
    config = replace(TINY, mem_every=1, permanent_memory=True)
    tracker = XMemTracker(xmem, config)
    for index in range(6):
        mask, ids = with_late_objects(index)
        tracker.step(scene(index)[0], mask, ids)
    assert tracker.memory.long_term_elements
    assert tracker.memory.permanent_frames
    save_file(tracker.export_memory(), tmp_path / "memory.safetensors")
    resumed = XMemTracker(xmem, config)
    resumed.import_memory(load_file(tmp_path / "memory.safetensors"))
    assert resumed.object_ids == tracker.object_ids
    for index in range(6, 9):
        torch.testing.assert_close(resumed.step(scene(index)[0]), tracker.step(scene(index)[0]))
        assert resumed.memory.long_term_elements == tracker.memory.long_term_elements
    with pytest.raises(InvalidInputError, match="those before were"):
        resumed.step(torch.zeros(3, 16, 16))


def test_exported_memory_is_a_copy_and_an_empty_one_resumes_too(xmem: XMemNetwork) -> None:
    tracker, other = XMemTracker(xmem), XMemTracker(xmem)
    empty = tracker.export_memory()
    tracker.step(*scene(0))
    exported = tracker.export_memory()
    before = {name: tensor.clone() for name, tensor in exported.items()}
    tracker.step(scene(1)[0])
    assert all(torch.equal(exported[name], before[name]) for name in before)
    other.import_memory(exported)
    assert other.object_ids == (1, 2)
    other.import_memory(empty)
    assert other.object_ids == ()
    assert other.step(torch.zeros(3, 16, 16), torch.ones(16, 16, dtype=torch.int64)).shape == (2, 16, 16)


def test_memory_of_another_network_or_with_a_part_missing_is_refused_and_nothing_changes(xmem: XMemNetwork) -> None:
    tracker = XMemTracker(xmem)
    tracker.step(*scene(0))
    exported = tracker.export_memory()
    part = next(name for name in exported if name.endswith(".use"))
    for lacking in ("times", "last_deep_update", part):
        with pytest.raises(InvalidInputError, match="lacks"):
            tracker.import_memory({name: tensor for name, tensor in exported.items() if name != lacking})
    with pytest.raises(InvalidInputError, match=r"\(32, 512, 64\) channels"):
        tracker.import_memory({**exported, "channels": torch.tensor([32, 512, 64])})
    assert tracker.object_ids == (1, 2)
    assert tracker.memory.working_frames == 1


def test_revision_takes_the_place_of_the_prediction_in_answer_and_memory(xmem: XMemNetwork) -> None:
    plain, revised = XMemTracker(xmem), XMemTracker(xmem)
    image, labels = scene(0)
    for tracker in (plain, revised):
        tracker.step(image, labels)
    better = torch.zeros_like(labels)
    better[2:20, 10:30] = 1
    seen: list[TrackingStep] = []

    def review(step: TrackingStep) -> Revision:
        seen.append(step)
        return Revision(better, (1,))

    predicted = plain.track(scene(1)[0])
    step = revised.track(scene(1)[0], review=review)
    torch.testing.assert_close(seen[0].probabilities, predicted.probabilities)
    assert torch.equal(step.probabilities.argmax(0) == 1, better == 1)
    assert (plain.memory.working_frames, revised.memory.working_frames) == (1, 2)
    assert (plain.memory.permanent_frames, revised.memory.permanent_frames) == (1, 1)


def test_given_masks_are_not_reviewed_and_none_changes_nothing(xmem: XMemNetwork) -> None:
    plain, reviewed = XMemTracker(xmem), XMemTracker(xmem)
    asked: list[TrackingStep] = []
    for index in range(3):
        image, labels = scene(index)
        given = labels if index == 0 else None
        step = reviewed.track(image, given, review=asked.append)  # type: ignore[func-returns-value]
        assert torch.equal(step.probabilities, plain.step(image, given))
    assert len(asked) == 2
