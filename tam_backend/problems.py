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
from dataclasses import dataclass
from datetime import datetime, timezone

from tam_backend.errors import CancelledError, TamError

logger = logging.getLogger(__name__)

_REDACTIONS = (
    # A query string may hold our signatures, presigned cloud URLs' credentials or Label Studio's tokens.
    (re.compile(r"(?<=[^\s?])\?[\w%.~+-]+=[^\s'\"<>)]*"), "?..."),
    (re.compile(r"(?<=//)[^\s/@'\"]+@"), ""),
    (re.compile(r"(?i)\b(token|bearer|basic)\s+[\w.~+/=-]{8,}"), r"\1 ..."),
    (re.compile(r"\beyJ[\w-]+\.[\w-]+\.[\w-]+"), "..."),
    (re.compile(r"\b[0-9a-fA-F]{32,}\b"), "..."),
)


_LONE_SURROGATE = re.compile("[\ud800-\udfff]")  # JSON can name one, UTF-8 cannot


def redact(text: str) -> str:
    """Take query strings, passwords in URLs, and tokens out of a text that people will see, and what no page can hold.

    >>> redact("GET http://me:pw@host/frames/ab/1.jpg?sig=12ab failed")
    'GET http://host/frames/ab/1.jpg?... failed'
    """
    for pattern, replacement in _REDACTIONS:
        text = pattern.sub(replacement, text)
    return _LONE_SURROGATE.sub("\N{REPLACEMENT CHARACTER}", text)


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


class ProblemLog:
    """The last problems, newest first. Thread-safe."""

    def __init__(self, limit: int = 100) -> None:
        self._problems: deque[Problem] = deque(maxlen=limit)
        self._lock = threading.Lock()

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
        """Return the kept problems, newest first."""
        with self._lock:
            return list(self._problems)

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
            if last and (last.where, last.type, last.message) == (problem.where, problem.type, problem.message):
                # A page of 50 frames whose video is gone fails 50 times; it must not push everything else out.
                self._problems[0] = Problem(**{**vars(problem), "count": last.count + 1})
            else:
                self._problems.appendleft(problem)


def _line(problem: Problem) -> str:
    """One line, whatever a message may contain."""
    text = f"{problem.where}: {problem.status} {problem.type} [{problem.reference}]: {problem.message} {problem.remedy}"
    return " ".join(text.split())
