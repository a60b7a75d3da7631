"""Frames of tasks for their pages: where each task's media is, kept for after a restart, and decoders of their own.

The decoders of propagations are left alone: a look at a page would send them back and forth in their video.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence

from sqlalchemy import Column, Connection, Double, Integer, String, Table, Text, and_, insert, select, update

from tam_backend.errors import TamError
from tam_backend.leases import LeaseCache
from tam_backend.pipeline.database import Database, metadata, now
from tam_backend.pipeline.store import forget_unused
from tam_backend.types import RgbFrame, VideoSource

logger = logging.getLogger(__name__)

Open = Callable[[str | list[str], int | None], VideoSource]
"""(media value, Label Studio's id of the task) -> the video; takes a few seconds at most."""

_OPEN_AT_ONCE = 2

_media = Table(
    "task_media",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("task", String(64), primary_key=True),
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
        self._open: LeaseCache[tuple[str, str, str], VideoSource] = LeaseCache(
            lambda video: video.close(), _OPEN_AT_ONCE
        )

    def remember(self, project: str, task: str, value: str | Sequence[str], number: int | None) -> None:
        """Take note of what a task shows now.

        Args:
            project, task: as the keys of sessions have them.
            value: the address, or the list of addresses.
            number: Label Studio's id of the task, where it has one.

        Raises:
            StoreError: the database refuses.
        """
        text = json.dumps(value)
        if self._known(project, task) == (text, number):
            return
        shown = {"number": number, "value": text, "used_at": now()}

        def write(connection: Connection) -> None:
            here = and_(_media.c.project == project, _media.c.task == task)
            if connection.execute(update(_media).where(here).values(**shown)).rowcount == 0:
                connection.execute(insert(_media).values(project=project, task=task, **shown))

        self._database.change(write)

    def prune(self, older_than_days: float) -> int:
        """Forget what tasks show that have no session any more, and that nobody opened for so long; return how many."""
        return forget_unused(self._database, _media, older_than_days)

    def frame(self, project: str, task: str, index: int) -> RgbFrame | None:
        """Return a frame (0-based) as (H, W, 3) uint8 RGB; None where it cannot be had now.

        Raises:
            StoreError: the database refuses.
        """
        known = self._known(project, task)
        if known is None:
            return None
        text, number = known
        try:
            with self._open.lend((project, task, text), lambda: self._open_media(json.loads(text), number)) as video:
                return video[index]
        except TamError as error:
            logger.info("No frame %d of task %s for its page: %s", index, task, error)
            return None

    def close(self) -> None:
        """Close the decoders."""
        self._open.clear()

    def _known(self, project: str, task: str) -> tuple[str, int | None] | None:
        with self._database.reading() as connection:
            row = connection.execute(
                select(_media.c.value, _media.c.number).where(and_(_media.c.project == project, _media.c.task == task))
            ).one_or_none()
        return None if row is None else (row.value, row.number)
