"""Tasks that are open: their video, their sessions, and the networks, lent to one request after the other."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from contextlib import AbstractContextManager
from functools import partial
from typing import Any

from tam_backend.errors import PayloadError, UnreadableMediaError
from tam_backend.labelstudio.config import LabelingConfig, MediaKind
from tam_backend.labelstudio.prompts import TaskPrompts
from tam_backend.service.page_frames import TaskMedia
from tam_backend.service.read_task import ReadTask
from tam_backend.store.sessions import SessionKey, SessionStore, StoredSession
from tam_backend.threads.leases import LeaseCache
from tam_backend.types import VideoSource
from tam_backend.video.fetch import MediaFetcher
from tam_backend.workers.networks import Networks
from tam_backend.workers.open_task import OpenTask


class OpenTasks:
    """Opens tasks, and keeps the last ones open. Thread-safe.

    Args:
        networks: of the profile.
        fetcher: opens what tasks show.
        store: where sessions are kept.
        media: remembers what tasks show, for their pages.
        most: so many stay open while nobody works on them.
    """

    def __init__(
        self, networks: Networks, fetcher: MediaFetcher, store: SessionStore, media: TaskMedia, most: int
    ) -> None:
        self._networks = networks
        self._fetcher = fetcher
        self._store = store
        self._media = media
        self._tasks: LeaseCache[tuple[str, str, str, str], OpenTask] = LeaseCache(OpenTask.close, most)

    def close(self) -> None:
        """Close all; their sessions stay stored."""
        self._tasks.clear()

    def lent(
        self, task: Mapping[str, Any], known: ReadTask, config: LabelingConfig, project: str, timeout_s: float
    ) -> AbstractContextManager[OpenTask]:
        """Lend a task as its annotator sees it: two of them may work on it at the same time, each with own prompts.

        Args:
            task: as Label Studio sends it.
            known: what was read of it.
            config: of its project.
            project: Label Studio's.
            timeout_s: how long to wait for the networks, and for the media.

        Raises:
            PayloadError: its data hold no address.
            TamError: the media cannot be had, or the networks.
        """
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
        return self._store.open(key, frames=len(video), size_hw=video.size_hw, weights=self._networks.version)


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
