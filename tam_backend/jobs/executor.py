"""Where jobs run: a protocol, and its embedded default, threads of this process that are fair between projects."""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, OrderedDict, deque
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

    Projects take turns, so that a project with a hundred jobs does not keep another's single one waiting.

    Args:
        name: of the threads.
        threads: tells how many there may be, which may change.
        one_a_project: whether a project has one thread at a time: a slow Label Studio keeps no other project waiting.
    """

    _PATIENCE_S = 5.0

    def __init__(self, name: str = "jobs", threads: Callable[[], int] = lambda: 1, *, one_a_project: bool) -> None:
        self._name = name
        self._threads = threads
        self._one_a_project = one_a_project
        self._queues: OrderedDict[str, deque[Callable[[], None]]] = OrderedDict()
        self._at_work: Counter[str] = Counter()
        self._changed = threading.Condition()
        self._closed = False
        self._running: list[threading.Thread] = []

    @property
    def threads(self) -> int:
        """How many works it can run at once, now."""
        return self._threads()

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
                self._at_work[project] -= 1
                self._changed.notify()
        return True

    def _next(self) -> tuple[str, Callable[[], None]] | None:
        with self._changed:
            while not self._closed:
                free = [each for each in self._queues if not (self._one_a_project and self._at_work[each])]
                if free:
                    project = min(free, key=lambda each: self._at_work[each])
                    queue = self._queues.pop(project)
                    work = queue.popleft()
                    if queue:
                        self._queues[project] = queue  # behind all others
                    self._at_work[project] += 1
                    return project, work
                self._changed.wait()
            return None
