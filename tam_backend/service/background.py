"""Work that nobody waits for: done by an executor, stored in Label Studio, tried again while that is away."""

from __future__ import annotations

import hashlib
import json
import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tam_backend.errors import BusyError, CancelledError, LabelStudioError, LabelStudioRefusedError, TooLittleError
from tam_backend.jobs.at_work import AtWork
from tam_backend.jobs.executor import Executor
from tam_backend.jobs.records import Intent, Stage
from tam_backend.jobs.registry import Job, JobRegistry
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.problems import ProblemLog
from tam_backend.service import annotation_events as events
from tam_backend.service.label_studio_access import LabelStudioAccess
from tam_backend.service.read_task import held_in
from tam_backend.store.task_memory import TaskMemories, TaskMemory

logger = logging.getLogger(__name__)

# Seconds before Label Studio is asked again: doubled each time, up to the second one.
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 2.0, 300.0
# Before a task that somebody works on is looked at again.
_BUSY_PAUSE_S = 1.0
# How long others may have to wait for news of this process's jobs, and this one for theirs.
_TURN_S = 1.0
_AFTER_TROUBLE_S = 5.0
_PATIENCE_S = 5.0
_UNSAVED = (
    "All masks are there: Propagate again, and they come at once. They are not stored as a prediction, which others "
    "would see: they follow from what one person has not submitted."
)

Annotations = Sequence[Mapping[str, Any]]


GoOn = Callable[[], "Intent | None"]
"""Asks Label Studio for what else follows from a job; returns what there is to do then."""


@dataclass(frozen=True)
class Found:
    """What a job came to.

    Args:
        prediction: to store in Label Studio; None: there is nothing new to store.
        go_on: asks for what else follows; None: nothing does.
    """

    prediction: Mapping[str, Any] | None = None
    go_on: GoOn | None = None


CarryOut = Callable[[Intent, Annotations, Job], Found]
"""Does what an intent wants, for the annotations that its task has now; asks Label Studio for nothing."""

_Work = Callable[[Job, Intent], None]


class Loop:
    """Takes jobs one after the other, and brings what they find to Label Studio. Thread-safe.

    Those who track never wait for Label Studio, however slow it is: other threads talk to it, before and after.

    Args:
        jobs, problems, memories: of the backend.
        label_studio: where predictions go.
        executors: what runs the work of each stage.
        carry_out: the work on tasks.
        learn: the work of an adaptation.
    """

    def __init__(
        self,
        jobs: JobRegistry,
        problems: ProblemLog,
        memories: TaskMemories,
        label_studio: LabelStudioAccess,
        executors: Mapping[Stage, Executor],
        carry_out: CarryOut,
        learn: Callable[[Intent, Job], object],
    ) -> None:
        self._jobs = jobs
        self._problems = problems
        self._memories = memories
        self._label_studio = label_studio
        self._executors = executors
        self._learn = learn
        self._at_work = AtWork(self._executors)
        self._carry_out = carry_out
        self._closed = threading.Event()
        self._wake = threading.Event()
        self._thread = threading.Thread(target=self._take_turns, name="take-jobs", daemon=True)

    @property
    def can_push(self) -> bool:
        """Whether there is a Label Studio to bring predictions to."""
        return self._label_studio.client is not None

    def add(self, intent: Intent, frames_total: int = 0) -> None:
        """Have this done when there is time, here or elsewhere; the newest intent of a task replaces its older ones.

        Raises:
            BusyError: an adaptation of a project that is being adapted.
            StoreError: the database refuses.
        """
        stage: Stage = "adapt" if intent.is_adaptation else "ask" if events.is_event(intent) else "track"
        self._jobs.enqueue(intent, frames_total, stage)
        self._wake.set()

    def begin(self) -> None:
        """Take jobs, from now on: also what an earlier process left unfinished, and what others leave so."""
        self._thread.start()

    def close(self) -> None:
        """Stop working, and let others have what is unfinished."""
        self._closed.set()
        self._wake.set()
        self._jobs.interrupt_all()
        for executor in self._executors.values():
            executor.close()
        if self._thread.is_alive():
            self._thread.join(_PATIENCE_S)
        self._jobs.release()
        self._problems.write()

    def _take_turns(self) -> None:
        """Exchange news with the database, and take what there is time for, as long as this process lives."""
        while not self._closed.is_set():
            self._wake.clear()
            self._wake.wait(self._take_turn())

    def _take_turn(self) -> float:
        """Return in how many seconds it is time for another turn, at the latest."""
        self._problems.write()
        try:
            self._jobs.exchange()
            outlook = self._jobs.look()
            while outlook.due and (job := self._jobs.claim(self._at_work.room)) is not None:
                self._submit(job)
        except Exception as error:  # whatever it is, jobs have to go on; it stands on the status page and in the log
            self._problems.failed("the list of jobs", error)
            return _AFTER_TROUBLE_S
        return _TURN_S if outlook.next_due_s is None else min(_TURN_S, outlook.next_due_s)

    def _submit(self, job: Job) -> None:
        if job.found:
            self._run("tell", job, self._push_again)
        elif job.intent is not None and job.intent.is_adaptation:
            self._run("adapt", job, self._adapt)
        elif job.intent is not None and events.is_event(job.intent):
            self._run("ask", job, self._look)
        else:
            self._run("track", job, lambda job, intent: self._track(job, intent, ()))

    def _run(self, stage: Stage, job: Job, work: _Work) -> None:
        self._at_work.enter(job.id, job.project, stage)
        self._executors[stage].submit(job.project, lambda: self._guarded(job, work))

    def _adapt(self, job: Job, intent: Intent) -> None:
        self._learn(intent, job)
        self._jobs.end(job)

    def _look(self, job: Job, intent: Intent) -> None:
        """Ask for the task's annotations as they are now."""
        client = self._label_studio.client
        annotations = events.current_annotations(intent, client)
        whole = events.with_data(intent, client)
        self._run("track", job, lambda job, _: self._track(job, whole, annotations))

    def _track(self, job: Job, intent: Intent, annotations: Annotations) -> None:
        job.to("running")
        found = self._carry_out(intent, annotations, job)
        if found.prediction is None and found.go_on is None:
            self._jobs.end(job)
            return
        if found.prediction is not None and found.go_on is None:
            self._jobs.keep_prediction(job, found.prediction)
            found = Found()  # it is in the database now: many may wait for Label Studio
        self._run("tell", job, lambda job, intent: self._tell(job, intent, found))

    def _tell(self, job: Job, intent: Intent, found: Found) -> None:
        """Begin what follows, and only then keep what was found: a job that has kept it will not go on again."""
        following = None if found.go_on is None else found.go_on()
        if following is not None:
            self.add(following)
        if found.prediction is not None:
            self._jobs.keep_prediction(job, found.prediction)
        if job.found:
            self._push(job, intent, tried_before=False)
        self._jobs.end(job)

    def _push_again(self, job: Job, intent: Intent) -> None:
        self._push(job, intent, tried_before=True)
        self._jobs.end(job)

    def _guarded(self, job: Job, work: _Work) -> None:
        """Run one stage of a job; what goes wrong ends it, or has it tried again."""
        intent = job.intent
        try:
            if intent is not None and not job.is_over:
                work(job, intent)
        except LabelStudioRefusedError as error:
            self._fail(job, error)
        except LabelStudioError as error:
            pause_s = min(_FIRST_PAUSE_S * 2**job.attempts, _LONGEST_PAUSE_S)
            self._problems.failed(job.subject, error)
            kept = "" if intent is None or intent.is_adaptation else "Its masks are kept; "
            said = f"{error} {kept}{'the' if kept else 'The'} next try is in {pause_s:g} s."
            self._jobs.put_back(job, "waiting", said, pause_s)
        except BusyError:
            self._jobs.put_back(job, "queued", "", _BUSY_PAUSE_S)
        except (CancelledError, TooLittleError) as error:  # nothing failed
            self._jobs.end(job, error)
        except Exception as error:  # whatever it is, it stands on the status page, and in the log with its traceback
            self._fail(job, error)
        finally:
            if job.is_over:
                self._at_work.leave(job.id)
                self._wake.set()

    def _fail(self, job: Job, error: Exception) -> None:
        self._problems.failed(job.subject, error)
        self._jobs.end(job, error)

    def _push(self, job: Job, intent: Intent, *, tried_before: bool) -> None:
        """Store a job's prediction, and drop the one it replaces if no annotation was made from that.

        What follows from one person's unsaved work is stored only where nobody else is there to see it.
        An earlier try may have reached Label Studio though its answer did not reach us.
        """
        if job.cancel_requested:
            raise CancelledError("It was cancelled before it was stored in Label Studio.")
        client = self._label_studio.client
        if client is None:
            raise LabelStudioError(
                "There is no API key to store the masks in Label Studio with.", "Set LABEL_STUDIO_API_KEY."
            )
        if intent.context is not None and len(client.user_ids()) > 1:
            job.to("pushing", _UNSAVED)
            return
        job.to("pushing")
        stored = client.predictions(intent.task_id) if tried_before else ()
        prediction = self._jobs.prediction(job)  # asked for last: another process may have the job by now
        number = _stored_already(stored, prediction)
        if number is None:
            number = client.create_prediction(intent.task_id, prediction)
        held = held_in(prediction["result"], parse_config(intent.label_config))
        before = TaskMemory()

        def pushed(memory: TaskMemory) -> TaskMemory:
            nonlocal before
            before = memory  # nobody else can replace the same one
            return memory.with_pushed(number, prediction_digest(prediction), held)

        self._memories.change(intent.project, str(intent.task_id), pushed)
        if before.pushed is not None and before.pushed not in (number, *before.parents):
            try:
                client.delete_prediction(before.pushed)
            except LabelStudioError as error:
                logger.info("The older prediction %d of task %s stays: %s", before.pushed, intent.task_id, error)


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
