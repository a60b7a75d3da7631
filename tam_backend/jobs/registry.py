"""The propagations of this process: what, how far, a way to stop them. What outlives a request outlives a restart."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Literal

from tam_backend.errors import CancelledError, NotFoundError, TamError
from tam_backend.jobs.store import LEASE_S, Intent, JobStore, UnfinishedJob

JobState = Literal["queued", "running", "pushing", "waiting", "done", "stopped", "cancelled", "failed"]


class Job:
    """One propagation. Its worker moves it on; anyone may `cancel` it. Thread-safe.

    States: queued; running; pushing (its masks go to Label Studio); waiting (for Label Studio, to try that again). Then
    done, stopped (its time budget ran out), cancelled (on request, by a newer one, or the client hung up), or failed.
    """

    def __init__(
        self,
        task_id: int | str | None,
        project: str,
        frames_total: int,
        frames_done: int = 0,
        *,
        intent: Intent | None = None,
        state: JobState = "running",
        waited_for: bool = False,
        job_id: str | None = None,
    ) -> None:
        self.id = job_id or secrets.token_hex(6)
        self.task_id = task_id
        self.project = project
        self.intent = intent
        self.is_kept = intent is not None
        self._whose = "" if intent is None else intent.whose
        self.waited_for = waited_for  # by a person, whose request works on it
        self.found = False  # what Label Studio is to be told: only that is left to do
        self.frames_total = frames_total
        self.frames_done = self.frames_before = frames_done
        self.frame: int | None = None
        self.state: JobState = state
        self.message = ""
        self.attempts = 0
        self.started_at = datetime.now(timezone.utc)
        self.ended_at: datetime | None = None
        self._cancel = threading.Event()
        self._lock = threading.Lock()

    def takes_the_place_of(self, older: Job) -> bool:
        """Tell whether an older job of the same task carries out the same person's work, and nobody waits for it."""
        same = self.is_kept and older.is_kept and self._whose == older._whose
        same = same and (self.project, str(self.task_id)) == (older.project, str(older.task_id))
        return same and older.ended_at is None and not older.waited_for

    @property
    def cancel_requested(self) -> bool:
        """Whether someone asked for it to end; its worker looks here between frames."""
        return self._cancel.is_set()

    def cancel(self, message: str = "") -> None:
        """Ask it to end. One that has ended stays as it is; one that nobody works on ends at once."""
        with self._lock:
            if self.ended_at is not None:
                return
            self._cancel.set()
            self.message = message or self.message
            if self.state in ("queued", "waiting"):
                self._ended()
                self.state = "cancelled"

    def advance(self, frame: int) -> None:
        """Say that `frame` (0-based) is done."""
        with self._lock:
            self.frames_done += 1
            self.frame = frame

    def measured(self, frames_done: int, frames_total: int) -> None:
        """Say how far the work had come before this job did anything."""
        with self._lock:
            self.frames_done = self.frames_before = frames_done
            self.frames_total = frames_total

    def to(self, state: JobState, message: str = "") -> None:
        """Move on to a state that is not the end."""
        with self._lock:
            if self.ended_at is None:
                self.state, self.message = state, message

    def stopped(self, message: str) -> None:
        """Say that the work ends here before its last frame because its time is used up."""
        self.to("stopped", message)

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if self.ended_at is not None:
                return
            self._ended()
            if isinstance(error, CancelledError):
                self.state, self.message = "cancelled", self.message or error.message
            elif isinstance(error, TamError):
                self.state, self.message = "failed", str(error)
            elif isinstance(error, Exception):
                self.state, self.message = "failed", f"Something unexpected went wrong ({type(error).__name__})."
            elif error is not None or (self.state != "stopped" and self._cancel.is_set()):
                self.state = "cancelled"
            elif self.state != "stopped":
                self.state = "done"

    def _ended(self) -> None:
        """Take note of the end; what it was to do, with the whole task, is too large to be kept for a list of jobs."""
        self.ended_at = datetime.now(timezone.utc)
        self.intent = None

    def as_json(self) -> dict[str, Any]:
        """Return what GET /jobs shows: times are ISO 8601 in UTC, frames 0-based."""
        with self._lock:
            end = self.ended_at or datetime.now(timezone.utc)
            return {
                "id": self.id,
                "task": self.task_id,
                "project": self.project,
                "state": self.state,
                "frame": self.frame,
                "frames_done": self.frames_done,
                "frames_total": self.frames_total,
                "started_at": self.started_at.isoformat(timespec="milliseconds"),
                "ended_at": self.ended_at.isoformat(timespec="milliseconds") if self.ended_at else None,
                "seconds": round((end - self.started_at).total_seconds(), 3),
                "cancel_requested": self.cancel_requested,
                "message": self.message,
            }


class JobRegistry:
    """All jobs that have not ended and the last `keep` that did. Thread-safe.

    Args:
        keep: how many ended ones are remembered, by this process.
        store: where those with an intent are kept for a restart; None: nowhere.
    """

    def __init__(self, keep: int = 50, store: JobStore | None = None) -> None:
        self._keep = keep
        self._store = store
        self._jobs: dict[str, Job] = {}
        self._ended_frames = 0
        self._interrupted = False
        self._lock = threading.Lock()
        self._adding = threading.Lock()

    @contextmanager
    def start(
        self,
        task_id: int | str | None,
        project: str,
        frames_total: int,
        *,
        frames_done: int = 0,
        intent: Intent | None = None,
    ) -> Iterator[Job]:
        """Register a job for the length of a `with` block; how the block is left decides the job's last state.

        `frames_done` were done by earlier jobs, of which this one is the continuation. Somebody waits for it; should
        the process be killed meanwhile, a job with an `intent` goes on without them after the restart.
        """
        job = self._add(Job(task_id, project, frames_total, frames_done, intent=intent, waited_for=True))
        error: BaseException | None = None
        try:
            yield job
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.end(job, error)

    def enqueue(self, intent: Intent, frames_total: int = 0) -> Job:
        """Register a job that nobody waits for; it takes the place of the task's older ones."""
        return self._add(Job(intent.task_id, intent.project, frames_total, intent=intent, state="queued"))

    def claim(self) -> list[Job]:
        """Register what no living process works on: what this one's predecessor, or another one, left unfinished."""
        if self._store is None or self._interrupted:
            return []
        with self._adding:
            return [self._register(_claimed(each)) for each in self._store.claim()]

    def renew(self) -> None:
        """Go on owning the jobs of this process, and stop those that it does not own any more."""
        if self._store is None or self._interrupted:
            return
        with self._adding:
            kept = [job for job in self.all() if job.ended_at is None and job.intent is not None]
            owned = self._store.renew()
        for job in kept:
            if job.id not in owned:
                job.cancel("A newer request for this task took over, or another process did.")

    def release(self) -> None:
        """Let other processes, and the one after a restart, go on with what is unfinished."""
        if self._store is not None:
            self._store.release()

    @property
    def lease_s(self) -> float:
        """How often `renew` must be called, at the very least."""
        return LEASE_S if self._store is None else self._store.lease_s

    def keep_prediction(self, job: Job, prediction: Mapping[str, Any]) -> None:
        """Keep what a job found until Label Studio has it: in the database, since many may wait for that at once.

        Raises:
            CancelledError: it is not this process's job any more.
            StoreError: the database refuses.
        """
        if self._store is not None:
            self._store.keep_prediction(job.id, prediction)
        job.found = True

    def prediction(self, job: Job) -> Mapping[str, Any]:
        """Return what `keep_prediction` kept.

        Raises:
            CancelledError, StoreError: as there.
        """
        if self._store is None:
            raise CancelledError("Nothing is kept of jobs here.")
        return self._store.prediction(job.id)

    def end(self, job: Job, error: BaseException | None = None) -> None:
        """End a job: done, or what the error says."""
        job._end(error)
        if not (self._interrupted and job.state == "cancelled"):
            self._drop(job)
        self._forget_old()

    def get(self, job_id: str) -> Job:
        """Look a job up.

        Raises:
            NotFoundError: there is none of this id, or it ended long ago.
        """
        with self._lock:
            job = self._jobs.get(job_id)
        if job is None:
            raise NotFoundError(f"There is no job {job_id[:40]!r}.", "See GET /jobs for the running and recent ones.")
        return job

    def cancel(self, job_id: str, message: str = "") -> Job:
        """Ask a job to end, and return it.

        Raises:
            NotFoundError: see `get`.
        """
        job = self.get(job_id)
        job.cancel(message)
        if job.ended_at is not None:
            self._drop(job)
        return job

    def all(self) -> list[Job]:
        """Return the jobs, newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def interrupt_all(self) -> None:
        """Ask every job to end, for a shutdown; those that are kept go on after the restart."""
        self._interrupted = True
        for job in self.all():
            job.cancel("The backend was stopped.")

    @property
    def running(self) -> int:
        """How many jobs have not ended."""
        return sum(job.ended_at is None for job in self.all())

    @property
    def frames_propagated(self) -> int:
        """How many frames were done since the start of the process, by jobs already forgotten too."""
        with self._lock:
            return self._ended_frames + sum(job.frames_done - job.frames_before for job in self._jobs.values())

    def _add(self, job: Job) -> Job:
        """Store a job, then register it; it takes the place of the task's older ones that nobody waits for."""
        # One at a time: else of two, the one that is stored last might be the one that is registered first.
        with self._adding:
            if self._store is not None and job.intent is not None:
                self._store.add(UnfinishedJob(job.id, job.intent, job.frames_total), waited_for=job.waited_for)
            return self._register(job)

    def _register(self, job: Job) -> Job:
        with self._lock:
            older = [each.id for each in self._jobs.values() if job.takes_the_place_of(each)]
            self._jobs[job.id] = job
        for job_id in older:
            self.cancel(job_id, "A newer request for this task took over.")
        return job

    def _drop(self, job: Job) -> None:
        if self._store is not None and job.is_kept:
            self._store.drop(job.id)

    def _forget_old(self) -> None:
        with self._lock:
            ended = [job for job in self._jobs.values() if job.ended_at is not None]
            for job in ended[: max(0, len(ended) - self._keep)]:
                self._ended_frames += job.frames_done - job.frames_before
                del self._jobs[job.id]


def _claimed(kept: UnfinishedJob) -> Job:
    intent = kept.intent
    job = Job(intent.task_id, intent.project, kept.frames_total, intent=intent, state="queued", job_id=kept.id)
    job.found = kept.found
    return job
