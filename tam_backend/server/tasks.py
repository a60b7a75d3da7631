"""What the server keeps of a task between two requests, so that the second click is quick and a stop can go on."""

from __future__ import annotations

import hashlib
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from tam_backend.engine import TrackAnything
from tam_backend.errors import BusyError, CancelledError
from tam_backend.pipeline.resumable import ResumablePropagation
from tam_backend.types import Mask, Prompt, VideoSource

_POLL_S = 0.25


class OpenTask:
    """One task's video, the session of its clicks, and its last propagation.

    Clicks and the propagation have a session and a lock each: a click does not wait for a propagation to end.
    """

    def __init__(self, tam: TrackAnything, video: VideoSource) -> None:
        self.video = video
        self._tam = tam
        self._clicks = tam.session(video)
        self._click_lock = threading.Lock()
        self._propagation_lock = threading.Lock()
        self._propagation: ResumablePropagation | None = None
        self._fingerprint = ""
        self._wanted = ""

    def click(self, prompts: Sequence[Prompt]) -> Mask:
        """Answer all prompts for one object on one frame, given together; what was said before does not count.

        Raises:
            TamError: what `Session.prompt` raises.
        """
        with self._click_lock:
            try:
                return [self._clicks.prompt(prompt) for prompt in prompts][-1]
            finally:
                for object_id in self._clicks.labels:
                    self._clicks.remove(object_id)

    @contextmanager
    def propagation(
        self, prompts: Sequence[Prompt], deadline_s: float, cancelled: Callable[[], bool]
    ) -> Iterator[ResumablePropagation]:
        """Lend the propagation of these prompts: the last one, to go on, if its prompts were the same; else a new one.

        The newest intent wins: whoever works with other prompts finds itself `superseded`.

        Args:
            prompts: of all objects.
            deadline_s: of `time.monotonic`; until when to wait for whoever has it.
            cancelled: asked while waiting.

        Raises:
            BusyError: another request propagates this task and does not end in time.
            CancelledError: `cancelled` said so.
            TamError: what `Session.prompt` raises.
        """
        fingerprint = self._wanted = _fingerprint(prompts)
        while not self._propagation_lock.acquire(timeout=_POLL_S):
            if cancelled():
                raise CancelledError("The client hung up while it waited for another propagation of its task.")
            if time.monotonic() > deadline_s:
                raise BusyError(
                    "Another request is propagating this task.", "Wait for it, or stop it: DELETE /jobs/<id>."
                )
        try:
            if self._propagation is None or self._propagation.broken or fingerprint != self._fingerprint:
                self._forget()
                session = self._tam.session(self.video)
                for prompt in prompts:
                    session.prompt(prompt)
                self._propagation, self._fingerprint = ResumablePropagation(session), fingerprint
            yield self._propagation
        finally:
            self._propagation_lock.release()

    @property
    def superseded(self) -> bool:
        """Whether somebody asked for a propagation of other prompts than the one that is lent."""
        return self._wanted != self._fingerprint

    def close(self) -> None:
        """Give everything back."""
        self._forget()
        self._clicks.close()
        self.video.close()

    def _forget(self) -> None:
        if self._propagation is not None:
            self._propagation.close()
            self._propagation = None


def _fingerprint(prompts: Sequence[Prompt]) -> str:
    """Hash what the prompts say, without labels: renaming an object changes no mask."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(repr((prompt.object_id, prompt.frame, prompt.points, prompt.box)).encode())
        if prompt.mask is not None:
            digest.update(repr(prompt.mask.shape).encode())
            digest.update(prompt.mask.tobytes())
    return digest.hexdigest()
