"""Where jobs run: a protocol, and its embedded default, threads of this process that are fair between projects."""

from __future__ import annotations

import logging
import threading
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Protocol

logger = logging.getLogger(__name__)


class Executor(Protocol):
    """Runs work that nobody waits for. A distributed engine would be another one."""

    @property
    def threads(self) -> int:
        """How many works it can run at once."""

    def submit(self, project: str, work: Callable[[], None]) -> None:
        """Run `work` at some time, after what this project submitted earlier; returns at once."""

    def close(self) -> None:
        """Run nothing more; returns when nothing runs, or after a few seconds."""


class InProcessExecutor:
    """A few worker threads of this process.

    Projects take turns, so that a project with a hundred jobs does not keep another's single one waiting, and a project
    has one thread at a time.

    Args:
        name: of the threads.
        threads: how many there are at most; the networks are used by one at a time anyway.
    """

    _PATIENCE_S = 5.0

    def __init__(self, name: str = "jobs", threads: int = 1) -> None:
        self._name = name
        self.threads = threads
        self._queues: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._at_work: set[str] = set()
        self._changed = threading.Condition()
        self._closed = False
        self._running: list[threading.Thread] = []

    def submit(self, project: str, work: Callable[[], None]) -> None:
        """Run `work` at some time, after what this project submitted earlier; returns at once."""
        with self._changed:
            if self._closed:
                return
            self._queues.setdefault(project, deque()).append(work)
            if len(self._running) < self.threads:
                thread = threading.Thread(target=self._run, name=f"{self._name}-{len(self._running)}", daemon=True)
                self._running.append(thread)
                thread.start()
            self._changed.notify()

    def close(self) -> None:
        """Run nothing more; returns when nothing runs, or after a few seconds."""
        with self._changed:
            self._closed = True
            self._queues.clear()
            self._changed.notify_all()
        deadline_s = time.monotonic() + self._PATIENCE_S
        for thread in self._running:
            if thread is not threading.current_thread():
                thread.join(max(0.0, deadline_s - time.monotonic()))

    def _run(self) -> None:
        while self._do_next():
            continue

    def _do_next(self) -> bool:
        """Wait for work and do it; False: there is no more.

        A function of its own: what a thread did last, with the whole task, is not held while it waits for the next.
        """
        taken = self._next()
        if taken is None:
            return False
        project, work = taken
        try:
            work()
        except Exception:
            logger.exception("A job ended in a way that nobody expected")
        finally:
            with self._changed:
                self._at_work.discard(project)
                self._changed.notify()
        return True

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._changed:
            while not self._closed:
                project = next((each for each in self._queues if each not in self._at_work), None)
                if project is not None:
                    queue = self._queues.pop(project)
                    work = queue.popleft()
                    if queue:
                        self._queues[project] = queue  # behind all others
                    self._at_work.add(project)
                    return project, work
                self._changed.wait()
            return None
