"""A session's outstanding tracking, frame by frame at the caller's pace: it may stop at any frame and go on later."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from tam_backend.session.reconcile import reconcile
from tam_backend.session.session import Session
from tam_backend.types import FrameResult, Prompt


class Pursuit:
    """Brings a session to the prompts that are wanted, and tracks what they can influence.

    Args:
        session: belongs to this object from now on.
    """

    def __init__(self, session: Session) -> None:
        self.session = session
        self.frames_total = len(session.video)
        self._running: Generator[FrameResult | None, None, None] | None = None
        self._left = set(session.outstanding)

    def want(self, prompts: Sequence[Prompt]) -> None:
        """Say all prompts of all objects; what is tracked already for the same ones stays.

        Raises:
            TamError: what `Session.prompt` raises.
        """
        self._stop()
        reconcile(self.session, prompts)
        self._left = set(self.session.outstanding)

    def look_again(self) -> None:
        """Try damaged frames anew, unless it is at work already."""
        if self._running is None:
            self.session.look_again()
            self._left = set(self.session.outstanding)

    @property
    def frames_done(self) -> int:
        """How many frames have the result that the prompts give."""
        return self.frames_total - len(self._left)

    @property
    def done(self) -> bool:
        """Whether nothing is left to track."""
        return not self._left and self._running is None

    def advance(self) -> FrameResult | None:
        """Track one more frame, and return its result if it has one already; None also when all are done.

        Raises:
            TamError: what went wrong; the next call tries again where this one stopped.
        """
        if self.done:
            return None
        if self._running is None:
            self._running = self.session.update_stepwise()
        try:
            result = next(self._running)
        except StopIteration:
            self._running = None
            self._left = set(self.session.outstanding)
            return None
        except BaseException:
            self._stop()
            raise
        if result is not None:
            self._left.discard(result.frame)
        return result

    def results(self) -> Iterator[FrameResult]:
        """Yield all frames tracked so far, in ascending order."""
        return iter(self.session.tracks)

    def close(self) -> None:
        """Stop for good; a stored session stays stored."""
        self._stop()
        self.session.close()

    def _stop(self) -> None:
        if self._running is not None:
            self._running.close()
            self._running = None
