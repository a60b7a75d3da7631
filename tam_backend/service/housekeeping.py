"""What a backend that runs for months does now and then: drop what nobody needs any more."""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping

from tam_backend.errors import StoreError
from tam_backend.problems import ProblemLog
from tam_backend.store.turns import Turns

EVERY_S = 3600.0
# Longer than the chores take; a process that dies over them keeps nobody for longer.
_TAKES_S = 600.0


class Housekeeping:
    """Does a few chores when it begins, and again after every pause, in a thread of its own.

    Of the processes that share a database one at a time does them.

    Args:
        chores: name -> the chore.
        problems: told of those that fail; they are tried again the next time.
        turns: tells who does them.
        every_s: the pause.
    """

    def __init__(
        self, chores: Mapping[str, Callable[[], object]], problems: ProblemLog, turns: Turns, every_s: float = EVERY_S
    ) -> None:
        self._chores = chores
        self._problems = problems
        self._turns = turns
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
            self._do("housekeeping", self._do_all)
            self._closed.wait(self._every_s)

    def _do_all(self) -> None:
        with self._turns.taken("housekeeping", _TAKES_S) as is_mine:
            for name, chore in self._chores.items() if is_mine else ():
                self._do(name, chore)

    def _do(self, name: str, chore: Callable[[], object]) -> None:
        try:
            chore()
        except StoreError as error:
            self._problems.failed(name, error)
