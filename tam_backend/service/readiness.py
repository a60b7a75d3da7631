"""Whether this process can do what it is there for, told at once: for proxies that choose among several of them."""

from __future__ import annotations

import threading
from concurrent.futures import Future, wait

from sqlalchemy import literal, select

from tam_backend.errors import TamError
from tam_backend.store.database import Database
from tam_backend.workers.workers import Workers

_PATIENCE_S = 0.2


class Readiness:
    """Thread-safe.

    Args:
        database: must answer.
        workers: one of them must have its networks.
    """

    def __init__(self, database: Database, workers: Workers) -> None:
        self._database = database
        self._workers = workers
        self._asked: Future[str] | None = None
        self._lock = threading.Lock()

    def hindrance(self) -> str:
        """Return what keeps this process from work; "" = nothing. Takes 0.2 s at most, whatever is broken."""
        states = self._workers.states()
        if not any(each.ready for each in states):
            failures = [each.failure for each in states if each.failure]
            return failures[0] if failures else "No worker has its networks yet."
        asked = self._ask_database()
        if not wait([asked], timeout=_PATIENCE_S).done:
            return "The database does not answer."
        return asked.result()

    def _ask_database(self) -> Future[str]:
        """Ask in a thread of its own, one at a time: a server that is gone may keep who asks for minutes."""
        with self._lock:
            if self._asked is None or self._asked.done():
                self._asked = Future()
                threading.Thread(target=self._answer, args=(self._asked,), name="ask-database", daemon=True).start()
            return self._asked

    def _answer(self, asked: Future[str]) -> None:
        try:
            with self._database.reading() as connection:
                connection.execute(select(literal(1)))
            asked.set_result("")
        except TamError as error:
            asked.set_result(error.message)
