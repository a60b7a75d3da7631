"""Where the seconds of a session go."""

from __future__ import annotations

import threading
import time
from collections import defaultdict, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

import torch

from tam_backend.types import Timing

Part = Literal["segment", "track", "decode"]
_OF_THE_NETWORKS: frozenset[Part] = frozenset({"segment", "track"})


class Stopwatch:
    """Adds up wall-clock seconds by part; starts with its creation.

    What a GPU was told to do is done later: the networks' seconds are taken on the GPU then, by marks between its
    tasks. The host does not wait for them but where it reads the clock.

    Args:
        device: of the networks.
    """

    def __init__(self, device: torch.device) -> None:
        self._start_s = time.perf_counter()
        self._device = device
        self._seconds: defaultdict[Part, float] = defaultdict(float)
        self._at_work: defaultdict[Part, int] = defaultdict(int)
        self._began_s: dict[Part, float] = {}
        self._running: deque[tuple[Part, torch.cuda.Event, torch.cuda.Event]] = deque()
        self._guard = threading.Lock()  # frames are decoded, tracked and looked at by different threads

    @contextmanager
    def measure(self, part: Part) -> Iterator[None]:
        """Count the body's time as `part`'s, once where several threads are at it.

        Parts overlap: decoding goes on in a thread of its own.
        """
        if self._device.type == "cuda" and part in _OF_THE_NETWORKS:
            begun = self._mark(self._device)
            try:
                yield
            finally:
                with self._guard:
                    self._running.append((part, begun, self._mark(self._device)))
                    self._count(wait=False)
            return
        with self._guard:
            if self._at_work[part] == 0:
                self._began_s[part] = time.perf_counter()
            self._at_work[part] += 1
        try:
            yield
        finally:
            with self._guard:
                self._at_work[part] -= 1
                if self._at_work[part] == 0:
                    self._seconds[part] += time.perf_counter() - self._began_s[part]

    def read(self) -> Timing:
        """Return the seconds so far; waits for what a GPU was told to do."""
        with self._guard:
            self._count(wait=True)
            return Timing(
                total_s=time.perf_counter() - self._start_s,
                segment_s=self._seconds["segment"],
                track_s=self._seconds["track"],
                decode_s=self._seconds["decode"],
            )

    def _mark(self, device: torch.device) -> torch.cuda.Event:
        with torch.cuda.device(device):
            mark = torch.cuda.Event(enable_timing=True)  # type: ignore[no-untyped-call]
            mark.record(torch.cuda.current_stream(device))
        return mark

    def _count(self, *, wait: bool) -> None:
        """Take the time of what has been done; of all that was begun, if it is to be waited for."""
        while self._running and (wait or self._running[0][2].query()):  # type: ignore[no-untyped-call]
            part, begun, ended = self._running.popleft()
            ended.synchronize()
            self._seconds[part] += begun.elapsed_time(ended) / 1e3
