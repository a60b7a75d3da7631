"""What Label Studio asks, answered: a click by one mask, Propagate by all masks, a video box by a track of boxes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from typing import Any

from tam_backend.errors import (
    BusyError,
    CancelledError,
    InvalidInputError,
    PayloadError,
    StoreError,
    WorkerLostError,
)
from tam_backend.jobs.executor import InProcessExecutor
from tam_backend.jobs.records import Intent
from tam_backend.jobs.registry import JobRegistry
from tam_backend.jobs.store import JobStore
from tam_backend.labelstudio.annotators import annotator_of
from tam_backend.labelstudio.config import Media, MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.prompts import drawn_media
from tam_backend.models import zoo
from tam_backend.service import annotation_events as events
from tam_backend.service.adapting_process import learn_elsewhere
from tam_backend.service.awaited_drafts import is_worth_waiting_for, with_draft_of_click
from tam_backend.service.background import Loop
from tam_backend.service.box_track import answer_boxes
from tam_backend.service.click import answer_click
from tam_backend.service.correction import Correction
from tam_backend.service.desk import INCOMPLETE, Desk, Request
from tam_backend.service.housekeeping import Housekeeping
from tam_backend.service.page_frames import TaskMedia
from tam_backend.service.parts import Parts, workers_of
from tam_backend.service.project_learning import Learning
from tam_backend.service.projects import Projects, project_of
from tam_backend.service.propagate import answer_propagate
from tam_backend.service.read_task import ReadTask
from tam_backend.service.readiness import Readiness
from tam_backend.settings import Settings
from tam_backend.store.adapted_networks import AdaptedVersion, PictureNote, Serving
from tam_backend.store.connected import ConnectedProjects
from tam_backend.store.sessions import SessionKey
from tam_backend.store.task_memory import TaskMemories
from tam_backend.store.turns import Turns
from tam_backend.store.unlearnt_videos import UnlearntVideos
from tam_backend.store.unsaved_answers import AnswerMemory
from tam_backend.types import RgbFrame
from tam_backend.workers.workers import Work, WorkerState

logger = logging.getLogger(__name__)

# Label Studio asks for a task without a prediction when somebody opens it, and shows nothing until it has the answer.
# That call cannot be told from a batch call for one task.
BATCH_S_PER_TASK = 30.0
# So many projects wait for a slow Label Studio before another one's predictions do.
_TALKING_THREADS = 4
# Of the page of a task, whose media has left the cache.
_PAGE_MEDIA_S = 5.0
_UNKNOWN_PROJECT = (
    "It was asked for a project that was never connected here: nothing is learnt.",
    "Open Settings > Model of the project in Label Studio, which connects it, and press it again.",
)


class Backend:
    """One profile on one device, serving any number of Label Studio projects. Thread-safe.

    The networks are loaded in the background, from the first moment on.

    Raises:
        ProfileError: the settings name no known profile.
        StoreError: the database cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._parts = parts = Parts.of(settings)
        self.store, self.library = parts.store, parts.library
        self._label_studio = parts.label_studio
        self.jobs = JobRegistry(JobStore(parts.database, parts.holders, settings.lease_s, backend_url=settings.own_url))
        self.problems = parts.problems
        self._memories = TaskMemories(parts.database)
        self._version = zoo.profile(settings.profile).version
        self._workers = workers_of(settings, parts)
        self._readiness = Readiness(parts.database, self._workers)
        turns = Turns(parts.database, parts.holders)
        self._media = TaskMedia(
            parts.database,
            lambda value, task_id: parts.fetcher.open_media(value, task_id=task_id, timeout_s=_PAGE_MEDIA_S),
        )
        self._answers = AnswerMemory(parts.database)
        self._projects = Projects(
            settings,
            self._label_studio,
            self.problems,
            ConnectedProjects(parts.database),
            turns,
            self.library.webhook_secret,
        )
        self._desk = Desk(
            self.jobs,
            self.problems,
            self._memories,
            self._label_studio,
            self._workers,
            self._media,
            settings.propagate_label,
            settings.prompt_from,
            settings.polygon_tolerance_px,
            self._version,
            parts.adapted,
        )
        self._learning = Learning(
            settings, parts.adapted, UnlearntVideos(parts.database), self.problems, learn_elsewhere
        )
        self._loop = Loop(
            self.jobs,
            self.problems,
            self._memories,
            self._label_studio,
            {
                "track": InProcessExecutor("track", lambda: self._workers.at_once, one_a_project=False),
                "ask": InProcessExecutor("ask-label-studio", lambda: _TALKING_THREADS, one_a_project=True),
                "tell": InProcessExecutor("tell-label-studio", lambda: _TALKING_THREADS, one_a_project=True),
                "adapt": InProcessExecutor("adapt", lambda: int(settings.adapt != "off"), one_a_project=True),
            },
            Correction(self._desk, self.store).carry_out,
            self._learning.carry_out,
        )
        days = settings.keep_sessions_days
        self._housekeeping = Housekeeping(
            {
                "old sessions": lambda: self.store.prune(days),
                "what is known of old tasks": lambda: self._memories.prune(days),
                "where old tasks' media are": lambda: self._media.prune(days),
                "answers that were never accepted": self._answers.prune,
            },
            self.problems,
            turns,
        )
        self._workers.start()
        self._loop.begin()

    @property
    def model_version(self) -> str:
        """What predictions are stored under; changes with the weights."""
        return self._version

    def close(self) -> None:
        """Stop working, and let other processes have the stored sessions; unfinished jobs go on after a restart."""
        self._housekeeping.close()
        self._loop.close()
        self._workers.close()
        self._media.close()
        self._parts.holders.close()

    def task_frame(self, session: SessionKey, frame: int) -> RgbFrame | None:
        """Return a frame (0-based) of what a session shows, for its page; None where it cannot be had now."""
        return self._media.frame(session, frame)

    def versions(self) -> list[str]:
        """Return the versions that can be asked for: the one that is served."""
        return [self.model_version]

    def workers(self) -> Sequence[WorkerState]:
        """Return what can be told of those that have the networks."""
        return self._workers.states()

    def hindrance(self) -> str:
        """Return what keeps this process from work, at once; "" = nothing."""
        return self._readiness.hindrance()

    def describe(self) -> dict[str, Any]:
        """Return what the status page says of the networks."""
        workers = self.workers()
        return {
            "profile": self.settings.profile,
            "device": ", ".join(sorted({each.device for each in workers})) or self.settings.device,
            "version": self.model_version,
            "ready": any(each.ready for each in workers),
            "failure": next((each.failure for each in workers if each.failure), ""),
            "workers": workers,
            "is_cluster": self.settings.uses_ray,
            "remarks": self._projects.remarks,
            "adapted": self.adapted_versions(),
        }

    def adapted_versions(self, project: str | None = None) -> Sequence[AdaptedVersion]:
        """Return the networks that learnt from a project, or from any, newest first."""
        try:
            return self._parts.adapted.all() if project is None else self._parts.adapted.versions(project)
        except StoreError as error:
            self.problems.failed("the networks that learnt", error)
            return []

    def serving(self, versions: Sequence[AdaptedVersion]) -> Serving:
        """Return which networks serve a project, of whose versions these are, newest first."""
        try:
            return self._parts.adapted.serving(versions, self.model_version)
        except StoreError as error:
            self.problems.failed("the networks that learnt", error)
            return Serving()

    def learnt_pictures(self, project: str) -> Mapping[int, Sequence[PictureNote]]:
        """Return number of a version of a project's networks -> what its pictures show."""
        try:
            return self._parts.adapted.pictures(project)
        except StoreError as error:
            self.problems.failed(f"project {project}, pictures of what its networks learnt", error)
            return {}

    def learnt_picture(self, project: str, number: int, place: int) -> bytes:
        """Return a picture of what a version of a project's networks learnt, a JPEG.

        Raises:
            NotFoundError: there is none.
            StoreError: the database refuses.
        """
        return self._parts.adapted.picture(project, number, place)

    def setup(self, payload: Mapping[str, Any]) -> str:
        """Take what Label Studio tells of a project, and return the version of the networks that serve it.

        Raises:
            LabelConfigError: nothing in the project's labeling config can be predicted.
        """
        self._projects.connect(payload)
        return self._desk.version_of(project_of(payload))

    def webhook(self, payload: Mapping[str, Any], secret: str = "") -> None:
        """Take an event: of an annotation, a job that reads it as keyframes and tracks what changed.

        Events without the secret start nothing: anybody can send them, and Label Studio itself does; but for Start
        training, which Label Studio sends to that address alone, with the login where there is one; it starts work
        on projects that were connected, which is little where nothing was submitted, and no more than wait for it yet.

        Args:
            payload: checked by `payloads.check_webhook`.
            secret: the last part of the address that the event came to; "" = none.

        Raises:
            UnauthorizedError: a wrong secret.
            PayloadError: an annotation's event that is not what Label Studio sends.
        """
        action = str(payload["action"])[:60]
        if secret:
            events.check_secret(secret, self.webhook_secret)
        logger.info("Event %s%s", action, "" if secret else ", without the secret")
        if (project := events.training_of(payload)) is not None:  # comes without the secret: the button is not ours
            if secret or self._projects.is_known(project):
                self._begin_to_learn(self._learning.asked_for(project), asked_by=f"project {project}, start training")
            else:
                self.problems.note("start training", *_UNKNOWN_PROJECT)
            return
        if not secret:
            return
        intent = events.intent_of(payload)
        if intent is not None:
            self._begin_to_learn(self._learning.submitted(intent.project, events.video_of(intent)))
        intents = events.deletions_of(payload, self._memories) if intent is None else [intent]
        for each in intents if self._loop.can_push else ():
            self._loop.add(each)

    def _begin_to_learn(self, intent: Intent | None, asked_by: str = "") -> None:
        """Have networks learn; where they do already, whoever pressed a button for it is told on the status page."""
        try:
            if intent is not None:
                self._loop.add(intent)
        except BusyError as error:
            if asked_by:  # Label Studio shows them nothing
                self.problems.note(asked_by, error.message, error.remedy)
            else:
                logger.info("%s", error.message)

    def propagate_later(self, intent: Intent) -> None:
        """Have a task tracked as a job, and a prediction stored."""
        self._loop.add(intent)

    @property
    def webhook_secret(self) -> str:
        """The last part of the address that Label Studio's events count at."""
        return self.library.webhook_secret

    def predict(self, payload: Mapping[str, Any], *, cancelled: Callable[[], bool]) -> list[dict[str, Any]]:
        """Answer a /predict: one prediction per task, in their order.

        Args:
            payload: checked by `payloads.check_predict`.
            cancelled: asked between frames; True ends the work, and what was tracked is kept for the next request.

        Raises:
            LabelConfigError: nothing in the labeling config can be predicted.
            TamError: what goes wrong with a single task; in a batch of several it is noted, and the task left empty.
        """
        context = (payload.get("params") or {}).get("context")
        tasks: Sequence[Mapping[str, Any]] = payload["tasks"]
        budget_s = self.settings.time_budget_s
        if context is None:
            budget_s = min(budget_s, BATCH_S_PER_TASK * len(tasks))
        request = Request(
            config=parse_config(payload["label_config"]),
            label_config=payload["label_config"],
            context=context,
            project=project_of(payload),
            deadline_s=time.monotonic() + budget_s,
            cancelled=cancelled,
        )
        if context is not None and len(tasks) != 1:
            raise PayloadError(f"A smart click names one task, not {len(tasks)}.", "Send Label Studio's own JSON.")
        if len(tasks) == 1:
            return [self._predict(tasks[0], request)]
        return [self._predict_leniently(task, request) for task in tasks]

    def _predict_leniently(self, task: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """One task of a batch: what goes wrong with it must not lose the others."""
        if request.cancelled():
            raise CancelledError("The client hung up in the middle of a batch.")
        try:
            return self._predict(task, request)
        except CancelledError:
            raise
        except Exception as error:  # whatever it is, it stands on the status page, and in the log with its traceback
            self.problems.failed(f"task {task.get('id')}", error)
            return self._desk.answer([], None, self._desk.version_of(request.project), complete=False)

    def _predict(self, task: Mapping[str, Any], request: Request) -> dict[str, Any]:
        """Answer for one task: a click for what was clicked, a batch call for each media that something is drawn on."""
        usual = self.settings.prompt_from
        media = drawn_media(task, request.config, prompt_from=usual) if request.context is None else ()
        if len(media) < 2:
            return self._predict_media(task, request, next(iter(media), None))
        answers, complete = self._desk.of_each(task, media, lambda each: self._predict_media(task, request, each))
        scores = [answer["score"] for answer in answers if "score" in answer]
        version = str(answers[0]["model_version"]).removesuffix(INCOMPLETE)
        complete = complete and not any(str(answer["model_version"]).endswith(INCOMPLETE) for answer in answers)
        results = [result for answer in answers for result in answer["result"]]
        return self._desk.answer(results, min(scores, default=None), version, complete=complete)

    def _predict_media(self, task: Mapping[str, Any], request: Request, media: Media | None) -> dict[str, Any]:
        number = str(task.get("id"))
        annotator = None
        if request.context is not None:
            annotator = annotator_of(task) or self._label_studio.only_user()
        unsaved = self._answers.unsaved(request.project, number, annotator, task)
        known = self._desk.read(
            task, request.context, request.config, request.project, unsaved, annotator=annotator, medium=media
        )
        attaches = request.config.attaches
        if request.context is not None and is_worth_waiting_for(known, attaches=attaches):
            patience_s = min(self.settings.draft_wait_s, request.seconds_left / 2)
            saved = with_draft_of_click(task, request.context, self._label_studio, request.cancelled, patience_s)
            if saved is not None:
                task, unsaved, annotator = saved, [], annotator_of(saved)
                known = self._desk.read(task, request.context, request.config, request.project, annotator=annotator)
        prompts = known.prompts
        if not known.followed:
            if prompts.propagate:
                raise InvalidInputError(
                    f"Task {task.get('id')} has nothing to propagate.",
                    "Click on an object with one of the other labels first, and accept its mask. It counts when Label "
                    "Studio has saved your draft: do not turn the page for 6 s, or submit, and Propagate again."
                    + ("" if known.started is None else f" Also: {known.started.sentences()[0]}"),
                )
            return self._desk.answer([], None, self._desk.version_of(request.project))
        on_frames = prompts.media.kind is not MediaKind.VIDEO
        if request.context is not None and on_frames and prompts.asked is None and not prompts.propagate:
            return self._desk.answer(
                [], None, self._desk.version_of(request.project)
            )  # the last prompt was taken back: nothing needs to be opened
        if request.seconds_left <= 0:
            raise BusyError(
                f"Task {task.get('id')} was not looked at: the time budget of the batch was used up before.",
                "Retrieve its predictions again, or select fewer tasks at a time.",
            )
        by_worker = partial(self._answered_by_worker, task, known, request, unsaved, annotator)
        try:
            return by_worker()
        except WorkerLostError as error:
            logger.warning("Task %s is brought to another worker: %s", number, error.message)
            return self._answered_by_another(by_worker, request)

    def _answered_by_another(self, by_worker: Callable[[], dict[str, Any]], request: Request) -> dict[str, Any]:
        """Answer after a worker was lost: what it held is free when its lease is over, which may be worth the wait."""
        while True:
            try:
                return by_worker()
            except BusyError:  # noqa: PERF203 - it waits for a second anyway
                if request.cancelled() or request.seconds_left < self.settings.time_budget_s / 4:
                    raise
                time.sleep(1)

    def _answered_by_worker(
        self,
        task: Mapping[str, Any],
        known: ReadTask,
        request: Request,
        unsaved: Sequence[Mapping[str, Any]],
        annotator: str | None,
    ) -> dict[str, Any]:
        prompts, number = known.prompts, str(task.get("id"))
        is_video = prompts.media.kind is MediaKind.VIDEO
        work: Work = "track" if prompts.asked is None or is_video else "click"
        with self._desk.lent(task, known, request.config, request.project, request.seconds_left, work) as opened:
            if is_video:
                return answer_boxes(self._desk, task, prompts, opened, request)
            if prompts.asked is not None:
                answer = answer_click(self._desk, prompts, opened, request)
                try:
                    self._answers.remember(request.project, number, annotator, task, answer["result"])
                except StoreError as error:  # the mask is there: it must not be lost for that
                    self.problems.failed(f"task {number}", error)
                return answer
            return answer_propagate(self._desk, self._loop, task, known, opened, request, unsaved)
