"""The embedded default: the networks and the open tasks of this very process."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from tam_backend.errors import BusyError, UnreadableMediaError
from tam_backend.store.sessions import SessionStore, StoredSession
from tam_backend.threads.leases import LeaseCache
from tam_backend.types import VideoSource
from tam_backend.video.fetch import MediaFetcher
from tam_backend.workers.load import Load
from tam_backend.workers.networks import Networks
from tam_backend.workers.open_task import OpenTask
from tam_backend.workers.project_networks import ProjectNetworks
from tam_backend.workers.workers import View, Work, WorkerState


class InProcessWorkers:
    """One worker: opens tasks, and keeps the last ones open. Thread-safe; see `workers.Workers`.

    Args:
        networks: of the profile.
        fetcher: opens what tasks show.
        store: where sessions are kept.
        most: so many tasks stay open while nobody works on them.
        own_networks: of projects; None = all have those of the profile.
    """

    at_once = 1

    def __init__(
        self,
        networks: Networks,
        fetcher: MediaFetcher,
        store: SessionStore,
        most: int,
        own_networks: ProjectNetworks | None = None,
    ) -> None:
        self._networks = networks
        self._own_networks = own_networks
        self._fetcher = fetcher
        self._store = store
        self._load = Load()
        self._tasks: LeaseCache[View, OpenTask] = LeaseCache(OpenTask.close, most)

    def start(self) -> None:
        """Begin to load the networks."""
        self._networks.start()

    def close(self) -> None:
        """Close all tasks; their sessions stay stored."""
        self._tasks.clear()

    def states(self) -> Sequence[WorkerState]:
        """Return what can be told of this worker."""
        failure, load = self._networks.failure, self._load.read()
        return [
            WorkerState(
                f"{socket.gethostname()}:{os.getpid()}",
                os.getpid(),
                self._networks.device,
                self._networks.ready,
                str(failure) if failure else "",
                load.waiting,
                load.busy_s,
                load.frames,
                load.clicks,
                load.up_s,
            )
        ]

    @contextmanager
    def lent(self, view: View, timeout_s: float, work: Work) -> Iterator[OpenTask]:  # noqa: ARG002
        """Lend a view, opened within so many seconds; see `Workers.lent`."""
        with self._load.working():
            with self._tasks.lend(view, lambda: self._opened(view, timeout_s)) as opened:
                if not self._is_outdated(view, opened.video.version, timeout_s):
                    yield opened
                    return
                self._tasks.drop(view, opened)
            with self._tasks.lend(view, lambda: self._opened(view, timeout_s)) as opened:
                yield opened

    def _is_outdated(self, view: View, version: str, timeout_s: float) -> bool:
        """Whether another process has tracked the task since with other networks, which it is to keep.

        So it is where the two opened it on either side of a promotion: each would drop the other's masks for ever.
        """
        if self._own_networks is None or self._store.weights_of_masks(view.key) in ("", version):
            return False
        return self._own_networks.of(view.key, timeout_s)[1] != version

    def _opened(self, view: View, timeout_s: float) -> OpenTask:
        own = self._own_networks
        if own is None:
            tam, version = self._networks.get(timeout_s), self._networks.version
        else:
            tam, version = own.of(view.key, timeout_s)
        video = self._video(view, timeout_s)
        return OpenTask(
            tam,
            video,
            open_stored=lambda: self._stored(view, video, version, timeout_s),
            open_again=lambda: self._video(view, timeout_s),
            open_other=self._video,
            load=self._load,
            version=version,
        )

    def _stored(self, view: View, video: VideoSource, weights: str, timeout_s: float) -> StoredSession:
        if self._is_outdated(view, weights, timeout_s):  # since it was lent
            raise BusyError("Another process has just tracked this task with other networks.", "Try again.")
        return self._store.open(view.key, frames=len(video), size_hw=video.size_hw, weights=weights)

    def _video(self, view: View, timeout_s: float) -> VideoSource:
        address = view.address if isinstance(view.address, str) else list(view.address)
        video = self._fetcher.open_media(address, task_id=view.task_id, timeout_s=max(1.0, timeout_s))
        pages = len(video)
        if view.one_page and pages > 1:  # its masks would all lie on each other
            video.close()
            raise UnreadableMediaError(
                f"{video.name} has {pages} pages, but the labeling config shows one image.",
                "Import it with `tam-backend import`, which makes a list of frames of it.",
            )
        return video
