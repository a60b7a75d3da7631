"""A job carried out: what annotators said is read as keyframes, what changed is tracked anew, a chain goes on."""

from __future__ import annotations

import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from tam_backend.errors import BusyError, CancelledError, InvalidInputError, LabelStudioRefusedError, MediaError
from tam_backend.jobs.records import Intent
from tam_backend.jobs.registry import Job
from tam_backend.labelstudio.config import LabelingConfig, Media, MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.prompts import drawn_media
from tam_backend.service import annotation_events as events
from tam_backend.service.background import Annotations, Found, GoOn, prediction_digest
from tam_backend.service.chain import Following, masks_for_next
from tam_backend.service.desk import Desk
from tam_backend.service.read_task import MaskAnswer, ReadTask, joined
from tam_backend.service.views import view_of
from tam_backend.store.sessions import SessionStore

logger = logging.getLogger(__name__)

# A job waits this long for the networks: a profile of several gigabytes takes its time from a slow disk.
_NETWORKS_S = 600.0


@dataclass(frozen=True)
class _Tracked:
    """What came of one media of a job's task.

    Args:
        answer: None where there was nothing to track.
        go_on: begins the next task of a chain; None where there is none.
        version: of the networks that tracked it.
    """

    answer: MaskAnswer | None = None
    go_on: GoOn | None = None
    version: str = ""


class Correction:
    """Carries out jobs. Thread-safe.

    Args:
        desk: of the backend.
        store: knows the keyframes.
    """

    def __init__(self, desk: Desk, store: SessionStore) -> None:
        self._desk = desk
        self._store = store

    def carry_out(self, intent: Intent, annotations: Annotations, job: Job) -> Found:
        """Do what a job is to do, for the annotations that its task has now; asks Label Studio for nothing."""
        task, config = intent.task, parse_config(intent.label_config)
        if events.is_event(intent):
            events.take_note(annotations, config, intent, self._desk.memories, self._store)
            if not annotations:
                return Found(go_on=partial(self._withdraw, intent))
            sent = self._desk.memories.get(intent.project, str(intent.task_id)).digests
            task = events.as_one_annotation(intent, annotations, sent)
        media = drawn_media(task, config, intent.context, intent.prompt_from)
        if len(media) < 2:
            found = [self._tracked(task, next(iter(media), None), config, intent, job)]
        else:
            found, _ = self._desk.of_each(task, media, lambda each: self._tracked(task, each, config, intent, job))
        answered = [each for each in found if each.answer is not None]
        answers = [each.answer for each in answered if each.answer is not None]
        go_on = next((each.go_on for each in found if each.go_on is not None), None)
        if not answers:
            return Found(go_on=go_on)
        answer = joined(answers)
        prediction = self._desk.answer(answer.results, answer.score, answered[0].version)
        if self._desk.memories.get(intent.project, str(intent.task_id)).pushed_digest == prediction_digest(prediction):
            return Found(go_on=go_on)
        self._desk.sent(intent.project, task, answer)
        return Found(prediction, go_on)

    def _tracked(
        self, task: Mapping[str, Any], media: Media | None, config: LabelingConfig, intent: Intent, job: Job
    ) -> _Tracked:
        """Track one media of a job's task."""
        known = self._desk.read(
            task,
            intent.context,
            config,
            intent.project,
            intent.unsaved,
            annotator=intent.annotator or None,
            medium=media,
            prompt_from=intent.prompt_from,
        )
        if not known.followed or known.prompts.media.kind is MediaKind.VIDEO:
            return _Tracked()
        go_on: GoOn | None = None
        with self._desk.lent(task, known, config, intent.project, _NETWORKS_S, "background") as opened:
            wanted = known.wanted(opened.video.size_hw)
            with opened.tracking_in_background(wanted) as tracking:
                job.measured(tracking.frames_done, tracking.frames_total)
                while not tracking.done:
                    if tracking.contested:
                        raise BusyError("Somebody waits for this task.")
                    if job.cancel_requested:
                        raise CancelledError(f"It was cancelled; {tracking.frames_done} frames are kept.")
                    for frame in tracking.advance():
                        job.advance(frame)
                self._desk.name_left_out(task, tracking)
                answer = self._desk.masks(task, known, config, opened, tracking)
                submitted = intent.context is None  # what is not is shown to nobody else, in the next task neither
                begins = submitted and known.begins_chains(config)
                following = masks_for_next(task, known, tracking) if begins else None
        if following is not None and (intent.chain is None or following.task_id in intent.chain):
            go_on = partial(self._go_on_in_chain, following, task, known, intent)
        return _Tracked(answer, go_on, opened.video.version)

    def _withdraw(self, intent: Intent) -> Intent | None:
        """Take back the prediction that follows from annotations of which none is left."""
        client, number = self._desk.label_studio.client, str(intent.task_id)
        pushed = self._desk.memories.get(intent.project, number).pushed
        if client is not None and pushed is not None:
            try:
                client.delete_prediction(pushed)
            except LabelStudioRefusedError as error:
                logger.info("The prediction %d of task %s cannot be taken back: %s", pushed, number, error)
            self._desk.memories.change(intent.project, number, lambda memory: memory.with_nothing_pushed())
        return None

    def _go_on_in_chain(
        self, following: Following, before: Mapping[str, Any], known: ReadTask, intent: Intent
    ) -> Intent | None:
        """Return what there is to do for the next task of a chain, which begins with what this one ended with.

        After a correction that is nothing where the next task began with the same before; where the tasks to go on with
        were named (`Intent.chain`), they do so in any case.

        What is wrong with the next task does not spoil this one; what passes, such as a worker that is busy, has the
        job tried again.
        """
        client = self._desk.label_studio.client
        project, number, config = intent.project, str(following.task_id), parse_config(intent.label_config)
        if client is None:
            return None
        try:
            data = client.task_data(project, following.task_id)
            annotations = [each for each in client.annotations(following.task_id) if not each.get("was_cancelled")]
            task = {"id": following.task_id, "data": data, "annotations": annotations}
            if intent.prompt_from:
                task["predictions"] = client.predictions(following.task_id)
            view = view_of(task, replace(known, whose=None), config, project)
            with self._desk.lent(before, known, config, project, _NETWORKS_S, "background") as opened:
                seeds = following.seeds(opened, view, _NETWORKS_S)
        except (LabelStudioRefusedError, MediaError, InvalidInputError) as error:
            self._desk.problems.failed(f"task {number}, the next of a chain", error)
            return None
        if self._desk.memories.get(project, number).seeds == seeds and intent.chain is None:
            return None
        self._desk.memories.change(project, number, lambda memory: memory.with_seeds(seeds))
        return replace(intent, task_id=following.task_id, task=task, context=None, unsaved=(), annotator="")
