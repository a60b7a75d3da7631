"""Seconds per frame and part, side by side in one run: `python -m benchmarks.speed [--profile compact] [--objects 3]`.

For XMem: the plain way (xmem_reference.py), ours in float32, and ours in bfloat16 where the CPU has it, one after the
other on every frame, with how far their masks agree, and the peak memory of each in a process of its own. For the
compact profile: the tracker, and the research spike's where ../shared/spike is there; then a whole session, frames in
and masks out, with all cores at one operation and with cores shared between encoding and tracking, by turns.

Frames show coloured things that move (the random weights follow colours). Memory is full first, as it is later in a
video: XMem is given true masks, the compact profile and the spike track so many frames from one mask (given masks they
would keep for good).
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, Protocol
from unittest.mock import patch

import cv2
import numpy as np
import torch
from torch import Tensor

from benchmarks.lively_weights import lively_network
from benchmarks.resident import peak_mb
from benchmarks.xmem_reference import ReferenceTracker
from tam_backend.engine import TrackAnything
from tam_backend.models import zoo
from tam_backend.models.devices import has_fast_bfloat16
from tam_backend.models.protocols import Models
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem
from tam_backend.tracking.passes import Workplace
from tam_backend.types import Prompt, RgbFrame

PARTS = ("key", "read", "mask decode", "value", "memorise", "rest")
_UNTIL_FULL = 24  # frames until the compact tracker's working memory is full
_SESSIONS = 3  # of each way, by turns
COLOURS = ((235, 120, 30), (40, 60, 220), (60, 200, 80), (200, 60, 180), (230, 220, 60))


class Steps(Protocol):
    """What is timed."""

    def step(self, image: Tensor, mask: Tensor | None = None, object_ids: list[int] | None = None) -> Tensor: ...


@dataclass(frozen=True, eq=False)
class Scene:
    """One frame: (3, H, W) float32 RGB in 0..1, and (H, W) int64 true objects."""

    image: Tensor
    labels: Tensor


@dataclass(eq=False)
class Timed:
    """A tracker with its seconds: by part, one list entry each time the part ran, and whole frames."""

    tracker: Steps
    seconds: Mapping[str, list[float]]
    frames: list[float]


def scene(index: int, objects: int, side: int) -> Scene:
    """Draw a frame of 16:9 with moving discs and squares over a smooth background that moves too."""
    height, width = side, side * 16 // 9
    noise = np.random.default_rng(0).integers(0, 256, (12, 16, 3), dtype=np.uint8)
    background = cv2.resize(noise, (width * 5 // 4, height), interpolation=cv2.INTER_CUBIC) * 0.4 + 60
    shift = index % (width // 4)
    image = background[:, shift : shift + width].astype(np.float32)
    labels = np.zeros((height, width), np.uint8)
    for each in range(objects):
        x = int(width * (each + 1) / (objects + 1) + index * (2 if each % 2 else -2))
        y = int(height * (0.35 + 0.3 * (each % 2)))
        size = height // 7
        if each % 2:
            cv2.rectangle(labels, (x - size, y - size), (x + size, y + size), each + 1, -1)
        else:
            cv2.circle(labels, (x, y), size, each + 1, -1)
        image[labels == each + 1] = COLOURS[each % len(COLOURS)]
    smooth = cv2.GaussianBlur(image, (0, 0), 0.8).clip(0, 255).astype(np.float32) / 255
    return Scene(torch.from_numpy(smooth).permute(2, 0, 1).contiguous(), torch.from_numpy(labels).long())


def xmem_tracker(way: str, weights: Path) -> Timed:
    """Make a tracker of a way: reference, float32 or bfloat16."""
    if way == "reference":
        tracker = ReferenceTracker(torch.load(weights, weights_only=True))
        return Timed(tracker, tracker.seconds, [])
    ours = XMemTracker(load_xmem(weights, "cpu", precision=way), XMemConfig(permanent_memory=False))  # type: ignore[arg-type]
    seconds: dict[str, list[float]] = defaultdict(list)
    network: Any = ours._network
    for part, owner, name in (
        ("key", network, "encode_key"),
        ("read", ours.memory, "read"),
        ("mask decode", network, "decode"),
        ("value", network, "encode_value"),
    ):
        setattr(owner, name, _timed(getattr(owner, name), seconds[part]))
    return Timed(ours, seconds, [])


def _timed(function: Callable[..., Any], seconds: list[float]) -> Callable[..., Any]:
    def timed(*arguments: Any, **named: Any) -> Any:
        start = time.perf_counter()
        answer = function(*arguments, **named)
        seconds.append(time.perf_counter() - start)
        return answer

    return timed


def run(
    ways: Mapping[str, Timed], objects: int, side: int, frames: int, given_masks: int, untimed: int = 2
) -> dict[str, list[Tensor]]:
    """Lead all trackers over the same frames, each frame by all before the next one; return their probabilities.

    Args:
        ways: trackers by name.
        objects: in the scene.
        side: the shorter side, pixels.
        frames: that are timed.
        given_masks: frames with true masks, before all others.
        untimed: tracked frames after those, to fill memory and warm up.
    """
    ids = list(range(1, objects + 1))
    answers: dict[str, list[Tensor]] = {name: [] for name in ways}
    for index in range(given_masks + untimed + frames):
        shown = scene(index, objects, side)
        given = (shown.labels, ids) if index < given_masks else (None, None)
        for name, timed in ways.items():
            start = time.perf_counter()
            answer = timed.tracker.step(shown.image, *given)
            taken = time.perf_counter() - start
            if index >= given_masks + untimed:
                timed.frames.append(taken)
                answers[name].append(answer)
            else:
                for times in timed.seconds.values():
                    times.clear()
    return answers


def agreement(expected: Sequence[Tensor], got: Sequence[Tensor]) -> str:
    """Tell how far two trackers agree: probabilities, and the IoU of the masks."""
    differences = torch.stack([(a - b).abs() for a, b in zip(expected, got, strict=True)]).flatten()
    overlaps = []
    for a, b in zip(expected, got, strict=True):
        for each in range(1, len(a)):
            first, second = a.argmax(0) == each, b.argmax(0) == each
            union = int((first | second).sum())
            overlaps.append(float((first & second).sum()) / union if union else 1.0)
    worst = differences.kthvalue(max(1, int(0.999 * len(differences)))).values
    return (
        f"mean difference {differences.mean():.1e}, 99.9th percentile {worst:.1e}, "
        f"mask IoU mean {statistics.mean(overlaps):.4f}, least {min(overlaps):.4f}"
    )


def table(ways: Mapping[str, Timed]) -> str:
    """Print medians per part in ms, what a frame takes of them on average, and its ratio to the first way's."""
    header = "".join(f"{part:>13}" for part in PARTS)
    lines = [f"{'ms, median':<14}{header}{'frame':>10}{'times':>8}"]
    base: float | None = None
    for name, timed in ways.items():
        count = len(timed.frames)
        medians = {part: statistics.median(times) for part, times in timed.seconds.items() if times}
        # A part that does not run on every frame counts by how often it runs. The rest: aggregation, padding, storing.
        frame = sum(median * len(timed.seconds[part]) / count for part, median in medians.items())
        spent = sum(sum(times) for times in timed.seconds.values())
        rest = max(0.0, sum(timed.frames) - spent) / count
        frame, medians["rest"] = (frame + rest, rest) if medians else (statistics.median(timed.frames),) * 2
        base = base or frame
        cells = "".join(f"{medians[part] * 1e3:>13.1f}" if part in medians else f"{'-':>13}" for part in PARTS)
        lines.append(f"{name:<14}{cells}{frame * 1e3:>10.1f}{base / frame:>7.2f}x")
    return "\n".join(lines)


def peak_of(way: str, weights: Path, arguments: argparse.Namespace) -> int:
    """Return the peak resident memory, in MB, of a few frames in a process of their own."""
    command = [sys.executable, "-m", "benchmarks.speed", "--only", way, "--weights", str(weights)]
    command += ["--objects", str(arguments.objects), "--side", str(arguments.side), "--frames", "4"]
    command += ["--prefilled", str(arguments.prefilled), "--threads", str(arguments.threads)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


def compare_xmem(arguments: argparse.Namespace, weights: Path) -> None:
    """Print the ways, their agreement and their memory."""
    ours = ["float32"]
    if has_fast_bfloat16(torch.device("cpu")):
        ours.append("bfloat16")
    else:
        print("The row of bfloat16 is left out: no bfloat16 here.")
    ways = {way: xmem_tracker(way, weights) for way in ("reference", *ours)}
    answers = run(ways, arguments.objects, arguments.side, arguments.frames, arguments.prefilled)
    print(table(ways))
    for way in ours:
        print(f"{way} against the reference: {agreement(answers['reference'], answers[way])}")
    peaks = ", ".join(f"{way} {peak_of(way, weights, arguments)} MB" for way in ways)
    print(f"peak resident memory, each in a process of its own: {peaks}", flush=True)


def compare_compact(arguments: argparse.Namespace) -> None:
    """Print the compact tracker, and the spike's where it is there."""
    models = zoo.load("compact", "cpu")
    ways = {"compact": Timed(models.new_tracker(), {}, [])}
    spike = Path(__file__).resolve().parents[2] / "shared" / "spike"
    if spike.is_dir():
        from benchmarks.spike_tracker import SpikeTracker  # noqa: PLC0415 - only where ../shared is

        ways = {"spike": Timed(SpikeTracker(spike), {}, []), **ways}
    else:
        print("The spike's row is left out: there is no ../shared/spike here.")
    run(ways, arguments.objects, arguments.side, arguments.frames, given_masks=1, untimed=_UNTIL_FULL)
    print(table(ways))
    for name, timed in ways.items():
        print(f"{name}: {1 / statistics.median(timed.frames):.1f} frames a second")
    if arguments.threads > 1:
        seconds: dict[bool, list[float]] = {False: [], True: []}
        for _ in range(_SESSIONS):
            for shares in seconds:
                seconds[shares] += session_frames(models, arguments.objects, arguments.side, arguments.frames, shares)
        plain, shared = (statistics.mean(seconds[shares]) for shares in (False, True))
        print(f"session, all cores at one operation: {1 / plain:.1f} frames a second")
        print(f"session, as it is, cores shared: {1 / shared:.1f} frames a second, {plain / shared:.2f}x")


def session_frames(models: Models, objects: int, side: int, frames: int, shares_cores: bool) -> list[float]:
    """Return the seconds from mask to mask of so many frames of a session, after those that fill the memory."""
    video = Scenes(objects, side, 1 + _UNTIL_FULL + frames)
    truth = scene(0, objects, side).labels.numpy()
    with (
        patch.object(Workplace, "shares_cores", shares_cores),
        TrackAnything(models).session(video) as session,
    ):
        for each in range(1, objects + 1):
            session.prompt(Prompt(each, 0, mask=truth == each))
        moments = [time.perf_counter() for _ in session.propagate()]
    return [after - before for before, after in pairwise(moments[-frames - 1 :])]


class Scenes:
    """A video of scenes, drawn before it is read."""

    name = "scenes"
    fps = 25.0

    def __init__(self, objects: int, side: int, frames: int) -> None:
        self.size_hw = (side, side * 16 // 9)
        self._frames = [
            np.asarray(scene(index, objects, side).image.permute(1, 2, 0) * 255, np.uint8).copy()
            for index in range(frames)
        ]

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> RgbFrame:
        return self._frames[index]

    def __iter__(self) -> Iterator[RgbFrame]:
        return iter(self._frames)

    def close(self) -> None: ...


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--profile", choices=("xmem", "compact"), default="xmem")
    parser.add_argument("--objects", type=int, default=1)
    parser.add_argument("--side", type=int, default=480, help="shorter side, pixels")
    parser.add_argument("--frames", type=int, default=20, help="timed ones")
    parser.add_argument("--prefilled", type=int, default=9, help="XMem: frames with true masks before them")
    parser.add_argument("--threads", type=int, default=2, help="1 tells most on a machine that others use too")
    parser.add_argument("--weights", type=Path, help="XMem.pth; random lively weights without it")
    parser.add_argument("--only", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.only:
        only = {"": xmem_tracker(arguments.only, arguments.weights)}
        run(only, arguments.objects, arguments.side, arguments.frames, arguments.prefilled)
        print(peak_mb())
        return
    print(
        f"{arguments.profile}, {arguments.objects} object(s), {arguments.side}x{arguments.side * 16 // 9}, "
        f"{arguments.frames} frames, {arguments.threads} thread(s), load {os.getloadavg()[0]:.1f} at the start"
    )
    if arguments.profile == "compact":
        compare_compact(arguments)
    elif arguments.weights:
        compare_xmem(arguments, arguments.weights)
    else:
        with tempfile.TemporaryDirectory() as folder:
            weights = Path(folder) / "XMem.pth"
            torch.save(lively_network().state_dict(), weights)
            compare_xmem(arguments, weights)


if __name__ == "__main__":
    main()
