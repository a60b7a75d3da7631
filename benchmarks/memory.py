"""Resident memory and time per frame over a long video: `python -m benchmarks.memory [--frames 2000] [--side 240]`.

A pass of XMem (random lively weights, or --weights) or of the compact profile over a clip that goes back and forth,
with a human's mask at its start and every 500 frames. Prints a row for every 100 frames (or --every), draws
OUT/memory.png, and tells how much more there is at the end than after 300 frames, when all of the working memory is in
use. With the usual settings XMem's long-term memory fills over the first 2000 frames; a smaller one (--long-term 1000)
is full after 200.
"""

from __future__ import annotations

import argparse
import os
import statistics
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path

import torch

from benchmarks.lively_weights import lively_network
from benchmarks.resident import resident_mb
from benchmarks.speed import scene
from tam_backend.models import zoo
from tam_backend.models.protocols import Tracker
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem

_SETTLED = 300
_TURN = 120  # frames in one direction


@dataclass(frozen=True)
class Row:
    """What was measured up to a frame: resident MB, elements in memory, median ms over the last frames."""

    frame: int
    resident_mb: int
    elements: int
    milliseconds: float


def run(tracker: Tracker, frames: int, side: int, objects: int, every: int) -> list[Row]:
    """Track, and measure after every so many frames."""
    rows, times = [], []
    for index in range(frames):
        place = index % (2 * _TURN)
        shown = scene(min(place, 2 * _TURN - place), objects, side)
        given = (shown.labels, list(range(1, objects + 1))) if index % 500 == 0 else (None, None)
        start = time.perf_counter()
        tracker.step(shown.image, *given)
        times.append((time.perf_counter() - start) * 1e3)
        if (index + 1) % every == 0:
            rows.append(Row(index + 1, resident_mb(), elements(tracker), statistics.median(times[-every:])))
            print(f"{index + 1:>6}{resident_mb():>8} MB{elements(tracker):>8}{times[-1]:>9.1f} ms", flush=True)
    return rows


def elements(tracker: Tracker) -> int:
    """Return how many elements a tracker of either kind remembers."""
    return tracker.memory.elements if isinstance(tracker, XMemTracker) else int(getattr(tracker, "memory_elements", 0))


def draw(rows: list[Row], every: int, file: Path) -> None:
    """Plot memory and time over the frames."""
    import matplotlib as mpl  # noqa: PLC0415 - slow to import

    mpl.use("Agg")
    from matplotlib import pyplot  # noqa: PLC0415

    figure, (top, bottom) = pyplot.subplots(2, 1, sharex=True, figsize=(7, 5))
    top.plot([row.frame for row in rows], [row.resident_mb for row in rows])
    top.set(ylabel="resident MB", ylim=(0, None))
    bottom.plot([row.frame for row in rows], [row.milliseconds for row in rows])
    bottom.set(xlabel="frame", ylabel=f"ms a frame (median of {every})", ylim=(0, None))
    figure.savefig(file, dpi=120, bbox_inches="tight")


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("xmem", "compact"), default="xmem")
    parser.add_argument("--frames", type=int, default=2000)
    parser.add_argument("--every", type=int, default=100, help="frames from one row to the next")
    parser.add_argument("--side", type=int, default=240, help="shorter side, pixels")
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--long-term", type=int, default=XMemConfig().max_long_term_elements, help="XMem: elements")
    parser.add_argument("--weights", type=Path, help="XMem.pth; random lively weights without it")
    parser.add_argument("--out", type=Path, default=Path(), help="folder for memory.png")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    config = XMemConfig(max_long_term_elements=arguments.long_term)
    if arguments.profile == "compact":
        tracker: Tracker = zoo.load("compact", "cpu").new_tracker()
    elif arguments.weights:
        tracker = XMemTracker(load_xmem(arguments.weights, precision="fast"), config)
    else:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "XMem.pth"
            torch.save(lively_network().state_dict(), weights)
            tracker = XMemTracker(load_xmem(weights, precision="fast"), config)
    print(f"{arguments.profile}, {arguments.objects} object(s), side {arguments.side}, load {os.getloadavg()[0]:.1f}")
    rows = run(tracker, arguments.frames, arguments.side, arguments.objects, arguments.every)
    draw(rows, arguments.every, arguments.out / "memory.png")
    settled = [row for row in rows if row.frame >= _SETTLED] or rows
    if len(settled) > 1:
        grown = settled[-1].resident_mb - settled[0].resident_mb
        print(f"from frame {settled[0].frame} to {settled[-1].frame}: {grown:+d} MB, ", end="")
        print(f"{settled[0].milliseconds:.1f} -> {settled[-1].milliseconds:.1f} ms a frame")


if __name__ == "__main__":
    main()
