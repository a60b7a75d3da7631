"""Where the seconds of a session go."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Literal

from tam_backend.types import Timing

Part = Literal["segment", "track", "decode"]


class Stopwatch:
    """Adds up wall-clock seconds by part; starts with its creation."""

    def __init__(self) -> None:
        self._start_s = time.perf_counter()
        self._seconds: dict[Part, float] = {"segment": 0.0, "track": 0.0, "decode": 0.0}

    @contextmanager
    def measure(self, part: Part) -> Iterator[None]:
        """Count the body's time as `part`'s. Parts overlap: decoding goes on in a thread of its own."""
        start_s = time.perf_counter()
        try:
            yield
        finally:
            self._seconds[part] += time.perf_counter() - start_s

    def read(self) -> Timing:
        """Return the seconds so far."""
        return Timing(
            total_s=time.perf_counter() - self._start_s,
            segment_s=self._seconds["segment"],
            track_s=self._seconds["track"],
            decode_s=self._seconds["decode"],
        )
