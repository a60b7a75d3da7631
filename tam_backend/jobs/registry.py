"""The jobs as this process works on them. What people see of them is the database's (`JobStore`)."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from tam_backend.errors import CancelledError, StoreError, TamError, TooLittleError
from tam_backend.jobs.records import Intent, JobState, JobView, Outlook, Progress, Stage, TakenJob
from tam_backend.jobs.store import LOST, NEWER, STOPPED, JobStore

logger = logging.getLogger(__name__)


class Job:
    """One job in the hands of the worker that moves it on; anyone may `cancel` it. Thread-safe."""

    def __init__(self, taken: TakenJob, state: JobState = "queued", frames_done: int = 0) -> None:
        self.taken = taken
        self.id = taken.id
        self.task_id = taken.task_id
        self.project = taken.project
        self.intent = taken.intent
        self.attempts = taken.attempts
        self.found = taken.stage == "tell"  # what Label Studio is to be told: only that is left to do
        self.frames_total = taken.frames_total
        self.frames_done = self.frames_before = frames_done
        self._frames: set[int] = set()  # that this job did
        self.frame: int | None = None
        self.state: JobState = state
        self.message = self._why = ""
        self.pause_s: float | None = None
        self.has_ended = False
        self.written = self.progress
        self._cancel = threading.Event()
        self._lock = threading.Lock()

    @property
    def subject(self) -> str:
        """What it is about, for people."""
        return f"project {self.project}, its networks" if self.taken.stage == "adapt" else f"task {self.task_id}"

    @property
    def cancel_requested(self) -> bool:
        """Whether someone asked for it to end; its worker looks here between frames."""
        return self._cancel.is_set()

    @property
    def is_over(self) -> bool:
        """Whether there is nothing more for this process to do: it ended, or goes on later, anywhere."""
        return self.has_ended or self.pause_s is not None

    @property
    def progress(self) -> Progress:
        """How far it is."""
        # PostgreSQL takes no zeros in texts.
        return Progress(self.state, self.message.replace("\0", ""), self.frame, self.frames_done, self.frames_total)

    def cancel(self, message: str = "") -> None:
        """Ask it to end. One that is over stays as it is; one that nobody works on ends at once."""
        with self._lock:
            if self.is_over:
                return
            self._cancel.set()
            self._why = message or self._why
            self.message = self._why or self.message
            if self.state == "queued":
                self._ended()
                self.state = "cancelled"

    def advance(self, frame: int) -> None:
        """Say that `frame` (0-based) is done; with several objects it may be so more than once."""
        with self._lock:
            self.frames_done += frame not in self._frames
            self._frames.add(frame)
            self.frame = frame

    def measured(self, frames_done: int, frames_total: int) -> None:
        """Say how far the work had come before this job did anything."""
        with self._lock:
            self.frames_done = self.frames_before = frames_done
            self.frames_total = frames_total

    def to(self, state: JobState, message: str = "") -> None:
        """Move on to a state that is not the end."""
        with self._lock:
            if not self.is_over:
                self.state, self.message = state, message

    def stopped(self, message: str) -> None:
        """Say that the work ends here before its last frame because its time is used up."""
        self.to("stopped", message)

    def _put_back(self, state: JobState, message: str, pause_s: float) -> None:
        with self._lock:
            if not self.is_over:
                self.state, self.message, self.pause_s = state, message, pause_s

    def _end(self, error: BaseException | None) -> None:
        with self._lock:
            if self.is_over:
                return
            self._ended()
            if isinstance(error, CancelledError):
                self.state, self.message = "cancelled", self._why or error.message  # not what it was at
            elif isinstance(error, TooLittleError):
                self.state, self.message = "done", str(error)
            elif isinstance(error, TamError):
                self.state, self.message = "failed", str(error)
            elif isinstance(error, Exception):
                self.state, self.message = "failed", f"Something unexpected went wrong ({type(error).__name__})."
            elif error is not None or (self.state != "stopped" and self._cancel.is_set()):
                self.state = "cancelled"
            elif self.state != "stopped":
                self.state = "done"

    def _ended(self) -> None:
        """Take note of the end; what it was to do, with the whole task, is too large to be kept for longer."""
        self.has_ended = True
        self.intent = None


class JobRegistry:
    """The jobs of all processes to look at, and those of this process to work on. Thread-safe.

    Somebody has to `exchange` news with the database now and then: about once a second, so that the others see how far
    jobs are, and this process hears what they ask for.

    Args:
        store: where they are kept.
    """

    def __init__(self, store: JobStore) -> None:
        self._store = store
        self._mine: dict[str, Job] = {}
        self._ended_frames = 0
        self._interrupted = False
        self._renewed_s = time.monotonic()
        self._lock = threading.Lock()
        self._exchanging = threading.Lock()

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
        the process be killed meanwhile, a job with an `intent` goes on without them, here after the restart or
        elsewhere.

        Raises:
            BusyError: an adaptation of a project that is being adapted.
            StoreError: the database refuses.
        """
        taken, overtaken = self._store.begin(task_id, project, intent, frames_total, frames_done)
        job = self._register(Job(taken, "running", frames_done))
        self._cancel_here(overtaken)
        error: BaseException | None = None
        try:
            yield job
        except BaseException as raised:
            error = raised
            raise
        finally:
            self.end(job, error)

    def enqueue(self, intent: Intent, frames_total: int = 0, stage: Stage = "track") -> str:
        """Keep a job that nobody waits for, for any process to take, in place of the task's older ones; return its id.

        Raises:
            BusyError: an adaptation of a project that is being adapted.
            StoreError: the database refuses.
        """
        job_id, overtaken = self._store.enqueue(intent, frames_total, stage)
        self._cancel_here(overtaken)
        return job_id

    def look(self) -> Outlook:
        """Tell what there is to do; see `JobStore.look`."""
        return self._store.look()

    def claim(self, room: Mapping[Stage, Collection[str]]) -> Job | None:
        """Take a job to work on; see `JobStore.claim`."""
        with self._exchanging:
            if self._interrupted:
                return None
            taken = self._store.claim(room)
            return None if taken is None else self._register(Job(taken))

    def exchange(self) -> None:
        """Write how far this process's jobs are, renew its lease, and stop those that it is to stop.

        Raises:
            StoreError: the database refuses; what was to be written is written the next time.
        """
        with self._exchanging:
            if self._interrupted:
                return
            with self._lock:
                jobs = list(self._mine.values())
            if not jobs:
                return
            for job in [each for each in jobs if each.is_over]:
                self._write_last(job)
            living = [(job, job.progress) for job in jobs if not job.is_over]
            renew = time.monotonic() - self._renewed_s > self._store.lease_s / 3
            asked_s = time.monotonic()
            told = self._store.exchange(
                [(job.taken, progress) for job, progress in living if progress != job.written], renew=renew
            )
            self._renewed_s = asked_s if renew else self._renewed_s
            for job, progress in living:
                job.written = progress
                word = told.get(job.id)
                if word is None or word.taking != job.taken.taking:
                    job.cancel(LOST)
                elif word.cancel_requested:
                    job.cancel(word.message)

    def keep_prediction(self, job: Job, prediction: Mapping[str, Any]) -> None:
        """Keep what a job found until Label Studio has it: in the database, since many may wait for that at once.

        Raises:
            CancelledError: it is not this process's job any more.
            StoreError: the database refuses.
        """
        self._store.keep_prediction(job.taken, prediction)
        job.found = True

    def prediction(self, job: Job) -> Mapping[str, Any]:
        """Return what `keep_prediction` kept.

        Raises:
            CancelledError, StoreError: as there.
        """
        return self._store.prediction(job.taken)

    def put_back(self, job: Job, state: JobState, message: str, pause_s: float) -> None:
        """Let whoever has time go on with a job after a pause: "queued", or "waiting" for Label Studio."""
        job._put_back(state, message, pause_s)
        self._write_last_at_some_time(job)

    def end(self, job: Job, error: BaseException | None = None) -> None:
        """End a job: done, or what the error says."""
        job._end(error)
        self._write_last_at_some_time(job)

    def get(self, job_id: str) -> JobView:
        """Look a job up, of whichever process.

        Raises:
            NotFoundError: there is none of this id, or it ended long ago.
        """
        self.exchange()
        return self._store.get(job_id)

    def cancel(self, job_id: str, message: str = "") -> JobView:
        """Ask a job to end, of whichever process, and return it.

        Raises:
            NotFoundError: see `get`.
        """
        self._store.cancel(job_id, message)
        self._cancel_here([job_id], message)
        return self.get(job_id)

    def all(self, limit: int | None = None) -> list[JobView]:
        """Return the jobs of all processes, newest first."""
        self.exchange()
        return self._store.all(limit)

    def interrupt_all(self) -> None:
        """Ask every job of this process to end, for a shutdown; those with an intent go on elsewhere, or later."""
        with self._exchanging:
            self._interrupted = True
        self._cancel_here(list(self._mine), STOPPED)

    def release(self) -> None:
        """Let other processes, and the one after a restart, go on with what is unfinished.

        What is on its way to Label Studio may arrive yet: whoever goes on with it must look for it there first.
        """
        with self._lock:
            on_their_way = [job.id for job in self._mine.values() if job.state == "pushing" and not job.is_over]
        self._store.release(on_their_way)

    @property
    def running(self) -> int:
        """How many jobs have not ended, of all processes."""
        return self._store.unfinished

    @property
    def at_work(self) -> int:
        """How many jobs this process works on."""
        with self._lock:
            return sum(not job.is_over for job in self._mine.values())

    @property
    def frames_propagated(self) -> int:
        """How many frames this process has done, by jobs already forgotten too."""
        with self._lock:
            return self._ended_frames + sum(job.frames_done - job.frames_before for job in self._mine.values())

    def _register(self, job: Job) -> Job:
        with self._lock:
            self._mine[job.id] = job
        return job

    def _cancel_here(self, job_ids: Collection[str], message: str = NEWER) -> None:
        """Have this process's workers hear at once of what is in the database already."""
        with self._lock:
            jobs = [self._mine[each] for each in job_ids if each in self._mine]
        for job in jobs:
            job.cancel(message)

    def _write_last_at_some_time(self, job: Job) -> None:
        """Write what became of a job; at the next exchange, if the database refuses: the work is done all the same."""
        try:
            self._write_last(job)
        except StoreError as error:
            logger.warning("What became of job %s is written later: %s", job.id, error)

    def _write_last(self, job: Job) -> None:
        if self._interrupted and job.state == "cancelled":
            return  # `release` leaves it to others
        if job.pause_s is None:
            self._store.end(job.taken, job.progress)
        else:
            self._store.put_back(job.taken, job.progress, job.pause_s, tried=job.state == "waiting")
        with self._lock:
            if self._mine.get(job.id) is job:
                del self._mine[job.id]
                self._ended_frames += job.frames_done - job.frames_before
