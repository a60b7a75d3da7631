"""The frames of a task's page: found again after a restart, from decoders of their own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from synthetic import MovingDiscs

from tam_backend.errors import MediaNotFoundError
from tam_backend.pipeline.database import Database, sqlite_url
from tam_backend.server.task_media import TaskMedia
from tam_backend.types import VideoSource


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
    TaskMedia(database, Library().open).remember("7", "12", ["a", "b"], 12)
    library = Library()
    media = TaskMedia(database, library.open)
    assert np.array_equal(media.frame("7", "12", 3), MovingDiscs()[3])
    assert np.array_equal(media.frame("7", "12", 4), MovingDiscs()[4])
    assert library.asked == [(["a", "b"], 12)], "opened once"


def test_a_task_that_was_never_opened_has_no_frames(database: Database) -> None:
    assert TaskMedia(database, Library().open).frame("7", "12", 0) is None


def test_media_that_are_gone_give_no_frame_and_may_come_back(database: Database) -> None:
    library = Library()
    media = TaskMedia(database, library.open)
    media.remember("7", "12", "a", None)
    library.there = False
    assert media.frame("7", "12", 0) is None
    library.there = True
    assert media.frame("7", "12", 0) is not None
    assert media.frame("7", "12", 99) is None, "nor has a frame beyond the end"


def test_a_task_that_shows_something_else_now_is_opened_anew(database: Database) -> None:
    library = Library()
    media = TaskMedia(database, library.open)
    for value in ("a", "a", "b"):
        media.remember("7", "12", value, 12)
        media.frame("7", "12", 0)
    assert [value for value, _ in library.asked] == ["a", "b"]
