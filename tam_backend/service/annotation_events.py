"""Label Studio's events: which of them are work, and what an annotator did since we last looked."""

from __future__ import annotations

import hashlib
import hmac
import logging
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tam_backend.errors import LabelStudioError, PayloadError, UnauthorizedError
from tam_backend.jobs.records import Intent
from tam_backend.labelstudio.annotators import author_of
from tam_backend.labelstudio.client import START_TRAINING, LabelStudioClient
from tam_backend.labelstudio.config import LabelingConfig
from tam_backend.labelstudio.edits import as_left, needs_parent
from tam_backend.service.read_task import held_in, merged
from tam_backend.store.sessions import SessionStore
from tam_backend.store.task_memory import TaskMemories, TaskMemory

logger = logging.getLogger(__name__)

_READ = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")
_DELETED = "ANNOTATIONS_DELETED"
# In the task of an intent: which annotations it had are deleted.
_DELETED_IDS = "tam_deleted_annotations"


def check_secret(given: str, expected: str) -> None:
    """Raise UnauthorizedError where an event came to an address with another secret."""
    if not hmac.compare_digest(given.encode("utf-8", "replace"), expected.encode()):
        raise UnauthorizedError(
            "The secret in this webhook's address is not ours.",
            "Run `tam-backend import` again, or open Settings > Model of the project: both bring the right address.",
        )


def intent_of(payload: Mapping[str, Any]) -> Intent | None:
    """Return the work that an event asks for; None where it asks for none.

    Raises:
        PayloadError: an annotation's event without what Label Studio puts into it.
    """
    action = payload["action"]
    if action not in _READ:
        return None
    annotation, task, project = (_object(payload, key) for key in ("annotation", "task", "project"))
    if annotation.get("was_cancelled"):
        return None
    number, project_id, label_config = task.get("id"), project.get("id"), project.get("label_config")
    if (
        not isinstance(number, int)
        or not isinstance(project_id, int)
        or not isinstance(label_config, str)
        or not isinstance(task.get("data"), dict)
        or not isinstance(annotation.get("result"), list)
    ):
        raise PayloadError(
            f"The event {action} names no annotation of a task that can be read.", "Send Label Studio's own JSON."
        )
    return Intent(
        project=str(project_id),
        task_id=number,
        task={"id": number, "data": task["data"], "annotations": [annotation]},
        context=None,
        label_config=label_config,
    )


def training_of(payload: Mapping[str, Any]) -> str | None:
    """Return the project whose networks are to learn; None where an event asks for something else.

    Raises:
        PayloadError: it names no project.
    """
    if payload["action"] != START_TRAINING:
        return None
    number = _object(payload, "project").get("id")
    if not isinstance(number, int) or isinstance(number, bool) or number < 1:
        raise PayloadError(f"The event {START_TRAINING} names no project.", "Send Label Studio's own JSON.")
    return str(number)


def video_of(intent: Intent) -> str:
    """Return what stands for the video of a task: a long one is cut into several."""
    data: Mapping[str, Any] = intent.task["data"]
    address = data.get("video")
    if "chain" not in data or not isinstance(address, str):
        return f"task {intent.task_id}"
    return hashlib.sha256(address.partition("?")[0].encode("utf-8", "replace")).hexdigest()


def deletions_of(payload: Mapping[str, Any], memories: TaskMemories) -> list[Intent]:
    """Return the work that a deletion of annotations asks for: of each task that had one of them, as far as we know.

    Label Studio tells nothing but the annotations' ids.

    Raises:
        PayloadError: a deletion without what Label Studio puts into it.
    """
    if payload["action"] != _DELETED:
        return []
    project, annotations = _object(payload, "project"), payload.get("annotations")
    named = annotations if isinstance(annotations, list) else []
    numbers: list[int] = [each["id"] for each in named if isinstance(each, dict) and isinstance(each.get("id"), int)]
    project_id, label_config = project.get("id"), project.get("label_config")
    if not numbers or not isinstance(project_id, int) or not isinstance(label_config, str):
        raise PayloadError(f"The event {_DELETED} names no annotations.", "Send Label Studio's own JSON.")
    return [
        Intent(str(project_id), int(task), {"id": int(task), _DELETED_IDS: numbers}, None, label_config)
        for task in memories.with_any_of(str(project_id), numbers)
        if task.isdecimal()
    ]


def is_event(intent: Intent) -> bool:
    """Tell whether an intent speaks of annotations, not of what somebody is about to draw."""
    return intent.context is None and (bool(intent.task.get("annotations")) or _DELETED_IDS in intent.task)


def current_annotations(intent: Intent, client: LabelStudioClient | None) -> Sequence[Mapping[str, Any]]:
    """Return the task's annotations as they are now; what a prediction said and nobody touched says so.

    Where Label Studio cannot be asked, what the event brought has to do. Of a deletion that is nothing.

    Raises:
        LabelStudioError: it cannot be asked what is left after a deletion.
    """
    if client is None and _DELETED_IDS in intent.task:
        raise LabelStudioError("There is no API key to ask Label Studio with.", "Set LABEL_STUDIO_API_KEY.")
    try:
        if client is not None:
            return _asked_for(intent.task_id, client)
    except LabelStudioError as error:
        if _DELETED_IDS in intent.task:
            raise
        logger.info("Task %d is read as its event told it: %s", intent.task_id, error)
    return as_left(intent.task["annotations"], {})


def _asked_for(task_id: int, client: LabelStudioClient) -> Sequence[Mapping[str, Any]]:
    annotations = [each for each in client.annotations(task_id) if not each.get("was_cancelled")]
    predictions = client.predictions(task_id) if any(map(needs_parent, annotations)) else []
    return as_left(annotations, {"predictions": predictions})


def with_data(intent: Intent, client: LabelStudioClient | None) -> Intent:
    """Return the intent with what its task shows, which a deletion does not tell.

    Raises:
        LabelStudioError: it cannot be asked.
    """
    if _DELETED_IDS not in intent.task or client is None:
        return intent
    data = client.task_data(intent.project, intent.task_id)
    return replace(intent, task={**intent.task, "data": data, "annotations": []})


def as_one_annotation(
    intent: Intent, annotations: Sequence[Mapping[str, Any]], sent: Mapping[tuple[str, int], Collection[str]]
) -> Mapping[str, Any]:
    """Return the intent's task with what all its annotators did as one annotation; of several, it is nobody's.

    Args:
        intent: of an event.
        annotations: of `current_annotations`.
        sent: the masks that the task was sent, see `edits.told_apart`.
    """
    newest: Mapping[str, Any] = next(iter(intent.task["annotations"]), {})
    if len({author_of(each) for each in annotations}) > 1:
        newest = {key: value for key, value in newest.items() if key not in ("completed_by", "created_username")}
    together = {**newest, "parent_prediction": None, "result": merged(annotations, sent)}
    return {**intent.task, "annotations": [together]}


def take_note(
    annotations: Sequence[Mapping[str, Any]],
    config: LabelingConfig,
    intent: Intent,
    memories: TaskMemories,
    store: SessionStore,
) -> None:
    """Remember what each annotation holds, and with it what an annotator erased since.

    Args:
        annotations: of `current_annotations`.
        config: the project's.
        intent: where it comes from.
        memories: changed.
        store: knows the keyframes: to delete one takes a human's word back, and says nothing of the object.
    """
    number = str(intent.task_id)
    deleted = intent.task.get(_DELETED_IDS)
    if deleted:
        memories.change(intent.project, number, lambda memory: memory.with_deleted(deleted))
    for annotation in annotations:
        whose = author_of(annotation)
        held = held_in(annotation.get("result") or [], config)
        number_of, parent = annotation.get("id"), annotation.get("parent_prediction")

        def noted(
            memory: TaskMemory,
            held: dict[str, frozenset[int]] = held,
            annotation_id: int = number_of if isinstance(number_of, int) else 0,
            parent: int | None = parent if isinstance(parent, int) else None,
            whose: str | None = whose,
            keyframes: Mapping[int, frozenset[int]] = store.keyframes(intent.project, number, whose),
        ) -> TaskMemory:
            humans = {key: keyframes.get(object_id, frozenset()) for key, object_id in memory.object_ids.items()}
            return memory.with_annotation(annotation_id, held, parent, humans, whose)

        memories.change(intent.project, number, noted)


def _object(payload: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = payload.get(key)
    if not isinstance(value, dict):
        raise PayloadError(f"The event has no {key}.", "Send Label Studio's own JSON, with payloads on.")
    return value
