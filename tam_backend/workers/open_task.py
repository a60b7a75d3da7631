"""What a worker holds of a task between two calls: its video, the session of its clicks, and the stored one."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager

from tam_backend.engine import TrackAnything
from tam_backend.errors import BusyError, CancelledError, MediaError, StoreError, TamError
from tam_backend.session.pursuit import Pursuit
from tam_backend.session.session import Session
from tam_backend.store.sessions import StoredSession
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import EncodedMask, FrameResult, Mask, Prompt, VideoSource
from tam_backend.video.base import own_size_hw
from tam_backend.workers.load import Load
from tam_backend.workers.two_frames import across_border
from tam_backend.workers.workers import Cancelled, View, ViewedVideo

logger = logging.getLogger(__name__)

_POLL_S = 0.25


class OpenTask:
    """One task's video, the session of its clicks, and the stored session that is propagated; see `workers.OpenView`.

    Clicks and propagation have a session, a decoder and a lock each: a click waits for no propagation to end, and
    does not send that one's decoder back and forth.

    Args:
        tam: the networks.
        video: the task's, for propagations; closed with this object.
        open_stored: takes the stored session, when it is first needed.
        open_again: opens the video once more, for clicks, when the first one comes.
        open_other: opens the video of another view, within some seconds.
        load: counts what is done.
        version: of the networks.
    """

    def __init__(
        self,
        tam: TrackAnything,
        video: VideoSource,
        open_stored: Callable[[], StoredSession],
        open_again: Callable[[], VideoSource],
        open_other: Callable[[View, float], VideoSource],
        load: Load,
        version: str = "",
    ) -> None:
        self.video = ViewedVideo.of(video, version)
        self._tam = tam
        self._decoder = video
        self._open_stored = open_stored
        self._open_again = open_again
        self._open_other = open_other
        self._load = load
        self._clicks: Session | None = None
        self._click_lock = threading.Lock()
        self._newest_clicks: dict[tuple[int, int], object] = {}
        self._pursuit_lock = threading.Lock()
        self._pursuit: Pursuit | None = None
        self._fingerprint = ""
        self._wanted = ""
        self._waiting = 0

    def own_size_hw(self, frame: int) -> tuple[int, int]:
        """Return the (height, width) of a frame before it was scaled; see `OpenView.own_size_hw`."""
        return own_size_hw(self._decoder, frame)

    def click(self, prompts: Sequence[Prompt], cancelled: Cancelled) -> Mask:
        """Answer all prompts for one object on one frame; see `OpenView.click`."""
        this, what = object(), (prompts[0].object_id, prompts[0].frame)
        self._newest_clicks[what] = this
        try:
            with self._click_lock:
                if cancelled():
                    raise CancelledError("The client hung up before its click was looked at.")
                if self._newest_clicks.get(what) is not this:
                    raise CancelledError("A newer click on the same object came before this one was looked at.")
                mask = self._segmented(prompts)
                self._load.clicked()
                return mask
        finally:
            if self._newest_clicks.get(what) is this:
                del self._newest_clicks[what]

    @contextmanager
    def tracking(
        self, prompts: Sequence[Prompt], deadline_s: float, cancelled: Cancelled, *, takes_over: bool = True
    ) -> Iterator[LentTracking]:
        """Lend the stored session's tracking to somebody who waits for its masks; see `OpenView.tracking`."""
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
            yield LentTracking(self, pursuit, self._load)

    @contextmanager
    def tracking_in_background(self, prompts: Sequence[Prompt]) -> Iterator[LentTracking]:
        """Lend it to a job that nobody waits for; see `OpenView.tracking_in_background`."""
        if self._waiting or not self._pursuit_lock.acquire(blocking=False):
            raise BusyError("Somebody propagates this task.", "Try again when they are done.")
        fingerprint = self._wanted = _fingerprint(prompts)
        with self._lent(prompts, fingerprint, to_keep=False) as pursuit:
            yield LentTracking(self, pursuit, self._load)

    def carried_over(
        self, masks: Mapping[int, EncodedMask], following: View, timeout_s: float
    ) -> Mapping[int, EncodedMask]:
        """Return masks of the last frame as they are on the next video's first one; see `OpenView.carried_over`."""
        with closing(self._open_other(following, timeout_s)) as other, closing(self._open_again()) as own:
            return across_border(self._tam, masks, own[len(own) - 1], other[0])

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
        self._decoder.close()

    def _segmented(self, prompts: Sequence[Prompt]) -> Mask:
        """The lock of the clicks is held."""
        if self._clicks is None:
            self._clicks = self._tam.session(self._open_again())
        try:
            return [self._clicks.prompt(prompt) for prompt in prompts][-1]
        finally:
            for object_id in self._clicks.labels:
                self._clicks.remove(object_id)

    @contextmanager
    def _lent(self, prompts: Sequence[Prompt], fingerprint: str, *, to_keep: bool = True) -> Iterator[Pursuit]:
        """The lock is held, and given back at the end.

        What is not `to_keep` open any worker may go on with at once.
        """
        try:
            was_kept = self._pursuit is not None
            try:
                pursuit = self._wanting(prompts, fingerprint)
            except BusyError:
                if not was_kept:
                    raise
                self._let_go()  # somebody else has worked on the session since; they may be done
                pursuit = self._wanting(prompts, fingerprint)
            yield pursuit
            if not to_keep:
                self._let_go()
        except (BusyError, StoreError):
            self._let_go()  # what is held may not be what is stored; the next one opens it anew
            raise
        finally:
            self._pursuit_lock.release()

    def _wanting(self, prompts: Sequence[Prompt], fingerprint: str) -> Pursuit:
        if self._pursuit is None:
            self._pursuit = Pursuit(self._tam.session(self._decoder, self._open_stored()))
            self._fingerprint = ""
        if not self._pursuit.session.is_current:
            raise BusyError("Another process has worked on this session.")
        self._pursuit.look_again()
        if fingerprint != self._fingerprint:
            self._fingerprint = ""
            self._pursuit.want(prompts)
            self._fingerprint = fingerprint
        return self._pursuit

    def _let_go(self) -> None:
        pursuit, self._pursuit = self._pursuit, None
        self._fingerprint = ""
        if pursuit is not None:
            try:
                pursuit.close()
            except TamError as error:
                logger.warning("The masks tracked last could not be stored: %s", error)


class LentTracking:
    """A pursuit for as long as it is lent; see `workers.Tracking`."""

    def __init__(self, task: OpenTask, pursuit: Pursuit, load: Load) -> None:
        self._task = task
        self._pursuit = pursuit
        self._load = load

    @property
    def frames_total(self) -> int:
        """How many frames the video has."""
        return self._pursuit.frames_total

    @property
    def frames_done(self) -> int:
        """How many of them have the result that the prompts give."""
        return self._pursuit.frames_done

    @property
    def done(self) -> bool:
        """Whether nothing is left to track."""
        return self._pursuit.done

    @property
    def superseded(self) -> bool:
        """Whether somebody asked for a propagation of other prompts meanwhile."""
        return self._task.superseded

    @property
    def contested(self) -> bool:
        """Whether somebody waits for what is lent."""
        return self._task.contested

    @property
    def unreadable(self) -> Mapping[int, MediaError]:
        """The damaged frames."""
        return self._pursuit.session.unreadable

    def advance(self) -> Sequence[int]:
        """Track one more frame; see `Tracking.advance`."""
        result = self._pursuit.advance()
        if result is None:
            return ()
        self._load.tracked(1)
        return (result.frame,)

    def results(self) -> Iterator[FrameResult]:
        """Yield all frames tracked so far, in ascending order."""
        return self._pursuit.results()

    def encoded(self, frames: Sequence[int]) -> dict[int, dict[int, KeptMask]]:
        """Return frame -> object id -> mask, for those of these frames that have a result."""
        tracks = self._pursuit.session.tracks
        return {frame: dict(tracks.encoded(frame)) for frame in frames if frame in tracks}

    def result_on(self, frame: int) -> FrameResult | None:
        """Return the result of one frame; None where there is none."""
        tracks = self._pursuit.session.tracks
        return tracks[frame] if frame in tracks else None  # noqa: SIM401 - no mapping, it has no `get`


def _fingerprint(prompts: Sequence[Prompt]) -> str:
    """Hash what the prompts say."""
    digest = hashlib.sha256()
    for prompt in prompts:
        digest.update(repr(prompt).encode())
    return digest.hexdigest()
