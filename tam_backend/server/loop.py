"""Work that nobody waits for: done by an executor, stored in Label Studio, tried again while that is away."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from tam_backend.errors import BusyError, CancelledError, LabelStudioError, LabelStudioRefusedError
from tam_backend.labelstudio.config import parse_config
from tam_backend.server.executor import Executor
from tam_backend.server.job_store import Intent
from tam_backend.server.jobs import Job, JobRegistry
from tam_backend.server.label_studio import LabelStudioAccess
from tam_backend.server.problems import ProblemLog
from tam_backend.server.reading import held_in
from tam_backend.server.task_memory import TaskMemories

logger = logging.getLogger(__name__)

# Seconds before Label Studio is asked again: doubled each time, up to the second one.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 300.0
# Before a task that somebody works on is looked at again.
_BUSY_PAUSE_S = 1.0

CarryOut = Callable[[Intent, Job], Mapping[str, Any] | None]
"""Does what an intent wants; returns the prediction to store, or None where there is nothing new to store."""


class Loop:
    """Runs jobs one after the other, and brings what they find to Label Studio. Thread-safe.

    Args:
        jobs, problems, memories: of the backend.
        label_studio: where predictions go.
        executor: runs the work.
        carry_out: the work.
    """

    def __init__(
        self,
        jobs: JobRegistry,
        problems: ProblemLog,
        memories: TaskMemories,
        label_studio: LabelStudioAccess,
        executor: Executor,
        carry_out: CarryOut,
    ) -> None:
        self._jobs = jobs
        self._problems = problems
        self._memories = memories
        self._label_studio = label_studio
        self._executor = executor
        self._carry_out = carry_out

    @property
    def can_push(self) -> bool:
        """Whether there is a Label Studio to bring predictions to."""
        return self._label_studio.client is not None

    def add(self, intent: Intent, frames_total: int = 0) -> Job:
        """Do this when there is time; the newest intent of a task replaces its older ones."""
        job = self._jobs.enqueue(intent, frames_total)
        self._submit(job)
        return job

    def resume(self) -> None:
        """Go on with what an earlier process left unfinished."""
        for job in self._jobs.restore():
            logger.info("Job %s of task %s goes on after a restart", job.id, job.task_id)
            self._submit(job)

    def _submit(self, job: Job) -> None:
        self._executor.submit(job.project, lambda: self._run(job))

    def _submit_later(self, job: Job, pause_s: float) -> None:
        timer = threading.Timer(pause_s, self._submit, (job,))
        timer.daemon = True
        timer.start()

    def _run(self, job: Job) -> None:
        if job.ended_at is not None or job.intent is None:
            return
        tried_before = job.prediction is not None
        try:
            if job.prediction is None:
                job.to("running")
                prediction = self._carry_out(job.intent, job)
                if prediction is None:
                    self._jobs.end(job)
                    return
                self._jobs.keep_prediction(job, prediction)
            if job.cancel_requested:
                raise CancelledError("It was cancelled before it was stored in Label Studio.")
            job.to("pushing")
            self._push(job.intent, job.prediction or {}, tried_before=tried_before)
        except LabelStudioRefusedError as error:
            self._fail(job, error)
        except LabelStudioError as error:
            pause_s = min(_FIRST_PAUSE_S * 2**job.attempts, _LONGEST_PAUSE_S)
            job.attempts += 1
            self._problems.failed(f"task {job.task_id}", error)
            job.to("waiting", f"{error} Its masks are kept; the next try is in {pause_s:g} s.")
            self._submit_later(job, pause_s)
        except BusyError:
            job.to("queued")
            self._submit_later(job, _BUSY_PAUSE_S)
        except CancelledError as error:
            self._jobs.end(job, error)
        except Exception as error:  # whatever it is, it stands on the status page, and in the log with its traceback
            self._fail(job, error)
        else:
            self._jobs.end(job)

    def _fail(self, job: Job, error: Exception) -> None:
        self._problems.failed(f"task {job.task_id}", error)
        self._jobs.end(job, error)

    def _push(self, intent: Intent, prediction: Mapping[str, Any], *, tried_before: bool) -> None:
        """Store a prediction, and drop the one it replaces if no annotation was made from that.

        An earlier try may have reached Label Studio though its answer did not reach us.
        """
        client = self._label_studio.client
        if client is None:
            raise LabelStudioError(
                "There is no API key to store the masks in Label Studio with.", "Set LABEL_STUDIO_API_KEY."
            )
        number = _stored_already(client.predictions(intent.task_id), prediction) if tried_before else None
        if number is None:
            number = client.create_prediction(intent.task_id, prediction)
        held = held_in(prediction["result"], parse_config(intent.label_config))
        task = str(intent.task_id)
        before = self._memories.get(intent.project, task)
        self._memories.change(
            intent.project, task, lambda memory: memory.with_pushed(number, prediction_digest(prediction), held)
        )
        if before.pushed is not None and before.pushed not in (number, *before.parents):
            try:
                client.delete_prediction(before.pushed)
            except LabelStudioError as error:
                logger.info("The older prediction %d of task %s stays: %s", before.pushed, task, error)


def _stored_already(stored: Sequence[Mapping[str, Any]], prediction: Mapping[str, Any]) -> int | None:
    """Return the id of the stored prediction that is this one, None where there is none."""
    wanted = prediction_digest(prediction)
    return next(
        (
            int(each["id"])
            for each in stored
            if isinstance(each.get("result"), list) and prediction_digest(each) == wanted
        ),
        None,
    )


def prediction_digest(prediction: Mapping[str, Any]) -> str:
    """Return what stands for a prediction's masks, by which the same one is not stored twice."""
    return hashlib.sha256(json.dumps(prediction["result"], sort_keys=True).encode()).hexdigest()[:16]
