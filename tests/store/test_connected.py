"""What is known of connected projects is known to every process, in bounds, and not for ever."""

from __future__ import annotations

from pathlib import Path

import pytest
from databases import KINDS, empty_database
from sqlalchemy import text

from tam_backend.store.connected import ConnectedProjects
from tam_backend.store.database import Database


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return Database(empty_database(request.param, tmp_path))


def test_remarks_of_the_last_projects_are_known_to_all(database: Database) -> None:
    first, second = (ConnectedProjects(database, limit=2) for _ in range(2))
    assert not first.remark("1", ()), "nothing to say is no news"
    assert first.remark("2", ("no audio", "no text"))
    assert not second.remark("2", ("no audio", "no text"))
    assert second.remarks() == [("2", "no audio"), ("2", "no text")]
    assert second.remark("3", ("no audio",))
    assert first.remark("2", ()), "it was mended"
    assert first.remarks() == [("3", "no audio")]
    assert first.remark("4", ("no maps",))
    assert second.remarks() == [("4", "no maps")], "project 3 was looked at before 2 and 4"


def test_a_project_is_known_once_it_was_connected(database: Database) -> None:
    first, second = (ConnectedProjects(database, limit=2) for _ in range(2))
    assert not first.is_known("1")
    first.remark("1", ())
    assert second.is_known("1")
    assert not second.is_known("2")
    for later in ("2", "3"):
        first.remark(later, ())
    assert not second.is_known("1"), "it would have to connect again"


def test_a_webhook_is_there_for_all_until_somebody_may_have_deleted_it(database: Database) -> None:
    first, second = (ConnectedProjects(database) for _ in range(2))
    where = ("http://label-studio", "http://us/webhook", "secret")
    assert not first.is_heard("7", *where)
    for _ in range(2):
        first.heard("7", *where)
    assert second.is_heard("7", *where)
    assert not second.is_heard("8", *where)
    assert not second.is_heard("7", "http://label-studio", "http://us/webhook", "newer secret")
    assert not ConnectedProjects(database, heard_s=0).is_heard("7", *where)
    with database.reading() as connection:
        assert "secret" not in repr(connection.execute(text("SELECT * FROM webhooks")).all())
