"""What the server holds of a task between two requests: its video, the session of its clicks, and the stored one."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tam_backend.engine import TrackAnything
from tam_backend.errors import BusyError, CancelledError, StoreError, TamError
from tam_backend.session.pursuit import Pursuit
from tam_backend.session.session import Session
from tam_backend.store.sessions import StoredSession
from tam_backend.types import Mask, Prompt, VideoSource

logger = logging.getLogger(__name__)

_POLL_S = 0.25


class OpenTask:
    """One task's video, the session of its clicks, and the stored session that is propagated.

    Clicks and propagation have a session, a decoder and a lock each: a click waits for no propagation to end, and
    does not send that one's decoder back and forth.

    Args:
        tam: the networks.
        video: the task's, for propagations; closed with this object.
        open_stored: takes the stored session, when it is first needed.
        open_again: opens the video once more, for clicks, when the first one comes.
    """

    def __init__(
        self,
        tam: TrackAnything,
        video: VideoSource,
        open_stored: Callable[[], StoredSession],
        open_again: Callable[[], VideoSource],
    ) -> None:
        self.tam = tam
        self.video = video
        self._open_stored = open_stored
        self._open_again = open_again
        self._clicks: Session | None = None
        self._click_lock = threading.Lock()
        self._newest_clicks: dict[tuple[int, int], object] = {}
        self._pursuit_lock = threading.Lock()
        self._pursuit: Pursuit | None = None
        self._fingerprint = ""
        self._wanted = ""
        self._waiting = 0

    def click(self, prompts: Sequence[Prompt], cancelled: Callable[[], bool]) -> Mask:
        """Answer all prompts for one object on one frame, given together; what was said before does not count.

        The newest click on an object and frame wins: the editor drops the answers to earlier ones.

        Args:
            prompts: at least one.
            cancelled: asked before the networks work.

        Raises:
            CancelledError: `cancelled` said so, or a newer click came.
            TamError: what `Session.prompt` raises.
        """
        this, what = object(), (prompts[0].object_id, prompts[0].frame)
        self._newest_clicks[what] = this
        try:
            with self._click_lock:
                if cancelled():
                    raise CancelledError("The client hung up before its click was looked at.")
                if self._newest_clicks.get(what) is not this:
                    raise CancelledError("A newer click on the same object came before this one was looked at.")
                return self._segmented(prompts)
        finally:
            if self._newest_clicks.get(what) is this:
                del self._newest_clicks[what]

    @contextmanager
    def pursuit(
        self,
        prompts: Sequence[Prompt],
        deadline_s: float,
        cancelled: Callable[[], bool],
        *,
        takes_over: bool = True,
    ) -> Iterator[Pursuit]:
        """Lend the stored session's tracking, brought to these prompts, to somebody who waits for its masks.

        The newest intent wins: whoever works with other prompts finds itself `superseded`, by those who take over.

        Args:
            prompts: of all objects.
            deadline_s: of `time.monotonic`; until when to wait for whoever has it.
            cancelled: asked while waiting.
            takes_over: False: whoever works now may finish.

        Raises:
            BusyError: another request propagates this task and does not end in time, or another process has it.
            CancelledError: `cancelled` said so.
            TamError: what `Session.prompt` raises.
        """
        fingerprint = _fingerprint(prompts)
        if takes_over:
            self._wanted = fingerprint
        self._waiting += 1
        try:
            while not self._pursuit_lock.acquire(timeout=_POLL_S):
                if cancelled():
                    raise CancelledError("The client hung up while it waited for another propagation of its task.")
                if time.monotonic() > deadline_s:
                    raise BusyError(
                        "Another request is propagating this task.", "Wait for it, or stop it: DELETE /jobs/<id>."
                    )
        finally:
            self._waiting -= 1
        self._wanted = fingerprint
        with self._lent(prompts, fingerprint) as pursuit:
            yield pursuit

    @contextmanager
    def pursuit_in_background(self, prompts: Sequence[Prompt]) -> Iterator[Pursuit]:
        """Lend it to a job that nobody waits for; look at `contested` between frames.

        Raises:
            BusyError: somebody has it.
            TamError: what `Session.prompt` raises.
        """
        if self._waiting or not self._pursuit_lock.acquire(blocking=False):
            raise BusyError("Somebody propagates this task.", "Try again when they are done.")
        fingerprint = self._wanted = _fingerprint(prompts)
        with self._lent(prompts, fingerprint) as pursuit:
            yield pursuit

    @property
    def superseded(self) -> bool:
        """Whether somebody asked for a propagation of other prompts than the one that is lent."""
        return self._wanted != self._fingerprint

    @property
    def contested(self) -> bool:
        """Whether somebody waits for the propagation that is lent."""
        return self._waiting > 0

    def close(self) -> None:
        """Give everything back; the stored session stays stored."""
        self._let_go()
        if self._clicks is not None:
            self._clicks.close()
            self._clicks.video.close()
        self.video.close()

    def _segmented(self, prompts: Sequence[Prompt]) -> Mask:
        """The lock of the clicks is held."""
        if self._clicks is None:
            self._clicks = self.tam.session(self._open_again())
        try:
            return [self._clicks.prompt(prompt) for prompt in prompts][-1]
        finally:
            for object_id in self._clicks.labels:
                self._clicks.remove(object_id)

    @contextmanager
    def _lent(self, prompts: Sequence[Prompt], fingerprint: str) -> Iterator[Pursuit]:
        """The lock is held, and given back at the end."""
        try:
            if self._pursuit is None:
                self._pursuit = Pursuit(self.tam.session(self.video, self._open_stored()))
                self._fingerprint = ""
            self._pursuit.look_again()
            if fingerprint != self._fingerprint:
                self._fingerprint = ""
                self._pursuit.want(prompts)
                self._fingerprint = fingerprint
            yield self._pursuit
        except (BusyError, StoreError):
            self._let_go()  # what is held may not be what is stored; the next one opens it anew
            raise
        finally:
            self._pursuit_lock.release()

    def _let_go(self) -> None:
        pursuit, self._pursuit = self._pursuit, None
        self._fingerprint = ""
        if pursuit is not None:
            try:
                pursuit.close()
            except TamError as error:
                logger.warning("The masks tracked last could not be stored: %s", error)


def _fingerprint(prompts: Sequence[Prompt]) -> str:
    """Hash what the prompts say."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(repr(prompt).encode())
    return digest.hexdigest()
