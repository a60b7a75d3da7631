"""What a task shows, named for the workers: by its session's key and the address of its media."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from tam_backend.errors import PayloadError
from tam_backend.labelstudio.config import LabelingConfig, MediaKind
from tam_backend.labelstudio.prompts import TaskPrompts
from tam_backend.service.read_task import ReadTask
from tam_backend.store.sessions import SessionKey
from tam_backend.types import LastingId
from tam_backend.workers.workers import View


def view_of(task: Mapping[str, Any], known: ReadTask, config: LabelingConfig, project: str) -> View:
    """Return a task as its annotator sees it: two of them may work on it at the same time, each with own prompts.

    Args:
        task: as Label Studio sends it.
        known: what was read of it.
        config: of its project.
        project: Label Studio's.

    Raises:
        PayloadError: its data hold no address.
    """
    address = _address(task, known.prompts)
    shown = hashlib.sha256(_shown(task, known.prompts, config, address).encode()).hexdigest()[:32]
    number = task.get("id")
    return View(
        SessionKey(project, str(number), shown, known.whose or ""),
        address if isinstance(address, str) else tuple(address),
        number if isinstance(number, int) else None,
        one_page=known.prompts.media.kind is MediaKind.IMAGE,
    )


def _address(task: Mapping[str, Any], prompts: TaskPrompts[LastingId]) -> str | list[str]:
    value = prompts.media.value(task["data"])
    if isinstance(value, str) and value:
        return value
    if isinstance(value, list) and value and all(isinstance(each, str) for each in value):
        return value
    raise PayloadError(
        f"Task {task.get('id')} has no address, nor a list of addresses, as {prompts.media.data_key!r} in its data.",
        "Import the video with `tam-backend import`, or name the key that holds it in the labeling config.",
    )


def _shown(
    task: Mapping[str, Any], prompts: TaskPrompts[LastingId], config: LabelingConfig, address: str | list[str]
) -> str:
    """Name what a session tracks: two media that show the same are two sessions, each with objects of its own."""
    media = config.media[: config.media.index(prompts.media)]
    again = any(before.value(task["data"]) == address for before in media)
    return f"{prompts.media.name}: {address!r}" if again else repr(address)
