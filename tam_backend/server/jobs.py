"""The propagations that run in this process, and the last ones that ended: what, how far, and a way to stop them."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime, timezone
from typing import Any, Literal

from tam_backend.errors import CancelledError, NotFoundError, TamError

JobState = Literal["running", "done", "stopped", "cancelled", "failed"]


class Job:
    """One propagation. Its worker calls `advance` and `stopped`; anyone may `cancel` it. Thread-safe.

    States: running; then done (all frames), stopped (its time budget ran out), cancelled (on request, or the client
    hung up), or failed.
    """

    def __init__(self, task_id: int | str | None, project: str, frames_total: int, frames_done: int = 0) -> None:
        self.id = secrets.token_hex(6)
        self.task_id = task_id
        self.project = project
        self.frames_total = frames_total
        self.frames_done = self.frames_before = frames_done
        self.frame: int | None = None
        self.state: JobState = "running"
        self.message = ""
        self.started_at = datetime.now(timezone.utc)
        self.ended_at: datetime | None = None
        self._cancel = threading.Event()
        self._lock = threading.Lock()

    @property
    def cancel_requested(self) -> bool:
        """Whether someone asked for it to end; its worker looks here between frames."""
        return self._cancel.is_set()

    def cancel(self) -> None:
        """Ask it to end. One that has ended stays as it is."""
        with self._lock:
            if self.state == "running":
                self._cancel.set()

    def advance(self, frame: int) -> None:
        """Say that `frame` (0-based) is done."""
        with self._lock:
            self.frames_done += 1
            self.frame = frame

    def stopped(self, message: str) -> None:
        """Say that the work ends here before its last frame because its time is used up."""
        with self._lock:
            self.state, self.message = "stopped", message

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            self.ended_at = datetime.now(timezone.utc)
            if isinstance(error, CancelledError):
                self.state, self.message = "cancelled", error.message
            elif isinstance(error, TamError):
                self.state, self.message = "failed", str(error)
            elif isinstance(error, Exception):
                self.state, self.message = "failed", f"Something unexpected went wrong ({type(error).__name__})."
            elif error is not None or (self.state == "running" and self._cancel.is_set()):
                self.state = "cancelled"
            elif self.state == "running":
                self.state = "done"

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
    """All running jobs and the last `keep` that ended, in this process only. Thread-safe."""

    def __init__(self, keep: int = 50) -> None:
        self._keep = keep
        self._jobs: dict[str, Job] = {}
        self._ended_frames = 0
        self._lock = threading.Lock()

    @contextmanager
    def start(
        self, task_id: int | str | None, project: str, frames_total: int, *, frames_done: int = 0
    ) -> Iterator[Job]:
        """Register a job for the length of a `with` block; how the block is left decides the job's last state.

        `frames_done` were done by earlier jobs, of which this one is the continuation.
        """
        job = Job(task_id, project, frames_total, frames_done)
        with self._lock:
            self._jobs[job.id] = job
        error: BaseException | None = None
        try:
            yield job
        except BaseException as raised:
            error = raised
            raise
        finally:
            job._end(error)
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

    def all(self) -> list[Job]:
        """Return the jobs, newest first."""
        with self._lock:
            return list(reversed(self._jobs.values()))

    def cancel_all(self) -> None:
        """Ask every running job to end, for a shutdown."""
        for job in self.all():
            job.cancel()

    @property
    def running(self) -> int:
        """How many jobs run."""
        return sum(job.ended_at is None for job in self.all())

    @property
    def frames_propagated(self) -> int:
        """How many frames were done since the start of the process, by jobs already forgotten too."""
        with self._lock:
            return self._ended_frames + sum(job.frames_done - job.frames_before for job in self._jobs.values())

    def _forget_old(self) -> None:
        with self._lock:
            ended = [job for job in self._jobs.values() if job.ended_at is not None]
            for job in ended[: max(0, len(ended) - self._keep)]:
                self._ended_frames += job.frames_done - job.frames_before
                del self._jobs[job.id]
