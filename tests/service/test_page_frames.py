"""The frames of a task's page: found again after a restart, from decoders of their own."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from synthetic import MovingDiscs

from tam_backend.errors import MediaNotFoundError
from tam_backend.service.page_frames import TaskMedia
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.sessions import SessionKey
from tam_backend.types import VideoSource

SHOWN = SessionKey("7", "12", "a" * 32)


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(sqlite_url(tmp_path / "tam.sqlite"))


class Library:
    """Opens discs, and remembers what was asked for."""

    def __init__(self) -> None:
        self.asked: list[tuple[object, int | None]] = []
        self.there = True

    def open(self, value: str | list[str], number: int | None) -> VideoSource:
        self.asked.append((value, number))
        if not self.there:
            raise MediaNotFoundError("It is gone.", "")
        return MovingDiscs()


def test_frames_are_found_again_after_a_restart(database: Database) -> None:
    TaskMedia(database, Library().open).remember(SHOWN, ["a", "b"], 12)
    library = Library()
    media = TaskMedia(database, library.open)
    assert np.array_equal(media.frame(SHOWN, 3), MovingDiscs()[3])
    assert np.array_equal(media.frame(SHOWN, 4), MovingDiscs()[4])
    assert library.asked == [(["a", "b"], 12)], "opened once"


def test_a_task_that_was_never_opened_has_no_frames(database: Database) -> None:
    assert TaskMedia(database, Library().open).frame(SHOWN, 0) is None


def test_media_that_are_gone_give_no_frame_and_may_come_back(database: Database) -> None:
    library = Library()
    media = TaskMedia(database, library.open)
    media.remember(SHOWN, "a", None)
    library.there = False
    assert media.frame(SHOWN, 0) is None
    library.there = True
    assert media.frame(SHOWN, 0) is not None
    assert media.frame(SHOWN, 99) is None, "nor has a frame beyond the end"


def test_a_task_that_shows_something_else_now_is_opened_anew(database: Database) -> None:
    library = Library()
    media = TaskMedia(database, library.open)
    for value in ("a", "a", "b"):
        media.remember(SHOWN, value, 12)
        media.frame(SHOWN, 0)
    assert [value for value, _ in library.asked] == ["a", "b"]


def test_each_media_of_a_task_has_its_own_frames_whoever_looks_at_it(database: Database) -> None:
    library = Library()
    media = TaskMedia(database, library.open)
    media.remember(SHOWN, "a", None)
    media.remember(replace(SHOWN, media="b" * 32), "b", None)
    for session in (SHOWN, replace(SHOWN, annotator="2"), replace(SHOWN, media="b" * 32)):
        assert media.frame(session, 0) is not None
    assert [value for value, _ in library.asked] == ["a", "a", "b"]
