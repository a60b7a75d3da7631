"""A network's method as a CUDA graph; here the recorder is one that works without a GPU. On a GPU: tests/gpu."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from tam_backend.models.captured import Recordings, Replay, captured


@dataclass(frozen=True, eq=False)
class Pair:
    left: Tensor
    right: tuple[Tensor, ...]


class Recorder:
    """Does to the eyes of its user what a CUDA graph does: reads and writes the same memory at every replay."""

    def __init__(self) -> None:
        self.recorded = 0
        self.replayed = 0

    def __call__(self, function: Callable[[], Any], device: torch.device) -> tuple[Any, Replay]:
        self.recorded += 1
        answer = function()

        def replay() -> None:
            self.replayed += 1
            fresh = function()
            answer.left.copy_(fresh.left)
            for place, tensor in zip(answer.right, fresh.right, strict=True):
                place.copy_(tensor)

        return answer, replay


def doubled(pair: Pair, factor: int) -> Pair:
    return Pair(pair.left * factor, tuple(each + factor for each in pair.right))


def pair_of(seed: int, size: int = 4) -> Pair:
    numbers = torch.Generator().manual_seed(seed)
    return Pair(torch.rand(size, generator=numbers), (torch.rand(2, size, generator=numbers),))


def test_every_call_gives_what_the_function_gives() -> None:
    recorder = Recorder()
    recordings = Recordings(doubled, recorder)
    for seed in range(12):
        size, factor = 3 + seed % 2, 2 + seed % 3
        pair = pair_of(seed, size)
        answer, expected = recordings(pair, factor), doubled(pair, factor)
        assert torch.equal(answer.left, expected.left)
        assert torch.equal(answer.right[0], expected.right[0])


def test_shapes_are_recorded_when_they_come_for_the_third_time() -> None:
    recorder = Recorder()
    recordings = Recordings(doubled, recorder)
    for seed in range(2):
        recordings(pair_of(seed), 2)
    assert recorder.recorded == 0
    for seed in range(3):
        recordings(pair_of(seed), 2)
    assert (recorder.recorded, recorder.replayed) == (1, 3)


def test_another_plain_value_is_another_recording() -> None:
    recorder = Recorder()
    recordings = Recordings(doubled, recorder)
    for factor in (2, 3):
        for seed in range(3):
            recordings(pair_of(seed), factor)
    assert recorder.recorded == 2


def test_an_answer_stays_as_it_is_when_the_next_one_comes() -> None:
    recordings = Recordings(doubled, Recorder())
    answers = [recordings(pair_of(seed), 2) for seed in range(6)]
    for seed, answer in enumerate(answers):
        assert torch.equal(answer.left, pair_of(seed).left * 2)


def test_what_is_given_is_not_changed() -> None:
    recordings = Recordings(doubled, Recorder())
    given = pair_of(0)
    for _ in range(4):
        recordings(given, 2)
    assert torch.equal(given.left, pair_of(0).left)


def test_recordings_are_few_and_those_not_used_for_longest_give_way() -> None:
    recorder = Recorder()
    recordings = Recordings(doubled, recorder)
    for size in range(1, 20):
        for seed in range(3):
            recordings(pair_of(seed, size), 2)
    assert len(recordings) == 8
    recordings(pair_of(0, 19), 2)
    assert recorder.recorded == 19
    recordings(pair_of(0, 1), 2)
    assert recorder.recorded == 20, "its recording had given way, and it came often enough"


def test_what_cannot_be_recorded_goes_on_kernel_by_kernel() -> None:
    tried = []

    def refuse(function: Callable[[], Any], device: torch.device) -> tuple[Any, Replay]:
        tried.append(device)
        raise torch.cuda.OutOfMemoryError("no room")

    recordings = Recordings(doubled, refuse)
    for seed in range(9):
        assert torch.equal(recordings(pair_of(seed), 2).left, pair_of(seed).left * 2)
    assert len(tried) == 1


def test_shapes_that_come_once_are_never_recorded() -> None:
    recorder = Recorder()
    recordings = Recordings(doubled, recorder)
    for size in range(1, 100):
        recordings(pair_of(0, size), 2)
    assert recorder.recorded == 0


@pytest.mark.parametrize("mode", [torch.inference_mode, torch.enable_grad])
def test_on_a_cpu_a_captured_method_is_the_method(mode: Callable[[], Any]) -> None:
    class Network(nn.Module):
        @captured
        def twice(self, x: Tensor) -> Tensor:
            """Double."""
            return 2 * x

    network = Network()
    with mode():
        for _ in range(4):
            assert torch.equal(network.twice(torch.ones(2)), torch.full((2,), 2.0))
    assert network.twice.__doc__ == "Double."
    assert not [name for name in vars(network) if name.startswith("_captured")]
