"""The process in which networks learn from a project: its own, so that clicks never wait for it, at low priority.

Whoever started it hears how far it is and what it came to over a line, and may have it stop. It ends with them: when
they are gone, what it has learnt stays in its folder, and whoever takes the job next goes on from there.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from multiprocessing.connection import Connection, Pipe
from pathlib import Path
from typing import Any, Protocol

from tam_backend.adaptation.labeled import LabeledVideo
from tam_backend.adaptation.outcome import AdaptationLimits, AdaptationOutcome, CompactWeights, Progress
from tam_backend.errors import AdaptationError, CancelledError, LabelStudioError, TamError
from tam_backend.models import zoo
from tam_backend.service.parts import Parts
from tam_backend.settings import Settings
from tam_backend.submitted_videos import submitted_videos

# Clicks and propagations have the processor first.
_NICE = 10
_LOOK_S = 0.5
_STOPS_WITHIN_S = 3.0
STOPPED = (
    "It was stopped. Started again it goes on with what it has measured and learnt so far, but for the last seconds at "
    "times, unless what people submitted has changed."
)
# Not multiprocessing's: that runs the main module of whoever starts it once more, and with it a second backend.
_PROGRAM = """
import sys
sys.path[:] = sys.argv[2:]
from tam_backend.service.adapting_process import work
work(int(sys.argv[1]))
"""


class Adapt(Protocol):
    """What lets networks learn; `adaptation.adapt.adapt` does."""

    def __call__(
        self,
        videos: list[LabeledVideo],
        base: CompactWeights,
        limits: AdaptationLimits,
        folder: Path,
        progress: Callable[[Progress], None],
        cancelled: Callable[[], bool],
    ) -> AdaptationOutcome:
        """See there."""


def adapt_networks(
    videos: list[LabeledVideo],
    base: CompactWeights,
    limits: AdaptationLimits,
    folder: Path,
    progress: Callable[[Progress], None],
    cancelled: Callable[[], bool],
) -> AdaptationOutcome:
    """See `adaptation.adapt.adapt`."""
    from tam_backend.adaptation.adapt import adapt  # noqa: PLC0415 - brings torch, which only its own process needs

    return adapt(videos, base, limits, folder, progress, cancelled)


@dataclass(frozen=True)
class Order:
    """What the process is to do.

    Args:
        settings: of the backend.
        project: Label Studio's.
        limits: of time, memory and threads.
        folder: for what has to be kept until all is done; one of the project's own.
        unless_stamp: leave it where what there is to learn from has this stamp; "" = in no case.
        adapt: lets networks learn; found in the process by its name.
    """

    settings: Settings
    project: str
    limits: AdaptationLimits
    folder: Path
    unless_stamp: str = ""
    adapt: Adapt = adapt_networks


@dataclass(frozen=True)
class Learnt:
    """What the process came to.

    Args:
        stamp: of what it learnt from.
        outcome: None where that was `Order.unless_stamp`.
        left_out: of what people submitted: a sentence on everything, and why.
    """

    stamp: str
    outcome: AdaptationOutcome | None
    left_out: tuple[str, ...] = ()


def learn_elsewhere(order: Order, progress: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Learnt:
    """Have it done in a process of its own, and wait for it.

    Args:
        order: what.
        progress: is told how far it is.
        cancelled: asked twice a second; True ends the process.

    Raises:
        CancelledError: `cancelled` said so.
        AdaptationError: the process was killed.
        TamError: what it met.
    """
    line, process = _started(order)
    try:
        while True:
            if cancelled():
                raise CancelledError(STOPPED)
            if not line.poll(_LOOK_S):
                continue
            said = line.recv()
            if isinstance(said, Progress):
                progress(said)
            elif isinstance(said, Exception):
                raise said
            else:
                return _learnt(said)
    except (EOFError, ConnectionError) as error:
        raise AdaptationError(
            f"The process that learnt from project {order.project} ended with code {_ended(process)}.",
            "Look for its last words in the log; it may have been killed for memory. Start it again: it goes on.",
        ) from error
    finally:
        line.close()  # it stops by itself, or is ended
        _ended(process)


def _started(order: Order) -> tuple[Connection, subprocess.Popen[bytes]]:
    """Start the process, which finds modules where this one does; return it, and the line to it."""
    line, far_end = Pipe()
    with far_end:
        number = far_end.fileno()
        command = [sys.executable, "-c", _PROGRAM, str(number), *sys.path]
        process = subprocess.Popen(command, pass_fds=[number])  # noqa: S603 - our own program
    with suppress(ConnectionError):  # it ended before it began: whoever listens hears that
        line.send(order)
    return line, process


def _ended(process: subprocess.Popen[bytes]) -> int:
    """Wait until a process that was told to end has done so, or end it; return its code."""
    try:
        return process.wait(_STOPS_WITHIN_S)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def learn(order: Order, progress: Callable[[Progress], None], cancelled: Callable[[], bool]) -> Learnt:
    """Collect what people submitted of a project, and let the networks learn from it.

    Raises:
        InvalidInputError: too little to learn from, or no such project.
        LabelStudioError: Label Studio is away, or no key is known.
        CancelledError: `cancelled` said so.
        TamError: what `adapt` raises.
    """
    parts = Parts.of(order.settings)
    client = parts.label_studio.client
    if client is None:
        raise LabelStudioError(
            "There is no API key to read with from Label Studio what people submitted.", "Set LABEL_STUDIO_API_KEY."
        )
    progress(Progress(0.0, "reading what people submitted"))

    def open_media(value: Any, task: int) -> Any:
        return parts.fetcher.open_media(value, task_id=task)

    most, known = order.limits.most_videos, order.unless_stamp
    with submitted_videos(client, int(order.project), open_media, cancelled, most=most, unless_stamp=known) as found:
        if found.stamp == order.unless_stamp:
            return Learnt(found.stamp, None)
        segmenter, tracker = zoo.profile(order.settings.profile).weights
        folder = _folder_of(order.folder, found.stamp)
        base = CompactWeights(segmenter, tracker)
        outcome = order.adapt(list(found.videos), base, order.limits, folder, progress, cancelled)
        return Learnt(found.stamp, outcome, found.left_out)


def _folder_of(folder: Path, stamp: str) -> Path:
    """Return where a checkpoint of learning from this very data would be; those of other data are dropped."""
    own = folder / stamp
    for other in folder.iterdir() if folder.is_dir() else ():
        if other != own:
            shutil.rmtree(other, ignore_errors=True)
    return own


def _learnt(said: object) -> Learnt:
    if not isinstance(said, Learnt):
        raise AdaptationError(f"The process that learns said what nobody understands: {type(said).__name__}.")
    return said


def work(number: int) -> None:
    """Be the process.

    Args:
        number: of the open file that is its line to whoever started it; the order comes first.
    """
    os.nice(_NICE)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches both: whoever started this process ends it
    line: Connection = Connection(number)
    order: Order = line.recv()
    is_over = threading.Event()
    threading.Thread(target=_end_with, args=(line, is_over), daemon=True).start()

    def tell(what: object) -> None:
        with suppress(ConnectionError):  # nobody listens any more: it is about to end
            line.send(what)

    found: object = AdaptationError("The process that learns ended too early.")
    try:
        found = learn(order, tell, is_over.is_set)
    except Exception as error:
        found = error if isinstance(error, TamError) else AdaptationError(f"{type(error).__name__}: {error}")
        if not isinstance(error, TamError):
            raise
    finally:
        tell(found)


def _end_with(line: Connection, is_over: threading.Event) -> None:
    """Wait until whoever started this process is done with it, or gone; then end, wherever it is.

    What it has just learnt may be written first, as long as whoever started it waits for that.
    """
    try:
        line.recv()
    except (EOFError, OSError):
        is_over.set()
        time.sleep(_STOPS_WITHIN_S)
        os._exit(0)
