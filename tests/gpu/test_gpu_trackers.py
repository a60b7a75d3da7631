"""Both trackers on a GPU: CUDA graphs against the same kernels one by one, the CPU's masks, memory over long videos."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import pytest
import torch
from torch import Tensor

from benchmarks.lively_weights import lively_network
from benchmarks.speed import scene
from tam_backend.models import captured, zoo
from tam_backend.models.protocols import Tracker
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem

SIDE = 240
NewTracker = Callable[[str], Tracker]


@pytest.fixture(scope="session")
def xmem_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("weights") / "XMem.pth"
    torch.save(lively_network().state_dict(), path)
    return path


@pytest.fixture(params=["compact", "xmem"])
def new_tracker(request: pytest.FixtureRequest, xmem_weights: Path) -> NewTracker:
    """Makes a tracker of the kind on a device; all of one device share a network."""
    networks: dict[str, Callable[[], Tracker]] = {}

    def make(device: str) -> Tracker:
        if device not in networks:
            if request.param == "compact":
                networks[device] = zoo.load("compact", device).new_tracker
            else:
                precision = "fast" if device.startswith("cuda") else "float32"
                network = load_xmem(xmem_weights, device, precision=precision)
                networks[device] = lambda: XMemTracker(network, XMemConfig())
        return networks[device]()

    return make


def tracked(tracker: Tracker, frames: Sequence[int], objects: int, device: str) -> list[Tensor]:
    """Return probabilities from the true masks of the first frame; an object more joins on the fifth."""
    answers = []
    for number, index in enumerate(frames):
        shown = scene(index, objects, SIDE)
        joining = {0: range(1, objects), 4: range(objects, objects + 1)}.get(number)
        given = (shown.labels.to(device), list(joining)) if joining else (None, None)
        answers.append(tracker.step(shown.image.to(device), *given).cpu())
    return answers


def overlaps(ours: Sequence[Tensor], theirs: Sequence[Tensor]) -> list[float]:
    found = []
    for a, b in zip(ours, theirs, strict=True):
        for each in range(1, len(a)):
            first, second = a.argmax(0) == each, b.argmax(0) == each
            union = int((first | second).sum())
            found.append(int((first & second).sum()) / union if union else 1.0)
    return found


def test_graphs_give_what_the_kernels_give_one_by_one(new_tracker: NewTracker, monkeypatch: pytest.MonkeyPatch) -> None:
    with_graphs = tracked(new_tracker("cuda"), range(20), 3, "cuda")
    monkeypatch.setattr(captured, "_on_gpu", lambda _arguments: False)
    plain = tracked(new_tracker("cuda"), range(20), 3, "cuda")
    for ours, theirs in zip(with_graphs, plain, strict=True):
        torch.testing.assert_close(ours, theirs, atol=1e-3, rtol=0)
    assert min(overlaps(with_graphs, plain)) > 0.999


def test_the_gpu_gives_the_cpus_masks(new_tracker: NewTracker) -> None:
    found = overlaps(
        tracked(new_tracker("cuda"), range(12), 3, "cuda"), tracked(new_tracker("cpu"), range(12), 3, "cpu")
    )
    assert sum(found) / len(found) > 0.97
    assert min(found) > 0.9


def test_trackers_that_take_turns_do_not_disturb_each_other(new_tracker: NewTracker) -> None:
    alone = [tracked(new_tracker("cuda"), frames, 2, "cuda") for frames in (range(16), range(40, 56))]
    first, second = new_tracker("cuda"), new_tracker("cuda")
    answers: tuple[list[Tensor], list[Tensor]] = ([], [])
    for number in range(16):
        for tracker, start, taken in ((first, 0, answers[0]), (second, 40, answers[1])):
            shown = scene(start + number, 2, SIDE)
            joining = {0: [1], 4: [2]}.get(number)
            given = (shown.labels.cuda(), joining) if joining else (None, None)
            taken.append(tracker.step(shown.image.cuda(), *given).cpu())
    for ours, theirs in zip(alone, answers, strict=True):
        assert all(torch.equal(a, b) for a, b in zip(ours, theirs, strict=True))


def test_the_same_frames_give_the_same_masks(new_tracker: NewTracker) -> None:
    first, second = (tracked(new_tracker("cuda"), range(24), 2, "cuda") for _ in range(2))
    assert max(float((a - b).abs().max()) for a, b in zip(first, second, strict=True)) < 1e-3


def test_memory_stays_the_same_over_a_thousand_frames(new_tracker: NewTracker) -> None:
    tracker = new_tracker("cuda")
    images = [scene(index, 2, SIDE).image.cuda() for index in range(12)]
    tracker.step(images[0], scene(0, 2, SIDE).labels.cuda())
    peaks = []
    for index in range(1, 1001):
        tracker.step(images[index % 12])
        if index in (250, 500, 1000):  # XMem's long-term memory grows, to its limit, by 128 elements of 25 frames
            peaks.append(torch.cuda.max_memory_allocated() / 2**20)
            torch.cuda.reset_peak_memory_stats()
    assert peaks[2] < 1.2 * peaks[0] + 100


def test_a_network_holds_few_recordings(new_tracker: NewTracker) -> None:
    before = torch.cuda.memory_allocated()
    for side in range(SIDE, SIDE + 16 * 16, 16):
        tracker = new_tracker("cuda")
        shown = scene(0, 1, side)
        tracker.step(shown.image.cuda(), shown.labels.cuda())
        for _ in range(12):
            tracker.step(shown.image.cuda())
    assert (torch.cuda.memory_allocated() - before) / 2**20 < 1500
