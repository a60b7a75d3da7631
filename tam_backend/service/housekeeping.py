"""What a backend that runs for months does now and then: drop what nobody needs any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from tam_backend.errors import StoreError
from tam_backend.problems import ProblemLog

EVERY_S = 3600.0


class Housekeeping:
    """Does a few chores when it begins, and again after every pause, in a thread of its own.

    Args:
        chores: name -> the chore.
        problems: told of those that fail; they are tried again the next time.
        every_s: the pause.
    """

    def __init__(
        self, chores: Mapping[str, Callable[[], object]], problems: ProblemLog, every_s: float = EVERY_S
    ) -> None:
        self._chores = chores
        self._problems = problems
        self._every_s = every_s
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._run, name="housekeeping", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop; returns when nothing runs, or after a few seconds."""
        self._closed.set()
        self._thread.join(5)

    def _run(self) -> None:
        while not self._closed.is_set():
            for name, chore in self._chores.items():
                self._do(name, chore)
            self._closed.wait(self._every_s)

    def _do(self, name: str, chore: Callable[[], object]) -> None:
        try:
            chore()
        except StoreError as error:
            self._problems.failed(name, error)
