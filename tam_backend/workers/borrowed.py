"""A view that a worker elsewhere has open, as the HTTP side uses it: knows no engine, only a line to the worker."""

from __future__ import annotations

import secrets
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Protocol

from tam_backend.errors import CancelledError, MediaError, TamError, WorkerLostError
from tam_backend.tracking.tracks import Tracks
from tam_backend.types import EncodedMask, FrameResult, Mask, Prompt
from tam_backend.workers.remote import KEEP_S, Clicked, FrameMasks, Progress
from tam_backend.workers.workers import Cancelled, View, ViewedVideo

# Between two looks at whether somebody still waits.
_STEP_S = 0.25
# Results that are asked for at once: some hundred kilobytes.
_FRAMES_AT_ONCE = 64
# What a worker that answers at all answers within.
_SOON_S = 30.0


class Line(Protocol):
    """A way to one worker."""

    def ask(self, what: str, *args: Any, limit_s: float, cancelled: Cancelled | None = None, **named: Any) -> Any:
        """Call a method of `remote.RemoteWorker` and return what it returns.

        Args:
            what: its name.
            args, named: its arguments.
            limit_s: how long the answer may take.
            cancelled: asked while waiting.

        Raises:
            WorkerLostError: the worker has ended, or does not answer.
            CancelledError: `cancelled` said so; the worker goes on.
        """

    def tell(self, what: str, *args: Any) -> None:
        """Call a method without waiting for it."""


class BorrowedView:
    """See `workers.OpenView`.

    Args:
        line: to the worker that has it.
        view: names it.
        timeout_s: how long networks and media may take.
    """

    def __init__(self, line: Line, view: View, timeout_s: float) -> None:
        self._line = line
        self._view = view
        self._timeout_s = timeout_s
        self._sizes: dict[int, tuple[int, int] | MediaError] = {}
        self.video: ViewedVideo = _value(line.ask("facts", view, timeout_s, limit_s=timeout_s + _SOON_S))

    def own_size_hw(self, frame: int) -> tuple[int, int]:
        """Return the (height, width) of a frame before it was scaled; see `OpenView.own_size_hw`."""
        if frame not in self._sizes:
            asked = self._line.ask("own_size_hw", self._view, frame, self._timeout_s, limit_s=self._timeout_s + _SOON_S)
            self._sizes[frame] = _value(asked)
        size: tuple[int, int] = _value(self._sizes[frame])
        return size

    def click(self, prompts: Sequence[Prompt], cancelled: Cancelled) -> Mask:
        """Answer all prompts for one object on one frame; see `OpenView.click`."""
        clicked: Clicked = self._call("click", self._view, prompts, self._timeout_s, cancelled=cancelled)
        self._sizes[prompts[-1].frame] = clicked.own_size_hw
        return clicked.mask

    @contextmanager
    def tracking(
        self, prompts: Sequence[Prompt], deadline_s: float, cancelled: Cancelled, *, takes_over: bool = True
    ) -> Iterator[BorrowedTracking]:
        """Lend the stored session's tracking; see `OpenView.tracking`."""
        begun = self._call(
            "begin",
            self._view,
            prompts,
            max(0.0, deadline_s - time.monotonic()),
            cancelled=cancelled,
            in_background=False,
            takes_over=takes_over,
        )
        with self._lent(begun) as tracking:
            yield tracking

    @contextmanager
    def tracking_in_background(self, prompts: Sequence[Prompt]) -> Iterator[BorrowedTracking]:
        """Lend it to a job that nobody waits for; see `OpenView.tracking_in_background`."""
        begun = self._call("begin", self._view, prompts, self._timeout_s, in_background=True, takes_over=False)
        with self._lent(begun) as tracking:
            yield tracking

    def carried_over(
        self, masks: Mapping[int, EncodedMask], following: View, timeout_s: float
    ) -> Mapping[int, EncodedMask]:
        """Return masks of the last frame on the next video's first one; see `OpenView.carried_over`."""
        found = self._line.ask("carried_over", self._view, masks, following, timeout_s, limit_s=2 * timeout_s + _SOON_S)
        carried: Mapping[int, EncodedMask] = _value(found)
        return carried

    def _call(self, what: str, *args: Any, cancelled: Cancelled | None = None, **named: Any) -> Any:
        """Ask for what may take long, and let the worker know when nobody waits any more."""
        call = secrets.token_hex(8)
        limit_s = self._timeout_s + _SOON_S
        try:
            return _value(self._line.ask(what, call, *args, limit_s=limit_s, cancelled=cancelled, **named))
        except (CancelledError, WorkerLostError):  # a worker that seems lost may only be slow
            self._line.tell("give_up", call)
            raise

    @contextmanager
    def _lent(self, begun: Progress) -> Iterator[BorrowedTracking]:
        tracking = BorrowedTracking(self._line, begun, self._sizes)
        over = threading.Event()
        threading.Thread(target=self._keep, args=(begun.token, over), name="keep-loan", daemon=True).start()
        try:
            yield tracking
        except BaseException:
            self._line.tell("end", begun.token)
            raise
        finally:
            over.set()
        _value(self._line.ask("end", begun.token, limit_s=_SOON_S))

    def _keep(self, token: str, over: threading.Event) -> None:
        """Tell the worker now and then that the loan is wanted: between two questions much may have to be encoded."""
        while not over.wait(KEEP_S):
            self._line.tell("keep", token)


class BorrowedTracking:
    """See `workers.Tracking`.

    Args:
        line: to the worker.
        begun: what it lent.
        sizes: takes the frames' own sizes, which come with their results.
    """

    def __init__(self, line: Line, begun: Progress, sizes: dict[int, tuple[int, int] | MediaError]) -> None:
        self._line = line
        self._sizes = sizes
        self._now = begun

    @property
    def frames_total(self) -> int:
        """How many frames the video has."""
        return self._now.frames_total

    @property
    def frames_done(self) -> int:
        """How many of them have the result that the prompts give."""
        return self._now.frames_done

    @property
    def done(self) -> bool:
        """Whether nothing is left to track."""
        return self._now.done

    @property
    def superseded(self) -> bool:
        """Whether somebody asked for a propagation of other prompts before the last step ended."""
        return self._now.superseded

    @property
    def contested(self) -> bool:
        """Whether somebody waited for what is lent when the last step ended."""
        return self._now.contested

    @property
    def unreadable(self) -> Mapping[int, MediaError]:
        """The damaged frames."""
        found: Mapping[int, MediaError] = _value(self._line.ask("unreadable", self._now.token, limit_s=_SOON_S))
        return found

    def advance(self) -> Sequence[int]:
        """Track on for a moment; see `Tracking.advance`."""
        # A frame takes long where the networks are large and others work on the same device.
        self._now = _value(self._line.ask("step", self._now.token, _STEP_S, limit_s=10 * _SOON_S))
        return self._now.frames

    def results(self) -> Iterator[FrameResult]:
        """Yield all frames tracked so far, in ascending order."""
        for begin in range(0, self.frames_total, _FRAMES_AT_ONCE):
            frames = range(begin, min(begin + _FRAMES_AT_ONCE, self.frames_total))
            yield from self._results_on(frames)

    def result_on(self, frame: int) -> FrameResult | None:
        """Return the result of one frame; None where there is none."""
        return next(self._results_on([frame]), None)

    def _results_on(self, frames: Sequence[int]) -> Iterator[FrameResult]:
        found: Sequence[FrameMasks] = _value(self._line.ask("results", self._now.token, frames, limit_s=_SOON_S))
        self._sizes.update({each.frame: each.own_size_hw for each in found})
        return iter(Tracks({each.frame: each.masks for each in found}))


def _value(answer: Any) -> Any:
    """Return an answer, or raise the error that it is."""
    if isinstance(answer, TamError):
        raise answer
    return answer
