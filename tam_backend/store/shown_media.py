"""Where each task's media is, for its page, whichever process shows that."""

from __future__ import annotations

import json
from collections.abc import Sequence

from sqlalchemy import Column, Connection, Double, Integer, String, Table, Text, and_, insert, select, update
from sqlalchemy.sql import ColumnElement

from tam_backend.store.database import Database, metadata, now
from tam_backend.store.sessions import SessionKey, forget_unused

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


class ShownMedia:
    """What tasks show, in the database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

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
        if self.get(session) == (text, number):
            return
        shown = {"number": number, "value": text, "used_at": now()}

        def write(connection: Connection) -> None:
            if connection.execute(update(_media).where(_is(session)).values(**shown)).rowcount == 0:
                named = {"project": session.project, "task": session.task, "media": session.media}
                connection.execute(insert(_media).values(**named, **shown))

        self._database.change(write)

    def get(self, session: SessionKey) -> tuple[str, int | None] | None:
        """Return (what it shows as JSON, Label Studio's id of the task); None where that is not known."""
        with self._database.reading() as connection:
            row = connection.execute(select(_media.c.value, _media.c.number).where(_is(session))).one_or_none()
        return None if row is None else (row.value, row.number)

    def prune(self, older_than_days: float) -> int:
        """Forget what tasks show that have no session any more, and that nobody opened for so long; return how many."""
        return forget_unused(self._database, _media, older_than_days)


def _is(session: SessionKey) -> ColumnElement[bool]:
    return and_(_media.c.project == session.project, _media.c.task == session.task, _media.c.media == session.media)
