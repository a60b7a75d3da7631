"""Frames of tasks for their pages: where each task's media is, kept for after a restart, and decoders of their own.

The decoders of propagations are left alone: a look at a page would send them back and forth in their video.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence

from sqlalchemy import Column, Connection, Double, Integer, String, Table, Text, and_, insert, select, update
from sqlalchemy.sql import ColumnElement

from tam_backend.errors import TamError
from tam_backend.store.database import Database, metadata, now
from tam_backend.store.sessions import SessionKey, forget_unused
from tam_backend.threads.leases import LeaseCache
from tam_backend.types import RgbFrame, VideoSource

logger = logging.getLogger(__name__)

Open = Callable[[str | list[str], int | None], VideoSource]
"""(media value, Label Studio's id of the task) -> the video; takes a few seconds at most."""

_OPEN_AT_ONCE = 2
_REMEMBERED = 256

_media = Table(
    "shown_media",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("task", String(64), primary_key=True),
    Column("media", String(64), primary_key=True),  # its fingerprint, as in the keys of sessions
    Column("number", Integer),
    Column("value", Text, nullable=False),
    Column("used_at", Double, nullable=False),
)


class TaskMedia:
    """Knows what tasks show. Thread-safe.

    Args:
        database: where that is kept.
        open_media: opens it.
    """

    def __init__(self, database: Database, open_media: Open) -> None:
        self._database = database
        self._open_media = open_media
        self._open: LeaseCache[tuple[SessionKey, str], VideoSource] = LeaseCache(
            lambda video: video.close(), _OPEN_AT_ONCE
        )
        self._remembered: dict[SessionKey, tuple[str, int | None]] = {}  # by this process, just now

    def remember(self, session: SessionKey, value: str | Sequence[str], number: int | None) -> None:
        """Take note of what a session shows.

        Args:
            session: whose annotator does not matter.
            value: the address, or the list of addresses.
            number: Label Studio's id of the task, where it has one.

        Raises:
            StoreError: the database refuses.
        """
        text = json.dumps(value)
        if self._remembered.get(session) == (text, number):
            return
        self._remember(session, text, number)
        self._remembered[session] = (text, number)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)), None)

    def _remember(self, session: SessionKey, text: str, number: int | None) -> None:
        if self._known(session) == (text, number):
            return
        shown = {"number": number, "value": text, "used_at": now()}

        def write(connection: Connection) -> None:
            if connection.execute(update(_media).where(_is(session)).values(**shown)).rowcount == 0:
                named = {"project": session.project, "task": session.task, "media": session.media}
                connection.execute(insert(_media).values(**named, **shown))

        self._database.change(write)

    def prune(self, older_than_days: float) -> int:
        """Forget what tasks show that have no session any more, and that nobody opened for so long; return how many."""
        return forget_unused(self._database, _media, older_than_days)

    def frame(self, session: SessionKey, index: int) -> RgbFrame | None:
        """Return a frame (0-based) as (H, W, 3) uint8 RGB; None where it cannot be had now.

        Raises:
            StoreError: the database refuses.
        """
        known = self._known(session)
        if known is None:
            return None
        text, number = known
        try:
            with self._open.lend((session, text), lambda: self._open_media(json.loads(text), number)) as video:
                return video[index]
        except TamError as error:
            logger.info("No frame %d of task %s for its page: %s", index, session.task, error)
            return None

    def close(self) -> None:
        """Close the decoders."""
        self._open.clear()

    def _known(self, session: SessionKey) -> tuple[str, int | None] | None:
        with self._database.reading() as connection:
            row = connection.execute(select(_media.c.value, _media.c.number).where(_is(session))).one_or_none()
        return None if row is None else (row.value, row.number)


def _is(session: SessionKey) -> ColumnElement[bool]:
    return and_(_media.c.project == session.project, _media.c.task == session.task, _media.c.media == session.media)
