"""Label Studio's events: which of them are work, and what an annotator did since we last looked."""

from __future__ import annotations

import hmac
import logging
from collections.abc import Mapping, Sequence
from typing import Any

from tam_backend.errors import LabelStudioError, PayloadError, UnauthorizedError
from tam_backend.labelstudio.annotators import author_of
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.config import LabelingConfig
from tam_backend.pipeline.store import SessionStore
from tam_backend.server.job_store import Intent
from tam_backend.server.reading import held_in, merged
from tam_backend.server.task_memory import TaskMemories, TaskMemory

logger = logging.getLogger(__name__)

_READ = ("ANNOTATION_CREATED", "ANNOTATION_UPDATED")


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
    if action == "START_TRAINING":
        logger.info("There is nothing to train: corrections are taken up as they are submitted")
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


def is_event(intent: Intent) -> bool:
    """Tell whether an intent speaks of annotations, not of what somebody is about to draw."""
    return intent.context is None and bool(intent.task.get("annotations"))


def current_annotations(intent: Intent, client: LabelStudioClient | None) -> Sequence[Mapping[str, Any]]:
    """Return the task's annotations as they are now.

    Where Label Studio cannot be asked, what the event brought has to do.
    """
    try:
        if client is not None:
            return [each for each in client.annotations(intent.task_id) if not each.get("was_cancelled")]
    except LabelStudioError as error:
        logger.info("Task %d is read as its event told it: %s", intent.task_id, error)
    return list(intent.task["annotations"])


def as_one_annotation(intent: Intent, annotations: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the intent's task with what all its annotators did as one annotation; of several, it is nobody's."""
    newest = intent.task["annotations"][0]
    if len({author_of(each) for each in annotations}) > 1:
        newest = {key: value for key, value in newest.items() if key not in ("completed_by", "created_username")}
    return {**intent.task, "annotations": [{**newest, "result": merged(annotations)}]}


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
    keyframes = store.keyframes(intent.project, number)
    for annotation in annotations:
        held = held_in(annotation.get("result") or [], config)
        parent = annotation.get("parent_prediction")

        def noted(
            memory: TaskMemory,
            held: dict[str, frozenset[int]] = held,
            annotation_id: int = int(annotation.get("id") or 0),
            parent: int | None = parent if isinstance(parent, int) else None,
            whose: str | None = author_of(annotation),
        ) -> TaskMemory:
            humans = {key: keyframes.get(object_id, frozenset()) for key, object_id in memory.object_ids.items()}
            return memory.with_annotation(annotation_id, held, parent, humans, whose)

        memories.change(intent.project, number, noted)


def _object(payload: Mapping[str, Any], key: str) -> Mapping[str, Any]:
    value = payload.get(key)
    if not isinstance(value, dict):
        raise PayloadError(f"The event has no {key}.", "Send Label Studio's own JSON, with payloads on.")
    return value
