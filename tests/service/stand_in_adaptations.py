"""Stand-ins for what lets networks learn: each does at once what the real one may come to after minutes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from pathlib import Path

from safetensors.torch import load_file, save_file

from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.outcome import (
    AdaptationLimits,
    AdaptationOutcome,
    CompactWeights,
    ComparedFrame,
    Comparison,
    NetworkVerdict,
    Progress,
)
from tam_backend.errors import CancelledError, OutputError

Told = Callable[[Progress], None]
Asked = Callable[[], bool]
CHECKPOINT = "checkpoint"
LAST_WORDS = "learnt_since_the_checkpoint"


def better(
    videos: list[LabeledVideo],
    base: CompactWeights,
    limits: AdaptationLimits,
    folder: Path,
    progress: Told,
    cancelled: Asked,
) -> AdaptationOutcome:
    """Promotes a tracker that is the package's, but for a change that cannot be seen."""
    del limits, cancelled
    folder.mkdir(parents=True, exist_ok=True)
    progress(Progress(0.5, "learning"))
    state = load_file(base.tracker)
    name = next(name for name, tensor in sorted(state.items()) if tensor.is_floating_point())
    state[name] = state[name] * 1.0001
    save_file(state, folder / "tracker.safetensors")
    return outcome(videos, folder / "tracker.safetensors")


def no_better(
    videos: list[LabeledVideo],
    base: CompactWeights,
    limits: AdaptationLimits,
    folder: Path,
    progress: Told,
    cancelled: Asked,
) -> AdaptationOutcome:
    """Refuses."""
    del base, limits, folder, progress, cancelled
    return outcome(videos, None)


def endless(
    videos: list[LabeledVideo],
    base: CompactWeights,
    limits: AdaptationLimits,
    folder: Path,
    progress: Told,
    cancelled: Asked,
) -> AdaptationOutcome:
    """Learns until it is ended, and keeps then what it has; the second time it goes on from that, and is done."""
    if (folder / CHECKPOINT).exists():
        return better(videos, base, limits, folder, progress, cancelled)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / CHECKPOINT).write_text(str(os.getpid()))
    progress(Progress(0.25, f"learning in process {os.getpid()} at {os.nice(0)}"))
    while not cancelled():
        progress(Progress(0.25, f"learning in process {os.getpid()} at {os.nice(0)}"))
        time.sleep(0.05)
    (folder / LAST_WORDS).write_text("much")
    raise CancelledError("It was cancelled.")


def disk_full(*_: object) -> AdaptationOutcome:
    """Cannot write."""
    raise OutputError("The adaptation cannot be written: no space left on device.", "Make room.")


def interrupted(*_: object) -> AdaptationOutcome:
    """Hears that nobody waits any more."""
    raise CancelledError("It was cancelled.")


def killed(*_: object) -> AdaptationOutcome:
    """Ends as a process that takes too much memory."""
    os.kill(os.getpid(), 9)
    raise AssertionError


def faulty(*_: object) -> AdaptationOutcome:
    """Has a fault."""
    raise ZeroDivisionError("somewhere")


def outcome(videos: list[LabeledVideo], tracker: Path | None) -> AdaptationOutcome:
    """Return what was found, for or against a tracker."""
    found = Comparison(60.0, 66.5 if tracker else 60.2, 3.0 if tracker else -1.0, 10.0 if tracker else 1.4, 20)
    promote = tracker is not None
    reason = "On c tracking went from 60.0 to 66.5." if promote else "On c tracking went from 60.0 to 60.2: noise."
    return AdaptationOutcome(
        promote=promote,
        reason=reason,
        segmenter=NetworkVerdict(False, "Left as it is.", None, None),
        tracker=NetworkVerdict(promote, reason, found, Comparison(80.0, 79.9, -0.5, 0.4, 100)),
        segmenter_weights=None,
        tracker_weights=tracker,
        learnt_from=tuple(each.name for each in videos[:-1]),
        held_out=(videos[-1].name,),
        notes=(),
        seconds=1.5,
        peak_memory_bytes=10**8,
        pictures=(ComparedFrame("the tracker", "largest gain", videos[-1].name, 4, 60.0, 66.5, b"jpeg"),),
    )
