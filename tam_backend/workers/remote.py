"""What goes between a process of the HTTP side and a worker elsewhere; knows of no engine.

A propagation is lent under a token and goes on by steps of a moment each, that the borrower asks for one by one: who
has gone asks for no more, and a worker takes back what nobody asks for.
"""

from __future__ import annotations

import logging
import os
import secrets
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass, replace
from typing import TypeVar

from tam_backend.errors import BusyError, CancelledError, MediaError, OverloadedError, TamError
from tam_backend.store.holder import Holders
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import EncodedMask, Mask, Prompt
from tam_backend.workers.in_process import InProcessWorkers
from tam_backend.workers.open_task import LentTracking, OpenTask
from tam_backend.workers.workers import View, ViewedVideo, Work, WorkerState

logger = logging.getLogger(__name__)

T = TypeVar("T")

# A borrower that asks for nothing in so long has gone.
_IDLE_S = 20.0
KEEP_S = 4.0
"""How often a borrower says that it is still there."""
_LOOK_S = 2.0
_GIVEN_UP_KEPT = 1024


@dataclass(frozen=True)
class Presence:
    """What a worker says of itself.

    Args:
        state: for people.
        process: the process that it is, as `Holder.process_name` names holders of sessions.
    """

    state: WorkerState
    process: str


@dataclass(frozen=True)
class Progress:
    """How far a lent propagation is.

    Args:
        token: names it.
        frames: that came of the last step.
        frames_done, frames_total, done, superseded, contested: see `workers.Tracking`.
    """

    token: str
    frames: tuple[int, ...]
    frames_done: int
    frames_total: int
    done: bool
    superseded: bool
    contested: bool


@dataclass(frozen=True, eq=False)
class FrameMasks:
    """The result of a frame.

    Args:
        frame: which one.
        masks: object id -> mask.
        own_size_hw: of the frame before it was scaled, or why it is not known.
    """

    frame: int
    masks: Mapping[int, KeptMask]
    own_size_hw: tuple[int, int] | MediaError


@dataclass(frozen=True, eq=False)
class Clicked:
    """The answer to a click.

    Args:
        mask: at the size of the video's frames.
        own_size_hw: see `FrameMasks`.
    """

    mask: Mask
    own_size_hw: tuple[int, int] | MediaError


@dataclass(eq=False)
class _Loan:
    call: str  # that it was lent to
    view: OpenTask
    tracking: LentTracking
    stack: ExitStack
    lock: threading.Lock
    asked_at_s: float


class RemoteWorker:
    """The calls that come to one worker. Each returns its answer, or the `TamError` that it came to. Thread-safe.

    Args:
        name: of this worker, unlike any other's.
        make: builds what does the work.
        most_waiting: more clicks and propagations than these are refused.
    """

    def __init__(self, name: str, make: Callable[[], InProcessWorkers], most_waiting: int) -> None:
        self._name = name
        self._make = make
        self._made: InProcessWorkers | None = None
        self._trouble = ""
        self._most_waiting = most_waiting
        self._holder = Holders().new()
        self._given_up: OrderedDict[str, None] = OrderedDict()
        self._loans: dict[str, _Loan] = {}
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._begin()
        threading.Thread(target=self._keep_beginning, name="begin", daemon=True).start()
        threading.Thread(target=self._take_back_forgotten, name="forgotten-loans", daemon=True).start()

    def presence(self) -> Presence:
        """Say how this worker is."""
        if self._made is None:
            state = WorkerState(self._name, os.getpid(), "", ready=False, failure=self._trouble)
            return Presence(state, self._holder.process_name)
        [state] = self._made.states()
        return Presence(replace(state, name=self._name), self._holder.process_name)

    def facts(self, view: View, timeout_s: float) -> ViewedVideo | TamError:
        """Open a view, and return what is known of its video."""

        def answer() -> ViewedVideo:
            with self._lent(view, timeout_s, "click") as opened:
                return opened.video

        return _told(answer)

    def click(self, call: str, view: View, prompts: Sequence[Prompt], timeout_s: float) -> Clicked | TamError:
        """See `OpenView.click`; `give_up` of this call cancels it."""

        def answer() -> Clicked:
            with self._lent(view, timeout_s, "click") as opened:
                mask = opened.click(prompts, lambda: call in self._given_up)
                return Clicked(mask, _own_size(opened, prompts[-1].frame))

        return self._call(call, answer)

    def begin(
        self,
        call: str,
        view: View,
        prompts: Sequence[Prompt],
        timeout_s: float,
        *,
        in_background: bool,
        takes_over: bool,
    ) -> Progress | TamError:
        """Lend a propagation; see `OpenView.tracking` and `tracking_in_background`."""

        def answer() -> Progress:
            with ExitStack() as stack:
                opened = stack.enter_context(self._lent(view, timeout_s, "background" if in_background else "track"))
                lending: AbstractContextManager[LentTracking]
                if in_background:
                    lending = opened.tracking_in_background(prompts)
                else:
                    lending = opened.tracking(
                        prompts,
                        time.monotonic() + timeout_s,
                        lambda: call in self._given_up,
                        takes_over=takes_over,
                    )
                tracking = stack.enter_context(lending)
                token = secrets.token_hex(8)
                with self._lock:
                    if call in self._given_up:
                        raise CancelledError("Nobody waits for the propagation any more.")
                    self._loans[token] = _Loan(
                        call, opened, tracking, stack.pop_all(), threading.Lock(), time.monotonic()
                    )
                return _progress(token, tracking, ())

        return self._call(call, answer)

    def step(self, token: str, seconds: float) -> Progress | TamError:
        """Track on for about so long, one frame at least; after an error the loan is over."""

        def answer(loan: _Loan) -> Progress:
            ends_s = time.monotonic() + seconds
            frames: list[int] = []
            while not loan.tracking.done:
                frames += loan.tracking.advance()
                if time.monotonic() >= ends_s or loan.tracking.superseded or loan.tracking.contested:
                    break
            return _progress(token, loan.tracking, frames)

        return self._with_loan(token, answer)

    def results(self, token: str, frames: Sequence[int]) -> Sequence[FrameMasks] | TamError:
        """Return the results of those of these frames that have one, in this order."""

        def answer(loan: _Loan) -> list[FrameMasks]:
            found = loan.tracking.encoded(frames)
            return [FrameMasks(frame, masks, _own_size(loan.view, frame)) for frame, masks in found.items()]

        return self._with_loan(token, answer)

    def unreadable(self, token: str) -> Mapping[int, MediaError] | TamError:
        """See `Tracking.unreadable`."""
        return self._with_loan(token, lambda loan: dict(loan.tracking.unreadable))

    def end(self, token: str) -> TamError | None:
        """Take a loan back."""
        with self._lock:
            loan = self._loans.pop(token, None)
        if loan is None:
            return None
        with loan.lock:
            return _told(loan.stack.close)

    def keep(self, token: str) -> None:
        """Take note that a loan is still wanted."""
        with self._lock:
            loan = self._loans.get(token)
        if loan is not None:
            loan.asked_at_s = time.monotonic()

    def own_size_hw(self, view: View, frame: int, timeout_s: float) -> tuple[int, int] | TamError:
        """See `OpenView.own_size_hw`."""

        def answer() -> tuple[int, int]:
            with self._lent(view, timeout_s, "click") as opened:
                return opened.own_size_hw(frame)

        return _told(answer)

    def carried_over(
        self, view: View, masks: Mapping[int, EncodedMask], following: View, timeout_s: float
    ) -> Mapping[int, EncodedMask] | TamError:
        """See `OpenView.carried_over`."""

        def answer() -> Mapping[int, EncodedMask]:
            with self._lent(view, timeout_s, "background") as opened:
                return opened.carried_over(masks, following, timeout_s)

        return _told(answer)

    def give_up(self, call: str) -> None:
        """Say that nobody waits for a call any more, nor wants what it lent."""
        with self._lock:
            self._given_up[call] = None
            while len(self._given_up) > _GIVEN_UP_KEPT:  # those that were over already
                self._given_up.popitem(last=False)
            unwanted = [token for token, loan in self._loans.items() if loan.call == call]
        for token in unwanted:
            self.end(token)

    def close(self) -> None:
        """Write what waits to be written, and stop."""
        self._closed.set()
        for token in list(self._loans):
            self.end(token)
        if self._made is not None:
            self._made.close()

    def _begin(self) -> None:
        """Build what does the work. Ray starts no actor again whose making failed, so that must not fail."""
        try:
            made = self._make()
        except Exception as error:
            logger.warning("Worker %s cannot begin yet", self._name, exc_info=True)
            self._trouble = error.message if isinstance(error, TamError) else f"{type(error).__name__}: {error}"
        else:
            made.start()
            self._made = made

    def _keep_beginning(self) -> None:
        while self._made is None and not self._closed.wait(_LOOK_S):
            self._begin()

    def _lent(self, view: View, timeout_s: float, work: Work) -> AbstractContextManager[OpenTask]:
        if self._made is None:
            raise BusyError(f"Worker {self._name} cannot begin: {self._trouble}", "It goes on trying.")
        [state] = self._made.states()
        if state.waiting >= self._most_waiting:
            raise OverloadedError(
                f"{state.waiting} requests work or wait on worker {self._name} already.",
                "Try again in a moment, or add workers.",
            )
        return self._made.lent(view, timeout_s, work)

    def _call(self, call: str, answer: Callable[[], T]) -> T | TamError:
        try:
            return _told(answer)
        finally:
            with self._lock:
                self._given_up.pop(call, None)

    def _with_loan(self, token: str, answer: Callable[[_Loan], T]) -> T | TamError:
        with self._lock:
            loan = self._loans.get(token)
        if loan is None:
            return BusyError("The worker has taken the propagation back: nobody asked for it for long.", "Try again.")
        with loan.lock:
            loan.asked_at_s = time.monotonic()
            try:
                return answer(loan)
            except TamError as error:
                with self._lock:
                    self._loans.pop(token, None)
                return _ended_with(loan, error)
            finally:
                loan.asked_at_s = time.monotonic()

    def _take_back_forgotten(self) -> None:
        while not self._closed.wait(_LOOK_S):
            now_s = time.monotonic()
            with self._lock:
                forgotten = [
                    token
                    for token, loan in self._loans.items()
                    if now_s - loan.asked_at_s > _IDLE_S and not loan.lock.locked()
                ]
            for token in forgotten:
                self.end(token)


def _ended_with(loan: _Loan, error: TamError) -> TamError:
    """End a loan as a `with` block ends by an error; return the error that comes of it."""
    try:
        with loan.stack:
            raise error
    except TamError as raised:
        return raised


def _told(answer: Callable[[], T]) -> T | TamError:
    try:
        return answer()
    except TamError as error:
        return error


def _progress(token: str, tracking: LentTracking, frames: Sequence[int]) -> Progress:
    return Progress(
        token,
        tuple(frames),
        tracking.frames_done,
        tracking.frames_total,
        tracking.done,
        tracking.superseded,
        tracking.contested,
    )


def _own_size(opened: OpenTask, frame: int) -> tuple[int, int] | MediaError:
    try:
        return opened.own_size_hw(frame)
    except MediaError as error:
        return error
