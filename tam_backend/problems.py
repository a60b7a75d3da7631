"""Recent failures, kept for the status page and written to the log, without secrets.

Label Studio shows an annotator nothing when its backend fails, so whoever runs the backend must find each failure in
the log and on the status page.
"""

from __future__ import annotations

import logging
import re
import secrets
import threading
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timezone
from typing import Protocol

from tam_backend.errors import CancelledError, StoreError, TamError

logger = logging.getLogger(__name__)

_REDACTIONS = (
    # A query string may hold our signatures, presigned cloud URLs' credentials or Label Studio's tokens.
    (re.compile(r"(?<=[^\s?])\?[\w%.~+-]+=[^\s'\"<>)]*"), "?..."),
    (re.compile(r"(?<=//)[^\s/@'\"]+@"), ""),
    (re.compile(r"(?i)\b(token|bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 ..."),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"), "..."),
    (re.compile(r"\b[0-9a-fA-F]{32,}\b"), "..."),
)


_UNSHOWABLE = re.compile("[\ud800-\udfff\0]")  # JSON can name them; UTF-8 has no lone surrogate, PostgreSQL no zero


def redact(text: str) -> str:
    """Take query strings, passwords in URLs, and tokens out of a text that people will see, and what no page can hold.

    >>> redact("GET http://me:pw@host/frames/ab/1.jpg?sig=12ab failed")
    'GET http://host/frames/ab/1.jpg?... failed'
    """
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return _UNSHOWABLE.sub("\N{REPLACEMENT CHARACTER}", text)


@dataclass(frozen=True)
class Problem:
    """One failure as people see it.

    Args:
        time: when, UTC.
        where: what was being done, such as "POST /predict" or "task 12".
        status: the HTTP status it was answered with; 200 for an answer that is only partial.
        type: the error's class, such as "MediaNotFoundError".
        message: one sentence that names the thing that failed.
        remedy: what to do about it; may be empty.
        reference: under which it is found in the log.
        count: how often it happened in a row.
    """

    time: datetime
    where: str
    status: int
    type: str
    message: str
    remedy: str
    reference: str
    count: int = 1

    def is_again(self, before: Problem) -> bool:
        """Tell whether this is what happened before, once more."""
        return (self.where, self.type, self.message) == (before.where, before.type, before.message)


class Shelf(Protocol):
    """Where problems are kept so that other processes see them; `store.problems` is one."""

    def add(self, problems: Sequence[Problem]) -> None:
        """Keep problems, oldest first; raises StoreError and keeps none."""

    def recent(self) -> list[Problem]:
        """Return what is kept of all processes, newest first; raises StoreError."""


class ProblemLog:
    """The last problems, newest first. Thread-safe.

    To meet a problem never takes long and never fails: somebody has to `write` them onto the shelf now and then.

    Args:
        limit: how many are kept.
        shelf: shared with other processes; None: they are kept here alone.
    """

    def __init__(self, limit: int = 100, shelf: Shelf | None = None) -> None:
        self._limit = limit
        self._shelf = shelf
        self._problems: deque[Problem] = deque(maxlen=limit)
        self._lock = threading.Lock()
        self._writing = threading.Lock()

    def failed(self, where: str, error: BaseException) -> Problem:
        """Log an error and keep it. A caller who hung up is logged but not kept: nothing is to be done about it.

        Unexpected errors (any that are no `TamError`) get a sentence that points to the log, where their traceback is.
        """
        if isinstance(error, TamError):
            problem = self._problem(where, error.status, type(error).__name__, error.message, error.remedy)
            if isinstance(error, CancelledError):
                logger.info("%s", _line(problem))
                return problem
            logger.warning("%s", _line(problem))
        else:
            reference = secrets.token_hex(4)
            problem = self._problem(
                where,
                500,
                "InternalError",
                f"Something unexpected went wrong in the backend ({type(error).__name__}).",
                f"Look for {reference} in the backend's log and report it with what stands there.",
                reference,
            )
            details = "".join(traceback.format_exception(error))
            logger.error("%s\n%s", _line(problem), redact(details).rstrip())
        self._keep(problem)
        return problem

    def note(self, where: str, message: str, remedy: str = "") -> Problem:
        """Log and keep something that went differently than asked for, such as a propagation that ran out of time."""
        problem = self._problem(where, 200, "Note", message, remedy)
        logger.warning("%s", _line(problem))
        self._keep(problem)
        return problem

    def recent(self) -> list[Problem]:
        """Return the kept problems of all processes that share the shelf, newest first."""
        with self._writing:
            with self._lock:
                found = list(self._problems)
            kept = self._on_shelf()
        if found and kept and found[-1].is_again(kept[0]):
            found[-1] = replace(found[-1], count=found[-1].count + kept.pop(0).count)
        return [*found, *kept][: self._limit]

    def write(self) -> None:
        """Put what was met since onto the shelf; where that refuses, it stays here."""
        with self._writing:
            with self._lock:
                if self._shelf is None or not self._problems:
                    return
                taken, self._problems = self._problems, deque(maxlen=self._limit)
            try:
                self._shelf.add(list(reversed(taken)))
            except StoreError as error:
                logger.warning("The last problems are kept in this process alone: %s", error)
                with self._lock:
                    self._problems = deque([*self._problems, *taken][: self._limit], self._limit)

    def _on_shelf(self) -> list[Problem]:
        if self._shelf is None:
            return []
        try:
            return self._shelf.recent()
        except StoreError as error:
            logger.warning("The problems of other processes cannot be read: %s", error)
            return []

    @staticmethod
    def _problem(where: str, status: int, kind: str, message: str, remedy: str, reference: str = "") -> Problem:
        return Problem(
            time=datetime.now(timezone.utc),
            where=redact(where),
            status=status,
            type=kind,
            message=redact(message),
            remedy=redact(remedy),
            reference=reference or secrets.token_hex(4),
        )

    def _keep(self, problem: Problem) -> None:
        with self._lock:
            last = self._problems[0] if self._problems else None
            if last and problem.is_again(last):
                # A page of 50 frames whose video is gone fails 50 times; it must not push everything else out.
                self._problems[0] = replace(problem, count=last.count + 1)
            else:
                self._problems.appendleft(problem)


def _line(problem: Problem) -> str:
    """One line, whatever a message may contain."""
    text = f"{problem.where}: {problem.status} {problem.type} [{problem.reference}]: {problem.message} {problem.remedy}"
    return " ".join(text.split())
