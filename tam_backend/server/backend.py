"""What Label Studio asks, answered: a click by one mask, Propagate by all masks, a video box by a track of boxes."""

from __future__ import annotations

import hashlib
import logging
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from functools import partial
from typing import Any, TypeVar

from tam_backend.engine import TrackAnything
from tam_backend.errors import (
    BusyError,
    CancelledError,
    InvalidInputError,
    LabelStudioError,
    LabelStudioRefusedError,
    PayloadError,
    StoreError,
    TamError,
    UnreadableMediaError,
)
from tam_backend.labelstudio.annotators import annotator_of
from tam_backend.labelstudio.attributes import brought_along
from tam_backend.labelstudio.config import LabelingConfig, Media, MediaKind, parse_config
from tam_backend.labelstudio.outputs import mask_output
from tam_backend.labelstudio.prompts import (
    TaskPrompts,
    drawn_media,
    resized,
    to_prompts,
    with_what_it_adds_to,
)
from tam_backend.labelstudio.regions import mask_bounds
from tam_backend.labelstudio.results import box_track_region, mask_results, prediction
from tam_backend.labelstudio.scores import task_score, worst_by_frame
from tam_backend.labelstudio.supported import remarks
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.leases import LeaseCache
from tam_backend.models.devices import let_threads_share_memory
from tam_backend.pipeline.database import Database, sqlite_url
from tam_backend.pipeline.holder import Holders
from tam_backend.pipeline.pursuit import Pursuit
from tam_backend.pipeline.store import SessionKey, SessionStore, StoredSession
from tam_backend.server import events
from tam_backend.server.answers import AnswerMemory
from tam_backend.server.chain import Following, masks_for_next
from tam_backend.server.drafts import is_worth_waiting_for, with_draft_of_click
from tam_backend.server.executor import InProcessExecutor
from tam_backend.server.housekeeping import Housekeeping
from tam_backend.server.job_store import Intent, JobStore
from tam_backend.server.jobs import Job, JobRegistry
from tam_backend.server.label_studio import LabelStudioAccess
from tam_backend.server.loop import Annotations, Found, Loop, prediction_digest
from tam_backend.server.networks import Networks
from tam_backend.server.problems import ProblemLog
from tam_backend.server.reading import MaskAnswer, ReadTask, as_answer, in_relation, joined, read
from tam_backend.server.task_media import TaskMedia
from tam_backend.server.task_memory import TaskMemories
from tam_backend.server.tasks import OpenTask
from tam_backend.settings import Settings
from tam_backend.types import Box, Prompt, RgbFrame, VideoSource, timeline_of
from tam_backend.video.addresses import shown
from tam_backend.video.base import own_size_hw
from tam_backend.video.fetch import MediaFetcher
from tam_backend.video.library import VideoLibrary

logger = logging.getLogger(__name__)

# Reading a mask back, writing it as brush or bitmask and as JSON: seconds per million pixels, measured 4 to 10 ms at
# 720p and 50 ms at 4K. It must fit the time budget too.
ENCODE_S_PER_MPX = 0.012
# Label Studio asks for a task without a prediction when somebody opens it, and shows nothing until it has the answer.
# That call cannot be told from a batch call for one task.
BATCH_S_PER_TASK = 30.0
# A job waits this long for the networks: a profile of several gigabytes takes its time from a slow disk.
_NETWORKS_S = 600.0
# So many projects wait for a slow Label Studio before another one's predictions do.
_TALKING_THREADS = 4
# Of the page of a task, whose media has left the cache.
_PAGE_MEDIA_S = 5.0
# Projects whose labeling configs the status page speaks of.
_PROJECTS_REMARKED = 64
# A prediction under another version than the current one is asked for again.
INCOMPLETE = " (incomplete)"

_Found = TypeVar("_Found")


@dataclass(frozen=True, eq=False)
class _Request:
    """What all tasks of one /predict have in common."""

    config: LabelingConfig
    label_config: str
    context: Mapping[str, Any] | None
    project: str
    deadline_s: float
    cancelled: Callable[[], bool]

    @property
    def seconds_left(self) -> float:
        return self.deadline_s - time.monotonic()


@dataclass(frozen=True)
class _Tracked:
    """What came of one media of a job's task.

    Args:
        answer: None where there was nothing to track.
        go_on: begins the next task of a chain; None where there is none.
    """

    answer: MaskAnswer | None = None
    go_on: Callable[[], None] | None = None


class Backend:
    """One profile on one device, serving any number of Label Studio projects. Thread-safe.

    The networks are loaded in the background, from the first moment on.

    Raises:
        ProfileError: the settings name no known profile.
        StoreError: the database cannot be opened.
    """

    def __init__(self, settings: Settings) -> None:
        let_threads_share_memory()  # before there are any
        self.settings = settings
        database = Database(settings.database_url or sqlite_url(settings.data_dir / "tam.sqlite"))
        self._holders = Holders(settings.data_dir / "running")
        self.store = SessionStore(database, holders=self._holders)
        self.jobs = JobRegistry(store=JobStore(database, self._holders))
        self.problems = ProblemLog()
        self._memories = TaskMemories(database)
        self.library = VideoLibrary(settings.data_dir)
        self._networks = Networks(settings)
        self._label_studio = LabelStudioAccess(settings)
        self._fetcher = MediaFetcher(
            settings,
            authorization=self._label_studio.authorization,
            own_frames=self.library.own_frame,
            own_video=self.library.own_video,
        )
        self._media = TaskMedia(
            database, lambda value, task_id: self._fetcher.open_media(value, task_id=task_id, timeout_s=_PAGE_MEDIA_S)
        )
        self._tasks: LeaseCache[tuple[str, str, str, str], OpenTask] = LeaseCache(OpenTask.close, settings.max_sessions)
        self._answers = AnswerMemory(database)
        self._listened_to: set[str] = set()
        self._remarks: dict[str, tuple[str, ...]] = {}
        self._told_of_label_studio = False
        self._loop = Loop(
            self.jobs,
            self.problems,
            self._memories,
            self._label_studio,
            InProcessExecutor(),
            InProcessExecutor("ask-label-studio", _TALKING_THREADS),
            InProcessExecutor("tell-label-studio", _TALKING_THREADS),
            self._carry_out,
        )
        days = settings.keep_sessions_days
        self._housekeeping = Housekeeping(
            {
                "old sessions": lambda: self.store.prune(days),
                "what is known of old tasks": lambda: self._memories.prune(days),
                "where old tasks' media are": lambda: self._media.prune(days),
            },
            self.problems,
        )
        self._networks.start()
        self._loop.begin()

    @property
    def model_version(self) -> str:
        """What predictions are stored under; changes with the weights."""
        return self._networks.version

    def close(self) -> None:
        """Stop working, and let other processes have the stored sessions; unfinished jobs go on after a restart."""
        self._housekeeping.close()
        self._loop.close()
        self._tasks.clear()
        self._media.close()
        self._holders.close()

    def task_frame(self, session: SessionKey, frame: int) -> RgbFrame | None:
        """Return a frame (0-based) of what a session shows, for its page; None where it cannot be had now."""
        return self._media.frame(session, frame)

    def versions(self) -> list[str]:
        """Return the versions that can be asked for: the one that is served."""
        return [self.model_version]

    def describe(self) -> dict[str, Any]:
        """Return what the status page says of the networks."""
        failure = self._networks.failure
        return {
            "profile": self.settings.profile,
            "device": self._networks.device,
            "version": self.model_version,
            "ready": self._networks.ready,
            "failure": str(failure) if failure else "",
            "remarks": [(project, remark) for project, found in list(self._remarks.items()) for remark in found],
        }

    def setup(self, payload: Mapping[str, Any]) -> str:
        """Take what Label Studio tells of a project, and return the model version.

        Raises:
            LabelConfigError: nothing in the project's labeling config can be predicted.
        """
        schema, project = payload["schema"], _project_of(payload)
        if schema.strip():
            self._look_at(schema, project)
        if url := payload.get("hostname"):
            self._meet(url, payload.get("access_token") or "", project)
        if self._loop.can_push and project.isdecimal() and project not in self._listened_to:
            # Label Studio waits for the answer to this very call, for 3 s at most.
            threading.Thread(target=self._listen_to, args=(project,), name="install-webhook", daemon=True).start()
        return self.model_version

    def _look_at(self, schema: str, project: str) -> None:
        """Say what of a project's labeling config cannot be served: in the log, and for good on the status page."""
        found = remarks(schema, self.settings.propagate_label)
        if self._remarks.get(project, ()) != found:
            for remark in found:
                logger.warning("Project %s, its labeling config: %s", project, remark)
        self._remarks.pop(project, None)
        self._remarks[project] = found
        while len(self._remarks) > _PROJECTS_REMARKED:
            self._remarks.pop(next(iter(self._remarks)))

    def _meet(self, url: str, access_token: str, project: str) -> None:
        """Take what Label Studio tells of itself, where whoever tells it had to log in, or the settings name it anyway.

        Else anybody who reaches us could name a host, and have us call it and send on what it answers. An odd token is
        none: the project connects without pushing.
        """
        if not (self.settings.label_studio_url or self.settings.basic_auth_user):
            self._say_once_that_anybody_could_be_label_studio(url)
            return
        try:
            self._label_studio.learn(url, access_token)
        except LabelStudioError as error:
            self.problems.note(f"project {project}, its token", error.message, error.remedy)
            self._label_studio.learn(url, "")
        self._fetcher.learn_label_studio_url(url)

    def _say_once_that_anybody_could_be_label_studio(self, url: str) -> None:
        if not self._told_of_label_studio:
            self._told_of_label_studio = True
            self.problems.note(
                "setup",
                f"Label Studio says that it is at {shown(url)}. Anybody could say so: nothing is fetched from there.",
                "Set LABEL_STUDIO_URL, or a login: BASIC_AUTH_USER and BASIC_AUTH_PASS.",
            )

    def _listen_to(self, project: str) -> None:
        """See to it that a project's events come to us with the secret."""
        client = self._label_studio.client
        if client is None:
            return
        try:
            client.install_webhook(int(project), self.settings.events_url, self.webhook_secret)
            self._listened_to.add(project)
        except LabelStudioError as error:
            self.problems.failed(f"project {project}, to hear of its annotations", error)

    def webhook(self, payload: Mapping[str, Any], secret: str = "") -> None:
        """Take an event: of an annotation, a job that reads it as keyframes and tracks what changed.

        Events without the secret start nothing: anybody can send them, and Label Studio itself does.

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
        if not secret:
            return
        intent = events.intent_of(payload)
        intents = events.deletions_of(payload, self._memories) if intent is None else [intent]
        for each in intents if self._loop.can_push else ():
            self._loop.add(each)

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
        request = _Request(
            config=parse_config(payload["label_config"]),
            label_config=payload["label_config"],
            context=context,
            project=_project_of(payload),
            deadline_s=time.monotonic() + budget_s,
            cancelled=cancelled,
        )
        if context is not None and len(tasks) != 1:
            raise PayloadError(f"A smart click names one task, not {len(tasks)}.", "Send Label Studio's own JSON.")
        if len(tasks) == 1:
            return [self._predict(tasks[0], request)]
        return [self._predict_leniently(task, request) for task in tasks]

    def _predict_leniently(self, task: Mapping[str, Any], request: _Request) -> dict[str, Any]:
        """One task of a batch: what goes wrong with it must not lose the others."""
        if request.cancelled():
            raise CancelledError("The client hung up in the middle of a batch.")
        try:
            return self._predict(task, request)
        except CancelledError:
            raise
        except Exception as error:  # whatever it is, it stands on the status page, and in the log with its traceback
            self.problems.failed(f"task {task.get('id')}", error)
            return self._answer([], None, complete=False)

    def _answer(
        self, results: Sequence[Mapping[str, Any]], score: float | None, *, complete: bool = True
    ) -> dict[str, Any]:
        return prediction(results, score, self.model_version + ("" if complete else INCOMPLETE))

    def _predict(self, task: Mapping[str, Any], request: _Request) -> dict[str, Any]:
        """Answer for one task: a click for what was clicked, a batch call for each media that something is drawn on."""
        media = drawn_media(task, request.config) if request.context is None else ()
        if len(media) < 2:
            return self._predict_media(task, request, None)
        answers, complete = self._of_each(task, media, lambda each: self._predict_media(task, request, each))
        scores = [answer["score"] for answer in answers if "score" in answer]
        complete = complete and all(answer["model_version"] == self.model_version for answer in answers)
        results = [result for answer in answers for result in answer["result"]]
        return self._answer(results, min(scores, default=None), complete=complete)

    def _of_each(
        self, task: Mapping[str, Any], media: Sequence[Media], work: Callable[[Media], _Found]
    ) -> tuple[list[_Found], bool]:
        """Return what comes of each media of a task, and whether all went well; one that fails is noted.

        Raises:
            TamError: nothing came of any.
        """
        found: list[_Found] = []
        errors: list[TamError] = []
        for each in media:
            try:
                found.append(work(each))
            except (BusyError, CancelledError):  # noqa: PERF203 - media are few
                raise
            except TamError as error:
                self.problems.failed(f"task {task.get('id')}, {each.name}", error)
                errors.append(error)
        if errors and not found:
            raise errors[0]
        return found, not errors

    def _predict_media(self, task: Mapping[str, Any], request: _Request, media: Media | None) -> dict[str, Any]:
        number = str(task.get("id"))
        annotator = None
        if request.context is not None:
            annotator = annotator_of(task) or self._label_studio.only_user()
        unsaved = self._answers.unsaved(request.project, number, annotator, task)
        known = self._read(
            task, request.context, request.config, request.project, unsaved, annotator=annotator, medium=media
        )
        attaches = request.config.attaches
        if request.context is not None and is_worth_waiting_for(known, attaches=attaches):
            patience_s = min(self.settings.draft_wait_s, request.seconds_left / 2)
            saved = with_draft_of_click(task, request.context, self._label_studio, request.cancelled, patience_s)
            if saved is not None:
                task, unsaved, annotator = saved, [], annotator_of(saved)
                known = self._read(task, request.context, request.config, request.project, annotator=annotator)
        prompts = known.prompts
        if not known.followed:
            if prompts.propagate:
                raise InvalidInputError(
                    f"Task {task.get('id')} has nothing to propagate.",
                    "Click on an object with one of the other labels first, and accept its mask. It counts when Label "
                    "Studio has saved your draft: do not turn the page for 6 s, or submit, and Propagate again.",
                )
            return self._answer([], None)
        on_frames = prompts.media.kind is not MediaKind.VIDEO
        if request.context is not None and on_frames and prompts.asked is None and not prompts.propagate:
            return self._answer([], None)  # the last prompt was taken back: nothing needs to be opened
        if request.seconds_left <= 0:
            raise BusyError(
                f"Task {task.get('id')} was not looked at: the time budget of the batch was used up before.",
                "Retrieve its predictions again, or select fewer tasks at a time.",
            )
        with self._lent(task, known, request.config, request.project, request.seconds_left) as opened:
            if not on_frames:
                return self._box_track(task, prompts, opened, request)
            if prompts.asked is not None:
                answer = self._click(prompts, opened, request)
                try:
                    self._answers.remember(request.project, number, annotator, task, answer["result"])
                except StoreError as error:  # the mask is there: it must not be lost for that
                    self.problems.failed(f"task {number}", error)
                return answer
            return self._masks_on_all_frames(task, known, opened, request, unsaved)

    def _read(
        self,
        task: Mapping[str, Any],
        context: Mapping[str, Any] | None,
        config: LabelingConfig,
        project: str,
        unsaved: Sequence[Mapping[str, Any]] = (),
        *,
        annotator: str | None = None,
        medium: Media | None = None,
    ) -> ReadTask:
        known = read(
            task,
            context,
            config,
            self._memories,
            project=project,
            propagate_label=self.settings.propagate_label,
            unsaved=unsaved,
            medium=medium,
            annotator=annotator,
        )
        for fault in known.prompts.left_out:
            self.problems.note(f"task {task.get('id')}", f"{fault.message} It is left out.", fault.remedy)
        return known

    def _lent(
        self, task: Mapping[str, Any], known: ReadTask, config: LabelingConfig, project: str, timeout_s: float
    ) -> AbstractContextManager[OpenTask]:
        """Lend a task as its annotator sees it: two of them may work on it at the same time, each with own prompts."""
        prompts, number, annotator = known.prompts, str(task.get("id")), known.whose or ""
        value = _media_value(task, prompts)
        shown = _shown(task, prompts, config, value)
        key = SessionKey(project, number, hashlib.sha256(shown.encode()).hexdigest()[:32], annotator)

        def opened() -> OpenTask:
            tam = self._networks.get(timeout_s)
            task_id = task["id"] if isinstance(task.get("id"), int) else None
            open_video = partial(self._fetcher.open_media, value, task_id=task_id, timeout_s=max(1.0, timeout_s))
            video = open_video()
            _check_one_page(prompts, video)
            self._media.remember(key, value, task_id)
            return OpenTask(tam, video, lambda: self._stored(key, video), open_video)

        return self._tasks.lend((project, number, annotator, shown), opened)

    def _stored(self, key: SessionKey, video: VideoSource) -> StoredSession:
        return self.store.open(key, frames=len(video), size_hw=video.size_hw, weights=self.model_version)

    def _click(self, prompts: TaskPrompts, opened: OpenTask, request: _Request) -> dict[str, Any]:
        """Answer a smart click with the mask of the clicked object on the clicked page, and no other."""
        asked = prompts.asked
        if asked is None or asked.frame is None:
            raise PayloadError("The click names no frame.", "Send Label Studio's own JSON.")
        there = prompts.ours_on(asked.object, asked.frame)
        if there is not None and there.region_id in prompts.related:
            raise in_relation([asked.frame])
        output = mask_output(request.config, prompts.media, asked.object, asked.frame)
        wanted = to_prompts(asked.object, opened.video.size_hw, frames=(asked.frame,))
        mask = opened.click(wanted, request.cancelled)
        if not mask.array.any():
            raise InvalidInputError(
                f"Nothing was found at the click on frame {asked.frame}.", "Click elsewhere on it, or draw a box."
            )
        results = mask_results(
            output.control,
            prompts.media,
            key=asked.object.key_on(asked.frame),
            frame=asked.frame,
            labels=output.labels,
            mask=resized(with_what_it_adds_to(mask.array, wanted[-1]), own_size_hw(opened.video, asked.frame)),
            quality=mask.quality,
            source="prompt",
        )
        if there is not None:
            results = brought_along(results, there.attributes, notes=there.notes)
        return self._answer(results, mask.quality)

    def _masks_on_all_frames(
        self,
        task: Mapping[str, Any],
        known: ReadTask,
        opened: OpenTask,
        request: _Request,
        unsaved: Sequence[Mapping[str, Any]],
    ) -> dict[str, Any]:
        """Answer Propagate, or a batch call with prompts: every object's mask on every frame that fits the budget.

        What does not fit goes on as a job, and is stored as a prediction when it is done.
        """
        size_hw = opened.video.size_hw
        encode_s = ENCODE_S_PER_MPX * size_hw[0] * size_hw[1] / 1e6 * len(known.followed)
        intent = self._intent(task, request, unsaved, known.whose)
        is_human = request.context is not None
        wanted = known.wanted(size_hw)
        with opened.pursuit(wanted, request.deadline_s, request.cancelled, takes_over=is_human) as pursuit:
            with self.jobs.start(
                task.get("id"), request.project, pursuit.frames_total, frames_done=pursuit.frames_done, intent=intent
            ) as job:
                self._advance(task, opened, pursuit, request, job, encode_s=encode_s, goes_on=intent is not None)
            complete = pursuit.done
            self._name_left_out(task, pursuit)
            answer = self._masks(task, known, request.config, opened, pursuit, whole=request.context is None)
        self._sent(request.project, task, answer)
        if job.state == "stopped" and intent is not None:
            self._loop.add(intent, pursuit.frames_total)
        return self._answer(answer.results, answer.score, complete=complete or request.context is not None)

    def _intent(
        self,
        task: Mapping[str, Any],
        request: _Request,
        unsaved: Sequence[Mapping[str, Any]],
        annotator: str | None,
    ) -> Intent | None:
        """Return what a job would need to go on with this request; None where its outcome could not be stored."""
        number = task.get("id")
        if not isinstance(number, int) or not self._loop.can_push:
            return None
        return Intent(
            request.project, number, task, request.context, request.label_config, tuple(unsaved), annotator or ""
        )

    def _masks(
        self,
        task: Mapping[str, Any],
        known: ReadTask,
        config: LabelingConfig,
        opened: OpenTask,
        pursuit: Pursuit,
        *,
        whole: bool = True,
    ) -> MaskAnswer:
        """Return what was tracked as results; objects that no tag can take are named."""
        size_of = partial(own_size_hw, opened.video)
        answer = as_answer(known, config, pursuit.results(), size_of=size_of, whole=whole)
        for error in answer.left_out:
            self.problems.note(f"task {task.get('id')}", error.message, error.remedy)
        return answer

    def _name_left_out(self, task: Mapping[str, Any], pursuit: Pursuit) -> None:
        """Say which frames are damaged: nothing is shown of them in Label Studio."""
        for frame, error in pursuit.session.unreadable.items():
            self.problems.note(f"task {task.get('id')}", f"Frame {frame} was left out: {error.message}", error.remedy)

    def _sent(self, project: str, task: Mapping[str, Any], answer: MaskAnswer) -> None:
        self._memories.change(project, str(task.get("id")), lambda memory: memory.with_sent(answer.digests))

    def _carry_out(self, intent: Intent, annotations: Annotations, job: Job) -> Found:
        """Do what a job is to do; see `loop.CarryOut`."""
        task, config = intent.task, parse_config(intent.label_config)
        if events.is_event(intent):
            events.take_note(annotations, config, intent, self._memories, self.store)
            if not annotations:
                return Found(go_on=partial(self._withdraw, intent))
            sent = self._memories.get(intent.project, str(intent.task_id)).digests
            task = events.as_one_annotation(intent, annotations, sent)
        media = drawn_media(task, config, intent.context)
        if len(media) < 2:
            found = [self._tracked(task, None, config, intent, job)]
        else:
            found, _ = self._of_each(task, media, lambda each: self._tracked(task, each, config, intent, job))
        answers = [each.answer for each in found if each.answer is not None]
        go_on = next((each.go_on for each in found if each.go_on is not None), None)
        if not answers:
            return Found(go_on=go_on)
        answer = joined(answers)
        prediction = self._answer(answer.results, answer.score)
        if self._memories.get(intent.project, str(intent.task_id)).pushed_digest == prediction_digest(prediction):
            return Found(go_on=go_on)
        self._sent(intent.project, task, answer)
        return Found(prediction, go_on)

    def _tracked(
        self, task: Mapping[str, Any], media: Media | None, config: LabelingConfig, intent: Intent, job: Job
    ) -> _Tracked:
        """Track one media of a job's task."""
        known = self._read(
            task,
            intent.context,
            config,
            intent.project,
            intent.unsaved,
            annotator=intent.annotator or None,
            medium=media,
        )
        if not known.followed or known.prompts.media.kind is MediaKind.VIDEO:
            return _Tracked()
        go_on: Callable[[], None] | None = None
        with self._lent(task, known, config, intent.project, _NETWORKS_S) as opened:
            wanted = known.wanted(opened.video.size_hw)
            with opened.pursuit_in_background(wanted) as pursuit:
                job.measured(pursuit.frames_done, pursuit.frames_total)
                while not pursuit.done:
                    if opened.contested:
                        raise BusyError("Somebody waits for this task.")
                    if job.cancel_requested:
                        raise CancelledError(f"It was cancelled; {pursuit.frames_done} frames are kept.")
                    result = pursuit.advance()
                    if result is not None:
                        job.advance(result.frame)
                self._name_left_out(task, pursuit)
                answer = self._masks(task, known, config, opened, pursuit)
                submitted = intent.context is None  # what is not is shown to nobody else, in the next task neither
                begins = submitted and known.begins_chains(config)
                following = masks_for_next(task, known, pursuit) if begins else None
            if following is not None:
                last = opened.video[len(opened.video) - 1]
                go_on = partial(self._go_on_in_chain, following, known, opened.tam, last, intent)
        return _Tracked(answer, go_on)

    def _withdraw(self, intent: Intent) -> None:
        """Take back the prediction that follows from annotations of which none is left."""
        client, number = self._label_studio.client, str(intent.task_id)
        pushed = self._memories.get(intent.project, number).pushed
        if client is not None and pushed is not None:
            try:
                client.delete_prediction(pushed)
            except LabelStudioRefusedError as error:
                logger.info("The prediction %d of task %s cannot be taken back: %s", pushed, number, error)
            self._memories.change(intent.project, number, lambda memory: memory.with_nothing_pushed())

    def _go_on_in_chain(
        self, following: Following, known: ReadTask, tam: TrackAnything, last: RgbFrame, intent: Intent
    ) -> None:
        """Begin the next task of a chain with what this one ended with, if that is new to it.

        What goes wrong with the next task does not spoil this one.
        """
        client = self._label_studio.client
        project, number, config = intent.project, str(following.task_id), parse_config(intent.label_config)
        if client is None:
            return
        try:
            data = client.task_data(project, following.task_id)
            annotations = [each for each in client.annotations(following.task_id) if not each.get("was_cancelled")]
            task = {"id": following.task_id, "data": data, "annotations": annotations}
            with self._lent(task, replace(known, whose=None), config, project, _NETWORKS_S) as following_opened:
                seeds = following.moved_on(tam, last, following_opened.video[0]).seeds
        except TamError as error:
            self.problems.failed(f"task {number}, the next of a chain", error)
            return
        if self._memories.get(project, number).seeds != seeds:
            self._memories.change(project, number, lambda memory: memory.with_seeds(seeds))
            self._loop.add(Intent(project, following.task_id, task, None, intent.label_config))

    def _box_track(
        self, task: Mapping[str, Any], prompts: TaskPrompts, opened: OpenTask, request: _Request
    ) -> dict[str, Any]:
        """Answer boxes on a <Video> with tracks of boxes, taken from masks."""
        media, video = prompts.media, opened.video
        clock = VideoClock(media.frame_rate_for(task["data"]), video.fps, len(video), timeline_of(video))
        objects = prompts.objects if prompts.asked is None else (prompts.asked.object,)
        # All objects', or the tracks of those that are not asked for would be dropped as nobody's wish.
        others = [each for each in prompts.objects if each.object_id not in {asked.object_id for asked in objects}]
        wanted: list[Prompt] = [
            prompt for each in (*objects, *others) for prompt in to_prompts(each, video.size_hw, clock=clock)
        ]
        boxes: dict[int, dict[int, Box | None]] = {each.object_id: {} for each in objects}
        qualities: dict[int, dict[int, float]] = {each.object_id: {} for each in objects}
        with opened.pursuit(wanted, request.deadline_s, request.cancelled) as propagation:
            with self.jobs.start(
                task.get("id"), request.project, propagation.frames_total, frames_done=propagation.frames_done
            ) as job:
                self._advance(task, opened, propagation, request, job, encode_s=0.0)
            complete = propagation.done
            self._name_left_out(task, propagation)
            for found in propagation.results():
                for object_id, mask in found.masks.items():
                    if object_id not in boxes:
                        continue
                    boxes[object_id][found.frame] = mask_bounds(mask)
                    if boxes[object_id][found.frame] is not None:
                        qualities[object_id][found.frame] = found.quality[object_id]
        results = [
            result
            for each in objects
            for result in brought_along(
                [
                    box_track_region(
                        each.regions[0].control,
                        media,
                        region_id=each.region_id,
                        labels=each.regions[0].labels,
                        boxes=boxes[each.object_id],
                        size_hw=video.size_hw,
                        clock=clock,
                        quality=task_score(qualities[each.object_id].values()) or 0.0,
                        human=[key for region in each.regions for key in region.keyframes if key.by_human],
                    )
                ],
                each.regions[0].attributes,
                notes=each.regions[0].notes,
            )
        ]
        worst = worst_by_frame(frame for track in qualities.values() for frame in track.items())
        return self._answer(results, task_score(worst.values()), complete=complete or request.context is not None)

    def _advance(
        self,
        task: Mapping[str, Any],
        opened: OpenTask,
        pursuit: Pursuit,
        request: _Request,
        job: Job,
        *,
        encode_s: float,
        goes_on: bool = False,
    ) -> None:
        """Track until the end, the time budget, or somebody's cancel; the job tells how far it came."""
        task_id, total = task.get("id"), pursuit.frames_total
        while not pursuit.done:
            kept = f"{pursuit.frames_done} of {total} frames of task {task_id} are kept"
            if request.cancelled():
                raise CancelledError(f"The client hung up; {kept}.")
            if opened.superseded:
                raise CancelledError(f"Task {task_id} was propagated anew with other prompts.")
            if job.cancel_requested:
                return
            if request.seconds_left < encode_s * (pursuit.frames_done + 1):
                message = f"Stopped after {pursuit.frames_done} of {total} frames: the time budget is used up."
                job.stopped(message + (" It goes on in the background." if goes_on else ""))
                if not goes_on:
                    again = "Retrieve its predictions" if request.context is None else "Propagate"
                    self.problems.note(
                        f"task {task_id}", message, f"{again} again to go on from there, or raise TAM_TIME_BUDGET_S."
                    )
                return
            result = pursuit.advance()
            if result is not None:
                job.advance(result.frame)


def _project_of(payload: Mapping[str, Any]) -> str:
    """Return a project's id: Label Studio writes "<id>.<time of creation>"."""
    return str(payload.get("project", "")).split(".")[0]


def _check_one_page(prompts: TaskPrompts, video: VideoSource) -> None:
    """Refuse an animation, or a video, as the one picture of an <Image>: its masks would all lie on each other."""
    if prompts.media.kind is MediaKind.IMAGE and len(video) > 1:
        pages = len(video)
        video.close()
        raise UnreadableMediaError(
            f"{video.name} has {pages} pages, but the labeling config shows one image.",
            "Import it with `tam-backend import`, which makes a list of frames of it.",
        )


def _media_value(task: Mapping[str, Any], prompts: TaskPrompts) -> str | list[str]:
    """Return the address, or the list of addresses, of what the task shows."""
    value = prompts.media.value(task["data"])
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return value
    raise PayloadError(
        f"Task {task.get('id')} has no address, nor a list of addresses, as {prompts.media.data_key!r} in its data.",
        "Import the video with `tam-backend import`, or name the key that holds it in the labeling config.",
    )


def _shown(task: Mapping[str, Any], prompts: TaskPrompts, config: LabelingConfig, value: str | list[str]) -> str:
    """Name what a session tracks: two media that show the same are two sessions, each with objects of its own."""
    media = config.media[: config.media.index(prompts.media)]
    again = any(before.value(task["data"]) == value for before in media)
    return f"{prompts.media.name}: {value!r}" if again else repr(value)
