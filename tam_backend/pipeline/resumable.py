"""A propagation that can stop at any frame and go on later, with all it found so far kept small."""

from __future__ import annotations

from collections.abc import Iterator

from tam_backend.pipeline.session import Session
from tam_backend.types import FrameResult


class ResumablePropagation:
    """`Session.propagate`, frame by frame at the caller's pace.

    Args:
        session: with its prompts made; belongs to this object from now on.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._running = session.propagate_stepwise()
        self.frames_total = len(session.video)
        self.broken = False

    @property
    def frames_done(self) -> int:
        """How many frames have a result."""
        return len(self._session.tracks)

    @property
    def done(self) -> bool:
        """Whether every frame has one."""
        return self.frames_done == self.frames_total

    def advance(self) -> FrameResult | None:
        """Track one more frame, and return its result if it has one already; None also when all are done.

        Raises:
            TamError: what went wrong, once. From then on this propagation is `broken`: begin a new one.
        """
        if self.broken or self.done:
            return None
        try:
            result = next(self._running)
        except Exception:
            self.broken = True
            raise
        if self.done:
            self._running.close()  # gives the tracker's memory back
        return result

    def results(self) -> Iterator[FrameResult]:
        """Yield all frames tracked so far, in ascending order."""
        return iter(self._session.tracks)

    def close(self) -> None:
        """Stop for good and forget everything."""
        self._running.close()
        self._session.close()
