"""How busy a worker is: counted as it works, for those who choose among workers and for people."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True)
class LoadReading:
    """What was counted since the start.

    Args:
        waiting: calls that are at work or wait now.
        busy_s: seconds in which there was at least one.
        frames: tracked.
        clicks: answered.
        up_s: seconds since the start.
    """

    waiting: int
    busy_s: float
    frames: int
    clicks: int
    up_s: float


class Load:
    """Counts. Thread-safe."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._began_s = time.monotonic()
        self._waiting = 0
        self._busy_s = 0.0
        self._since_s = 0.0
        self._frames = 0
        self._clicks = 0

    @contextmanager
    def working(self) -> Iterator[None]:
        """Count a call for as long as it lasts."""
        with self._lock:
            if self._waiting == 0:
                self._since_s = time.monotonic()
            self._waiting += 1
        try:
            yield
        finally:
            with self._lock:
                self._waiting -= 1
                if self._waiting == 0:
                    self._busy_s += time.monotonic() - self._since_s

    def tracked(self, frames: int) -> None:
        """Count frames."""
        with self._lock:
            self._frames += frames

    def clicked(self) -> None:
        """Count a click."""
        with self._lock:
            self._clicks += 1

    def read(self) -> LoadReading:
        """Return what was counted so far."""
        with self._lock:
            now_s = time.monotonic()
            running_s = now_s - self._since_s if self._waiting else 0.0
            return LoadReading(
                self._waiting, self._busy_s + running_s, self._frames, self._clicks, now_s - self._began_s
            )
