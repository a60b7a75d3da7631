"""What Label Studio asks, answered: a click by one mask, Propagate by all masks, a video box by a track of boxes."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tam_backend.errors import BusyError, CancelledError, InvalidInputError, PayloadError
from tam_backend.labelstudio.config import LabelingConfig, MediaKind, parse_config
from tam_backend.labelstudio.prompts import TaskPrompts, read_task, to_prompts
from tam_backend.labelstudio.regions import mask_bounds
from tam_backend.labelstudio.results import box_track_region, mask_results, prediction
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.leases import LeaseCache
from tam_backend.pipeline.resumable import ResumablePropagation
from tam_backend.server.answers import AnswerMemory
from tam_backend.server.jobs import JobRegistry
from tam_backend.server.label_studio import LabelStudioAccess
from tam_backend.server.networks import Networks
from tam_backend.server.problems import ProblemLog
from tam_backend.server.tasks import OpenTask
from tam_backend.settings import Settings
from tam_backend.types import Box, Prompt
from tam_backend.video.fetch import MediaFetcher
from tam_backend.video.library import VideoLibrary

logger = logging.getLogger(__name__)

# Reading a mask back, writing it as brush or bitmask and as JSON: seconds per million pixels, measured 4 to 10 ms at
# 720p and 50 ms at 4K. It must fit the time budget too.
ENCODE_S_PER_MPX = 0.012
# Label Studio asks for a task without a prediction when somebody opens it, and shows nothing until it has the answer.
# That call cannot be told from a batch call for one task.
BATCH_S_PER_TASK = 30.0
# A prediction under another version than the current one is asked for again.
INCOMPLETE = " (incomplete)"


@dataclass(frozen=True, eq=False)
class _Request:
    """What all tasks of one /predict have in common."""

    config: LabelingConfig
    context: Mapping[str, Any] | None
    project: str
    deadline_s: float
    cancelled: Callable[[], bool]

    @property
    def seconds_left(self) -> float:
        return self.deadline_s - time.monotonic()


class Backend:
    """One profile on one device, serving any number of Label Studio projects. Thread-safe.

    The networks are loaded in the background, from the first moment on.

    Raises:
        ProfileError: the settings name no known profile.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.jobs = JobRegistry()
        self.problems = ProblemLog()
        self.library = VideoLibrary(settings.data_dir)
        self._networks = Networks(settings)
        self._label_studio = LabelStudioAccess(settings)
        self._fetcher = MediaFetcher(
            settings,
            authorization=self._label_studio.authorization,
            own_frames=self.library.own_frame,
            own_video=self.library.own_video,
        )
        self._tasks: LeaseCache[tuple[str, str, str], OpenTask] = LeaseCache(OpenTask.close, settings.max_sessions)
        self._answers = AnswerMemory()
        self._networks.start()

    @property
    def model_version(self) -> str:
        """What predictions are stored under; changes with the weights."""
        return self._networks.version

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
        }

    def setup(self, payload: Mapping[str, Any]) -> str:
        """Take what Label Studio tells of a project, and return the model version.

        Raises:
            LabelConfigError: nothing in the project's labeling config can be predicted.
        """
        schema = payload["schema"]
        if schema.strip():
            parse_config(schema)
        if url := payload.get("hostname"):
            self._label_studio.learn(url, payload.get("access_token") or "")
            self._fetcher.learn_label_studio_url(url)
        return self.model_version

    def webhook(self, payload: Mapping[str, Any]) -> None:
        """Take note of an event. Nothing follows from events yet; training has nothing to train."""
        logger.info("Event %s", str(payload.get("action"))[:60])

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
            context=context,
            project=str(payload.get("project", "")).split(".")[0],
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
        task_key = f"{request.project}/{task.get('id')}"
        prompts = read_task(
            task,
            request.context,
            request.config,
            propagate_label=self.settings.propagate_label,
            unsaved=self._answers.unsaved(task_key, task) if request.context is not None else (),
        )
        if not prompts.objects:
            if prompts.propagate:
                raise InvalidInputError(
                    f"Task {task.get('id')} has nothing to propagate.",
                    "Click on an object with one of the other labels first, and accept its mask.",
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
        value = _media_value(task, prompts)
        kept_as = (request.project, str(task.get("id")), repr(value))
        with self._tasks.lend(kept_as, lambda: self._open(value, task, request)) as opened:
            if not on_frames:
                return self._box_track(task, prompts, opened, request)
            if prompts.asked is not None:
                answer = self._click(prompts, opened, request)
                self._answers.remember(task_key, answer["result"])
                return answer
            return self._masks_on_all_frames(task, prompts, opened, request)

    def _open(self, value: Any, task: Mapping[str, Any], request: _Request) -> OpenTask:
        tam = self._networks.get(request.seconds_left)
        number = task.get("id")
        video = self._fetcher.open_media(
            value, task_id=number if isinstance(number, int) else None, timeout_s=max(1.0, request.seconds_left)
        )
        return OpenTask(tam, video)

    def _click(self, prompts: TaskPrompts, opened: OpenTask, request: _Request) -> dict[str, Any]:
        """Answer a smart click with the mask of the clicked object on the clicked page, and no other."""
        asked = prompts.asked
        if asked is None or asked.frame is None:
            raise PayloadError("The click names no frame.", "Send Label Studio's own JSON.")
        wanted = to_prompts(asked.object, opened.video.size_hw, frames=(asked.frame,))
        mask = opened.click(wanted)
        if not mask.array.any():
            raise InvalidInputError(
                f"Nothing was found at the click on frame {asked.frame}.", "Click elsewhere on it, or draw a box."
            )
        results = mask_results(
            request.config.output(prompts.media),
            prompts.media,
            key=asked.object.key,
            frame=asked.frame,
            label=asked.object.label,
            mask=mask.array,
            quality=mask.quality,
            source="prompt",
        )
        return self._answer(results, mask.quality)

    def _masks_on_all_frames(
        self, task: Mapping[str, Any], prompts: TaskPrompts, opened: OpenTask, request: _Request
    ) -> dict[str, Any]:
        """Answer Propagate, or a batch call with prompts: every object's mask on every frame that fits the budget."""
        size_hw = opened.video.size_hw
        wanted = [prompt for each in prompts.objects for prompt in to_prompts(each, size_hw)]
        control = request.config.output(prompts.media)
        results: list[dict[str, Any]] = []
        qualities: list[float] = []
        encode_s = ENCODE_S_PER_MPX * size_hw[0] * size_hw[1] / 1e6 * len(prompts.objects)
        with opened.propagation(wanted, request.deadline_s, request.cancelled) as propagation:
            self._advance(task, opened, propagation, request, encode_s=encode_s)
            complete = propagation.done
            by_id = {each.object_id: each for each in prompts.objects}
            for found in propagation.results():
                for object_id, mask in found.masks.items():
                    each = by_id[object_id]
                    if found.frame in each.human_frames or not mask.any():
                        continue
                    quality = each.score_on(found.frame) if found.source[object_id] == "prompt" else None
                    quality = found.quality[object_id] if quality is None else quality
                    qualities.append(quality)
                    results += mask_results(
                        control,
                        prompts.media,
                        key=each.key,
                        frame=found.frame,
                        label=each.label,
                        mask=mask,
                        quality=quality,
                        source=found.source[object_id],
                    )
        return self._answer(results, _mean(qualities), complete=complete or request.context is not None)

    def _box_track(
        self, task: Mapping[str, Any], prompts: TaskPrompts, opened: OpenTask, request: _Request
    ) -> dict[str, Any]:
        """Answer boxes on a <Video> with tracks of boxes, taken from masks."""
        media, video = prompts.media, opened.video
        clock = VideoClock(media.frame_rate_for(task["data"]), video.fps, len(video))
        objects = prompts.objects if prompts.asked is None else (prompts.asked.object,)
        wanted: list[Prompt] = [prompt for each in objects for prompt in to_prompts(each, video.size_hw, clock=clock)]
        boxes: dict[int, dict[int, Box | None]] = {each.object_id: {} for each in objects}
        qualities: dict[int, list[float]] = {each.object_id: [] for each in objects}
        with opened.propagation(wanted, request.deadline_s, request.cancelled) as propagation:
            self._advance(task, opened, propagation, request, encode_s=0.0)
            complete = propagation.done
            for found in propagation.results():
                for object_id, mask in found.masks.items():
                    boxes[object_id][found.frame] = mask_bounds(mask)
                    qualities[object_id].append(found.quality[object_id])
        control = request.config.output(media)
        results = [
            box_track_region(
                control,
                media,
                region_id=each.region_id,
                label=each.label,
                boxes=boxes[each.object_id],
                size_hw=video.size_hw,
                clock=clock,
                quality=_mean(qualities[each.object_id]) or 0.0,
                human=[key for region in each.regions for key in region.keyframes if key.by_human],
            )
            for each in objects
        ]
        score = _mean([quality for track in qualities.values() for quality in track])
        return self._answer(results, score, complete=complete or request.context is not None)

    def _advance(
        self,
        task: Mapping[str, Any],
        opened: OpenTask,
        propagation: ResumablePropagation,
        request: _Request,
        *,
        encode_s: float,
    ) -> None:
        """Track until the end, the time budget, or somebody's cancel; the job tells how far it came."""
        task_id, total = task.get("id"), propagation.frames_total
        with self.jobs.start(task_id, request.project, total, frames_done=propagation.frames_done) as job:
            while not propagation.done:
                kept = f"{propagation.frames_done} of {total} frames of task {task_id} are kept"
                if request.cancelled():
                    raise CancelledError(f"The client hung up; {kept}.")
                if opened.superseded:
                    raise CancelledError(f"Task {task_id} was propagated anew with other prompts.")
                if job.cancel_requested:
                    return
                if request.seconds_left < encode_s * (propagation.frames_done + 1):
                    message = f"Stopped after {propagation.frames_done} of {total} frames: the time budget is used up."
                    job.stopped(message)
                    again = "Retrieve its predictions" if request.context is None else "Propagate"
                    self.problems.note(
                        f"task {task_id}", message, f"{again} again to go on from there, or raise TAM_TIME_BUDGET_S."
                    )
                    return
                result = propagation.advance()
                if result is not None:
                    job.advance(result.frame)


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


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
