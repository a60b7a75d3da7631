"""Where jobs run: a protocol, and its embedded default, one thread of this process that is fair between projects."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)


class Executor(Protocol):
    """Runs work that nobody waits for. A distributed engine would be another one."""

    def submit(self, project: str, work: Callable[[], None]) -> None:
        """Run `work` at some time, after what this project submitted earlier; returns at once."""

    def close(self) -> None:
        """Run nothing more; returns when nothing runs, or after a few seconds."""


class InProcessExecutor:
    """One worker thread: the networks are used by one thread at a time anyway.

    Projects take turns, so that a project with a hundred jobs does not keep another's single one waiting.
    """

    _PATIENCE_S = 5.0

    def __init__(self) -> None:
        self._queues: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._changed = threading.Condition()
        self._closed = False
        self._thread: threading.Thread | None = None

    def submit(self, project: str, work: Callable[[], None]) -> None:
        """Run `work` at some time, after what this project submitted earlier; returns at once."""
        with self._changed:
            if self._closed:
                return
            self._queues.setdefault(project, deque()).append(work)
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="jobs", daemon=True)
                self._thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Run nothing more; returns when nothing runs, or after a few seconds."""
        with self._changed:
            self._closed = True
            self._queues.clear()
            self._changed.notify()
            thread = self._thread
        if thread is not None and thread is not threading.current_thread():
            thread.join(self._PATIENCE_S)

    def _run(self) -> None:
        while (work := self._next()) is not None:
            try:
                work()
            except Exception:  # noqa: PERF203 - a job tells its own failures; this one is ours
                logger.exception("A job ended in a way that nobody expected")

    def _next(self) -> Callable[[], None] | None:
        with self._changed:
            while not self._queues and not self._closed:
                self._changed.wait()
            if self._closed:
                return None
            project, queue = self._queues.popitem(last=False)
            work = queue.popleft()
            if queue:
                self._queues[project] = queue  # behind all others
            return work
