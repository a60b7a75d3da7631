"""A session on a GPU: the CPU's masks and numbers, a clock that is right, and memory that stays as it is."""

from __future__ import annotations

import copy
import itertools
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from segment_anything import sam_model_registry
from tiny_sam import lively_tiny_sam
from tracked_blobs import assert_same, tracked

from benchmarks.lively_weights import lively_network
from benchmarks.speed import scene
from tam_backend.engine import TrackAnything
from tam_backend.models.protocols import MemoryReading, SegmenterPrompts, TrackingStep
from tam_backend.models.segmenters.sam import SamSegmenter
from tam_backend.models.segmenters.sam_resizing import resized
from tam_backend.models.transfers import Transfer, uploaded
from tam_backend.quality.evidence import FrameEvidence
from tam_backend.quality.mask_sums import MaskSums
from tam_backend.tracking.scaling import Scaling
from tam_backend.types import BoolMask, FrameResult, Point, Prompt, RgbFrame

SIDE = 240
GPU = torch.device("cuda")


class DrawnVideo:
    """Discs and squares that move, drawn frame by frame; the scene comes again after 100 of them."""

    name = "drawn"
    fps = 25.0

    def __init__(self, frames: int) -> None:
        self.drawn = [scene(index, 2, SIDE) for index in range(min(frames, 100))]
        self.frames = frames
        self.size_hw = (SIDE, SIDE * 16 // 9)

    def __len__(self) -> int:
        return self.frames

    def __getitem__(self, frame: int) -> RgbFrame:
        image = self.drawn[frame % len(self.drawn)].image
        return np.ascontiguousarray((image.permute(1, 2, 0).numpy() * 255).round().astype(np.uint8))

    def mask(self, object_id: int) -> BoolMask:
        return np.asarray(self.drawn[0].labels.numpy() == object_id)


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random official weights."""
    folder = tmp_path_factory.mktemp("weights")
    torch.manual_seed(0)
    torch.save(lively_network().state_dict(), folder / "XMem-s012.pth")
    torch.save(sam_model_registry["vit_b"]().state_dict(), folder / "sam_vit_b_01ec64.pth")
    return folder


def propagated(profile: str, device: str, weights: Path, video: DrawnVideo, stop: int) -> list[FrameResult]:
    tam = TrackAnything.load(profile, device=device, weights_folder=weights, refine=False)
    with tam.session(video) as session:
        for object_id in (1, 2):
            session.prompt(Prompt(object_id, 0, mask=video.mask(object_id)))
        return list(session.propagate(0, stop))


def overlap(one: BoolMask, other: BoolMask) -> float:
    union = (one | other).sum()
    return float((one & other).sum() / union) if union else 1.0


@pytest.mark.parametrize("profile", ["compact", "sam-vit-b+xmem"])
def test_a_sessions_masks_and_qualities_are_the_cpus(profile: str, weights: Path) -> None:
    video = DrawnVideo(8)
    here, there = (propagated(profile, device, weights, video, 8) for device in ("cpu", "cuda"))
    assert [each.frame for each in there] == [each.frame for each in here]
    overlaps = [overlap(a.masks[i], b.masks[i]) for a, b in zip(here, there, strict=True) for i in (1, 2)]
    assert np.mean(overlaps) > 0.97
    assert min(overlaps) > 0.9
    apart = [abs(a.quality[i] - b.quality[i]) for a, b in zip(here, there, strict=True) for i in (1, 2)]
    assert np.mean(apart) < 0.03


@pytest.mark.parametrize("profile", ["compact", "sam-vit-b+xmem"])
def test_the_same_session_twice_gives_the_same(profile: str, weights: Path) -> None:
    video = DrawnVideo(30)
    one, other = (propagated(profile, "cuda", weights, video, 30) for _ in range(2))
    for a, b in zip(one, other, strict=True):
        assert min(overlap(a.masks[i], b.masks[i]) for i in (1, 2)) > 0.999
        assert a.quality == pytest.approx(b.quality, abs=1e-3)


@pytest.mark.parametrize("profile", ["compact", "sam-vit-b+xmem"])
def test_memory_stays_as_it_is_over_a_thousand_frames(profile: str, weights: Path) -> None:
    video = DrawnVideo(1000)
    tam = TrackAnything.load(profile, device="cuda", weights_folder=weights, refine=False)
    with tam.session(video) as session:
        for object_id in (1, 2):
            session.prompt(Prompt(object_id, 0, mask=video.mask(object_id)))
        running = session.propagate()
        # XMem remembers more and more for some 400 frames, until its long-term memory is full.
        assert len(list(itertools.islice(running, 600))) == 600
        torch.cuda.synchronize()
        held, reserved = torch.cuda.memory_allocated(), torch.cuda.memory_reserved()
        assert len(list(running)) == 400
        torch.cuda.synchronize()
        assert torch.cuda.memory_allocated() < held + 64 * 2**20
        assert torch.cuda.memory_reserved() < reserved + 256 * 2**20


def test_the_clock_tells_the_gpus_seconds(weights: Path) -> None:
    video = DrawnVideo(100)
    tam = TrackAnything.load("compact", device="cuda", weights_folder=weights)
    with tam.session(video) as session:
        session.prompt(Prompt(1, 0, mask=video.mask(1)))
        list(session.propagate(0, 30))
        before, began_s = session.timing.track_s, time.perf_counter()
        list(session.propagate(0, 60))
        tracked_s, taken_s = session.timing.track_s - before, time.perf_counter() - began_s
    assert 0.2 * taken_s < tracked_s <= 1.02 * taken_s


def on_gpu(step: TrackingStep) -> TrackingStep:
    reading = step.reading
    there = reading and MemoryReading(
        reading.grid_hw, *(each.cuda() for each in (reading.affinity, reading.similarity, reading.indices)),
        reading.foreground.cuda(),
    )  # fmt: skip
    return TrackingStep(step.object_ids, step.probabilities.cuda(), there)


@settings(deadline=None, max_examples=40)
@given(seed=st.integers(0, 2**32 - 1), objects=st.integers(1, 5))
def test_evidence_is_the_hosts(seed: int, objects: int) -> None:
    step = tracked(seed, objects, (60, 90), (4, 6))
    sums, host = MaskSums(), FrameEvidence(step)
    looks = [sums.look(on_gpu(step)) for _ in range(5)]  # kernel by kernel, and as a graph
    for channel in range(1, objects + 1):
        for look in looks:
            assert_same(look.observe(channel, None), host.observe(channel, None))


def test_masks_at_the_videos_size_are_the_hosts() -> None:
    torch.manual_seed(0)
    here, there = (Scaling((311, 407), 120, device) for device in (torch.device("cpu"), GPU))
    for _ in range(5):
        probabilities = torch.rand(4, *here.working_hw).softmax(0)
        differs = here.labels(probabilities) != there.labels(probabilities.cuda()).cpu()
        assert differs.float().mean() < 1e-3


@pytest.mark.parametrize("frame_hw", [(480, 853), (1080, 1920), (300, 200)])
def test_sams_frames_are_resized_as_by_pillow(frame_hw: tuple[int, int]) -> None:
    frame = np.random.default_rng(0).integers(0, 256, (*frame_hw, 3), dtype=np.uint8)
    size_hw = (576, 1024) if frame_hw[0] < frame_hw[1] else (1024, 683)
    differences = (resized(frame, size_hw, GPU).cpu() - resized(frame, size_hw, torch.device("cpu")).float()).abs()
    assert differences.max() <= 2
    assert (differences > 0).float().mean() < 0.06


def test_sams_answers_are_the_cpus_click_after_click() -> None:
    network = lively_tiny_sam()
    here = SamSegmenter(copy.deepcopy(network), "here", torch.device("cpu"), fast=False)
    there = SamSegmenter(copy.deepcopy(network).cuda(), "there", GPU, fast=False)
    rng = np.random.default_rng(0)
    for number in range(8):  # the first ones kernel by kernel, the others as graphs
        frame = rng.integers(0, 256, (90, 160, 3), dtype=np.uint8)
        prompts = SegmenterPrompts(points=(Point(60.0 + number, 40.0), Point(20.0, 70.0, False)))
        expected, answer = (each.segment(each.encode(frame), prompts) for each in (here, there))
        assert (expected.mask != answer.mask).mean() < 0.01
        assert answer.predicted_iou == pytest.approx(expected.predicted_iou, abs=5e-3)
        assert answer.stability == pytest.approx(expected.stability, abs=0.02)


def test_sams_encoder_is_the_packages_within_bfloat16() -> None:
    torch.manual_seed(0)
    plain = sam_model_registry["vit_b"]().eval().requires_grad_(False)
    for name, parameter in plain.image_encoder.named_parameters():
        if "rel_pos" in name:
            parameter.normal_(0, 0.1)
    ours = SamSegmenter(copy.deepcopy(plain).cuda(), "ours", GPU)
    frame = np.random.default_rng(0).integers(0, 256, (480, 853, 3), dtype=np.uint8)
    square = plain.preprocess(resized(frame, (576, 1024), torch.device("cpu"))).cuda()
    encoder = plain.image_encoder.cuda()
    with torch.inference_mode():
        expected = encoder(square)
        with torch.autocast("cuda", torch.bfloat16):
            rounded = encoder(square)
    of_the_package = float((rounded.float() - expected).norm() / expected.norm())
    for _ in range(5):  # kernel by kernel, and as a graph
        embedding = ours.encode(frame).features["image"].float()
        of_ours = float((embedding - expected).norm() / expected.norm())
        assert of_ours < 1.2 * of_the_package + 2e-3, (of_ours, of_the_package)


def test_transfers_carry_what_was_there_when_they_were_asked_for() -> None:
    array = np.arange(2**22, dtype=np.float32)
    there = uploaded(array, GPU)
    array[:] = 0
    asked = Transfer(there, there[::2] > 5)
    there.zero_()
    numbers, flags = asked.arrays()
    assert np.array_equal(numbers, np.arange(2**22, dtype=np.float32))
    assert flags.dtype == np.bool_ and flags.sum() == 2**21 - 3
