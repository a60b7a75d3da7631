"""Where the seconds go: on the host by its clock, on a GPU by marks that it sets as it comes to them."""

from __future__ import annotations

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest
import torch

from tam_backend.tracking import stopwatch
from tam_backend.tracking.stopwatch import Stopwatch


def test_the_hosts_seconds_are_counted_by_part() -> None:
    clock = Stopwatch(torch.device("cpu"))
    for _ in range(2):
        with clock.measure("track"):
            time.sleep(0.01)
    with pytest.raises(ValueError, match="damaged"), clock.measure("decode"):
        raise ValueError("damaged")
    read = clock.read()
    assert read.track_s >= 0.02
    assert 0 < read.decode_s < read.track_s
    assert read.segment_s == 0
    assert read.total_s >= read.track_s


def test_seconds_in_which_several_threads_are_at_a_part_are_counted_once() -> None:
    clock, both = Stopwatch(torch.device("cpu")), threading.Barrier(2, timeout=30)

    def work() -> None:
        with clock.measure("track"):
            both.wait()
            time.sleep(0.05)
            both.wait()

    with ThreadPoolExecutor(2) as pool:
        for each in [pool.submit(work) for _ in range(2)]:
            each.result()
    read = clock.read()
    assert 0.05 <= read.track_s <= read.total_s


class Gpu:
    """Does nothing until it is waited for; its clock then goes on by a second for every mark."""

    def __init__(self) -> None:
        self.marks: list[Mark] = []
        self.waited = 0

    def mark(self, *, enable_timing: bool = False) -> Mark:
        assert enable_timing
        return Mark(self)


class Mark:
    def __init__(self, gpu: Gpu) -> None:
        self.gpu = gpu
        self.is_done = False

    def record(self, stream: object) -> None:
        self.number = len(self.gpu.marks)
        self.gpu.marks.append(self)

    def query(self) -> bool:
        return self.is_done

    def synchronize(self) -> None:
        self.gpu.waited += not self.is_done
        for each in self.gpu.marks[: self.number + 1]:
            each.is_done = True

    def elapsed_time(self, other: Mark) -> float:
        assert self.is_done and other.is_done, "asking for the time of what is not done is an error of CUDA's"
        return 1e3 * (other.number - self.number)


def test_a_gpus_seconds_are_its_own_and_nobody_waits_for_them_before_they_are_read(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    gpu = Gpu()
    monkeypatch.setattr(stopwatch.torch.cuda, "Event", gpu.mark)
    monkeypatch.setattr(stopwatch.torch.cuda, "device", lambda device: nullcontext())
    monkeypatch.setattr(stopwatch.torch.cuda, "current_stream", lambda device: None)
    clock = Stopwatch(torch.device("cuda", 1))
    for _ in range(3):
        with clock.measure("track"):
            pass
    with clock.measure("segment"):
        pass
    with clock.measure("decode"):
        pass
    assert gpu.waited == 0
    gpu.marks[3].synchronize()  # the first two
    with clock.measure("track"):
        pass
    assert gpu.waited == 1
    read = clock.read()
    assert (read.track_s, read.segment_s) == (4, 1)
    assert 0 < read.decode_s < 1
    assert clock.read().track_s == 4, "nothing is counted twice"
