"""A session brought to the prompts that are wanted, and tracked frame by frame at the caller's pace.

It may stop at any frame and go on later; only what differs is segmented or tracked again.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator, Sequence

from tam_backend.errors import MediaError
from tam_backend.session.session import Session
from tam_backend.store.known import Known
from tam_backend.tracking.passes import DAMAGE
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


def reconcile(session: Session, wanted: Sequence[Prompt]) -> None:
    """Give a session the prompts that it lacks, and take back those that are not wanted any more.

    What is the same already is not segmented again, nor marked to be tracked anew. A label that differs is a renaming.
    Everything that can be refused is tried before anything is taken back. Prompts on a damaged frame are left out, if
    there are others.

    Args:
        session: any.
        wanted: all prompts of all objects; several of one object on one frame add up in their order.

    Raises:
        TamError: what `Session.prompt` raises; the session then holds what it held and some of the new prompts.
    """
    groups: dict[int, dict[int, list[Prompt]]] = {}
    for prompt in wanted:
        groups.setdefault(prompt.object_id, {}).setdefault(prompt.frame, []).append(prompt)
    known = {each: session.known(each) for each in session.labels}
    damage: MediaError | None = None
    for object_id, frames in groups.items():
        for frame, prompts in frames.items():
            held = known.get(object_id, {}).get(frame)
            if held is None or not held.says_the_same(_said(prompts)):
                try:
                    session.replace(prompts)
                except DAMAGE as error:
                    damage = error
                    session.leave_out(frame, error)
        if object_id not in session.labels:
            continue
        labels = [each.label for prompts in frames.values() for each in prompts if each.label is not None]
        if labels and session.labels[object_id] != labels[-1]:
            session.rename(object_id, labels[-1])
    if damage is not None and not session.labels:
        raise damage
    for object_id, held_frames in known.items():
        if object_id not in groups:
            session.remove(object_id)
            continue
        for frame in held_frames.keys() - groups[object_id].keys():
            session.clear(object_id, frame)


def _said(prompts: Sequence[Prompt]) -> Known:
    known = Known()
    for prompt in prompts:
        known = known.plus(prompt)
    return known
