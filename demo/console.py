"""One line per step on the terminal, with how long it took and a pulse while it is slow."""

from __future__ import annotations

import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

from demo.errors import DemoError


class Step:
    """A running step; `note` adds what it found to its last line."""

    def __init__(self) -> None:
        self.found = ""
        self.doing = ""

    def note(self, found: str) -> None:
        """Say what came out; shown when the step is done."""
        self.found = found

    def progress(self, doing: str) -> None:
        """Say how far it is; shown while the step runs."""
        self.doing = doing


@contextmanager
def step(title: str, usually: str = "") -> Iterator[Step]:
    """Print `title`, show that time passes (a live counter on a terminal, a line every 10 s elsewhere), print the end.

    Args:
        title: what is done, for people.
        usually: how long it normally takes, such as "about 40 s".
    """
    running = Step()
    started_s = time.monotonic()
    done = threading.Event()
    live = sys.stdout.isatty()
    expected = f" ({usually})" if usually else ""
    print(f"  … {title}{expected}", end="" if live else "\n", flush=True)

    def pulse() -> None:
        while not done.wait(0.5 if live else 10):
            elapsed = f"{time.monotonic() - started_s:.0f} s {running.doing}".rstrip()
            if live:
                print(f"\r\033[K  … {title}{expected}  {elapsed}", end="", flush=True)
            else:
                print(f"    still at it: {elapsed}", flush=True)

    pulsing = threading.Thread(target=pulse, daemon=True)
    pulsing.start()
    mark = "✗"
    try:
        yield running
        mark = "✓"
    finally:
        done.set()
        pulsing.join()
        found = f": {running.found}" if running.found and mark == "✓" else ""
        back = "\r\033[K" if live else ""
        print(f"{back}  {mark} {title}{found} [{time.monotonic() - started_s:.1f} s]", flush=True)


def fail(error: DemoError) -> None:
    """Print what went wrong, and what to do, on stderr."""
    print(f"\nThe demo failed: {error}", file=sys.stderr, flush=True)
