"""Frames of tasks for their pages, by decoders of their own.

The decoders of propagations are left alone: a look at a page would send them back and forth in their video.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Sequence

from tam_backend.errors import TamError
from tam_backend.store.database import Database
from tam_backend.store.sessions import SessionKey
from tam_backend.store.shown_media import ShownMedia
from tam_backend.threads.leases import LeaseCache
from tam_backend.types import RgbFrame, VideoSource

logger = logging.getLogger(__name__)

Open = Callable[[str | list[str], int | None], VideoSource]
"""(media value, Label Studio's id of the task) -> the video; takes a few seconds at most."""

_OPEN_AT_ONCE = 2
_REMEMBERED = 256


class TaskMedia:
    """Knows what tasks show. Thread-safe.

    Args:
        database: where that is kept.
        open_media: opens it.
    """

    def __init__(self, database: Database, open_media: Open) -> None:
        self._shown = ShownMedia(database)
        self._open_media = open_media
        self._open: LeaseCache[tuple[SessionKey, str], VideoSource] = LeaseCache(
            lambda video: video.close(), _OPEN_AT_ONCE
        )
        self._remembered: dict[SessionKey, tuple[str | Sequence[str], int | None]] = {}  # by this process, just now

    def remember(self, session: SessionKey, value: str | Sequence[str], number: int | None) -> None:
        """Take note of what a session shows, see `ShownMedia.remember`."""
        if self._remembered.get(session) == (value, number):
            return
        self._shown.remember(session, value, number)
        self._remembered[session] = (value, number)
        if len(self._remembered) > _REMEMBERED:
            self._remembered.pop(next(iter(self._remembered)), None)

    def prune(self, older_than_days: float) -> int:
        """Forget what nobody needs any more, see `ShownMedia.prune`."""
        return self._shown.prune(older_than_days)

    def frame(self, session: SessionKey, index: int) -> RgbFrame | None:
        """Return a frame (0-based) as (H, W, 3) uint8 RGB; None where it cannot be had now.

        Raises:
            StoreError: the database refuses.
        """
        known = self._shown.get(session)
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
