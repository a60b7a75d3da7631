"""What people have in a database of the version before is all there, and goes on, after the update."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from databases import KINDS, empty_database
from sqlalchemy import create_engine, inspect, text

from tam_backend.jobs.store import JobStore
from tam_backend.store.adapted_networks import AdaptedNetworks
from tam_backend.store.database import Database, metadata
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.store.shown_media import ShownMedia
from tam_backend.store.task_memory import TaskMemories
from tam_backend.store.unsaved_answers import AnswerMemory
from tam_backend.types import EncodedMask

ON_POSTGRESQL = {
    "INTEGER NOT NULL PRIMARY KEY AUTOINCREMENT": "SERIAL PRIMARY KEY",
    "BLOB": "BYTEA",
    "X'": r"'\x",
}
KEY = SessionKey("7", "12", "abc", "3")
WHOLE = np.ones((2, 3), np.bool_)


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A database as the version before left it."""
    url = empty_database(request.param, tmp_path)
    script = "\n".join(
        line for line in Path(__file__).with_name("version_4.sql").read_text().splitlines() if not line.startswith("--")
    )
    if request.param == "postgresql":
        for ours, theirs in ON_POSTGRESQL.items():
            script = script.replace(ours, theirs)
    engine = create_engine(url)
    with engine.begin() as connection:
        for statement in filter(str.strip, script.split(";\n")):
            connection.exec_driver_sql(statement)
    engine.dispose()
    return url


def test_what_people_said_and_what_was_tracked_is_there(url: str) -> None:
    database = Database(url)
    store = SessionStore(database)
    [summary] = store.summaries()
    assert (summary.key, summary.frames, summary.frames_done, summary.labels) == (KEY, 10, 2, {1: "Rabbit"})
    assert np.array_equal(store.masks(KEY, 0)[1], WHOLE)
    assert not store.masks(KEY, 1)[1].any()
    session = store.open(KEY, frames=10, size_hw=(2, 3), weights="compact")
    [state] = session.objects().values()
    assert (state.label, state.changed, state.known[0].points[0].positive) == ("Rabbit", {0}, True)
    assert np.array_equal(state.keyframes[0].encoded.array, EncodedMask.of(WHOLE).array)
    session.close()
    memory = TaskMemories(database).get("7", "12")
    assert (memory.object_ids, memory.pushed) == ({"tam-a": 1}, 5)
    assert AnswerMemory(database).prune() == 1, "it is old, and was there"
    assert ShownMedia(database).get(KEY) == ('"http://x/clip.mp4"', 12)


def test_jobs_go_on_each_once_and_of_one_persons_the_newest(url: str) -> None:
    store = JobStore(Database(url))
    assert store.look().due, "nobody waits for the lease of a process of the version before"
    taken = {}
    while (job := store.claim({"track": (), "tell": ()})) is not None:
        taken[job.id] = job
    assert {name: (job.task_id, job.stage) for name, job in taken.items()} == {
        "tracks": (12, "track"),
        "newer": (12, "tell"),
    }
    assert store.prediction(taken["newer"]) == {"result": [5]}
    assert [view.created_at for view in store.all()] == [1795000003, 1795000001]
    assert JobStore(Database(url)).claim({"track": (), "tell": ()}) is None


def test_sessions_were_begun_before_any_that_was_begun_later_was_last_changed(url: str) -> None:
    """When they were begun nobody wrote down then: it is no later than that."""
    engine = create_engine(url)
    with engine.begin() as connection:
        for task, updated_at in (("13", 1795000900), ("14", 1795000300), ("15", 1795000700)):
            values = f"('7', '{task}', 'abc', 10, 2, 3, 'compact', {updated_at}, '', 0, 4)"
            columns = "project, task, media, frames, height, width, weights, updated_at, owner, owned_until, revision"
            connection.exec_driver_sql(f"INSERT INTO sessions ({columns}) VALUES {values}")
    engine.dispose()
    found = {each.task: each.begun_at for each in SessionStore(Database(url)).work("7")}
    assert found == {"12": 1795000000.5, "13": 1795000300, "14": 1795000300, "15": 1795000700}


def test_versions_of_networks_that_were_taken_back_stay_so(url: str) -> None:
    about = '{"reason": "Better.", "figures": [], "learnt_from": [], "held_out": [], "notes": [], "seconds": 1}'
    engine = create_engine(url)
    with engine.begin() as connection:
        connection.exec_driver_sql(
            "CREATE TABLE adapted_versions (project VARCHAR(64) NOT NULL, number INTEGER NOT NULL, base VARCHAR(200) "
            "NOT NULL, state VARCHAR(16) NOT NULL, stamp VARCHAR(64) NOT NULL, about TEXT NOT NULL, "
            "made_at DOUBLE PRECISION NOT NULL, PRIMARY KEY (project, number))"
        )
        row = {"number": 1, "state": "rolled back", "about": about}
        connection.execute(
            text("INSERT INTO adapted_versions VALUES ('7', :number, 'base', :state, '', :about, 5)"), row
        )
    engine.dispose()
    [version] = AdaptedNetworks(Database(url)).versions("7")
    assert (version.state, version.made_at, version.taken_back_at) == ("rolled back", 5, None)


def test_the_tables_are_those_of_a_new_database(url: str, tmp_path: Path) -> None:
    def columns(of: str) -> dict[str, set[tuple[str, bool]]]:
        Database(of).close()
        engine = create_engine(of)
        found = {
            name: {(column["name"], bool(column["nullable"])) for column in inspect(engine).get_columns(name)}
            for name in inspect(engine).get_table_names()
        }
        engine.dispose()
        return found

    kind = "postgresql" if url.startswith("postgresql") else "sqlite"
    assert columns(url) == columns(empty_database(kind, tmp_path))
    assert columns(url).keys() >= metadata.tables.keys()
