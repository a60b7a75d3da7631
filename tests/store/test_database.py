"""The database is opened by any number of processes, knows its version, and says plainly why it refuses."""

from __future__ import annotations

import subprocess
import sys
import threading
from contextlib import suppress
from pathlib import Path

import pytest
from databases import KINDS, empty_database
from sqlalchemy import Column, Connection, Integer, Table, insert, select, update

from tam_backend.errors import StoreError
from tam_backend.store.database import Database, metadata, sqlite_url
from tam_backend.store.migrations import MIGRATIONS

COUNTERS = Table("test_counters", metadata, Column("value", Integer, primary_key=True))
# Opens a new database at the same moment as others, and adds to one number many times.
ADDER = """
import sys
from sqlalchemy import text
from tam_backend.store.database import Database, one_at_a_time
database = Database(sys.argv[1])
with database.transaction() as connection:
    one_at_a_time(connection, "make")
    connection.execute(text("CREATE TABLE IF NOT EXISTS sums (value INTEGER)"))
for _ in range(100):
    with database.transaction() as connection:
        one_at_a_time(connection, "add")
        value = connection.execute(text("SELECT coalesce(max(value), 0) FROM sums")).scalar_one()
        connection.execute(text("INSERT INTO sums VALUES (:value)"), {"value": value + 1})
"""


def test_a_transaction_that_fails_leaves_nothing(tmp_path: Path) -> None:
    database = Database(sqlite_url(tmp_path / "new" / "tam.sqlite"))
    with pytest.raises(RuntimeError), database.transaction() as connection:
        connection.execute(insert(COUNTERS).values(value=1))
        raise RuntimeError
    with database.reading() as connection:
        assert connection.execute(select(COUNTERS)).all() == []


@pytest.mark.parametrize("kind", KINDS)
def test_processes_that_open_and_write_at_once_lose_nothing(kind: str, tmp_path: Path) -> None:
    url = empty_database(kind, tmp_path)
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, url]) for _ in range(3)]
    assert [adder.wait(60) for adder in adders] == [0, 0, 0]
    with Database(url).reading() as connection:
        assert connection.exec_driver_sql("SELECT max(value) FROM sums").scalar_one() == 300


def test_an_address_of_postgresql_needs_no_drivers_name(tmp_path: Path) -> None:
    url = empty_database("postgresql", tmp_path)
    for short in ("postgresql", "postgres"):
        with Database(url.replace("postgresql+psycopg", short)).reading() as connection:
            assert connection.exec_driver_sql("SELECT 1").scalar_one() == 1


@pytest.mark.parametrize("kind", KINDS)
def test_who_reads_sees_one_state_while_others_write(kind: str, tmp_path: Path) -> None:
    database = Database(empty_database(kind, tmp_path))
    with database.reading() as before:
        assert before.execute(select(COUNTERS)).all() == []
        with database.transaction() as connection:
            connection.execute(insert(COUNTERS).values(value=1))
        assert before.execute(select(COUNTERS)).all() == []
    with database.reading() as after:
        assert after.execute(select(COUNTERS)).all() == [(1,)]


def test_who_stands_still_in_the_middle_of_writing_keeps_a_server_for_a_while_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tam_backend.store.database._WAIT_MS", 500)
    url = empty_database("postgresql", tmp_path)
    still, others = Database(url), Database(url)
    with still.transaction() as connection:
        connection.execute(insert(COUNTERS).values(value=1))
    add = update(COUNTERS).values(value=COUNTERS.c.value + 1)
    with pytest.raises(StoreError), still.transaction() as connection:
        connection.execute(add)
        with suppress(StoreError), others.transaction() as waiting:
            waiting.execute(add)  # it is told, or has its turn as the other one is cut off
        with others.transaction() as waiting:
            waiting.execute(add)
    with others.reading() as connection:
        assert connection.execute(select(COUNTERS)).scalar_one() in (2, 3), "what was cut off is not there"


@pytest.mark.parametrize("kind", KINDS)
def test_of_two_changes_that_wait_for_each_other_both_are_made(kind: str, tmp_path: Path) -> None:
    database = Database(empty_database(kind, tmp_path))
    with database.transaction() as connection:
        connection.execute(insert(COUNTERS), [{"value": 10}, {"value": 20}])
    both = threading.Barrier(2)

    def add(values: tuple[int, int]) -> None:
        tries = 0

        def write(connection: Connection) -> None:
            nonlocal tries
            tries += 1
            for value in values:
                found = select(COUNTERS).where(COUNTERS.c.value.in_([value, value + 1, value + 2])).with_for_update()
                now = connection.execute(found).scalar_one()
                connection.execute(update(COUNTERS).where(COUNTERS.c.value == now).values(value=now + 1))
                if tries == 1 and kind == "postgresql":  # on SQLite only one is here at a time
                    with suppress(threading.BrokenBarrierError):
                        both.wait(5)

        database.change(write)

    threads = [threading.Thread(target=add, args=(values,)) for values in ((10, 20), (20, 10))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    with database.reading() as connection:
        assert sorted(connection.execute(select(COUNTERS)).scalars()) == [12, 22]


def test_an_older_schema_is_migrated_once_and_a_newer_one_is_refused(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path / "tam.sqlite")
    Database(url).close()
    ran = []

    def migrate(connection: Connection) -> None:
        connection.exec_driver_sql("ALTER TABLE sessions ADD COLUMN note TEXT")
        ran.append(1)

    for _ in range(2):
        Database(url, (*MIGRATIONS, migrate)).close()
    assert ran == [1]
    known = len(MIGRATIONS) + 1
    with pytest.raises(StoreError, match=rf"version {known + 1}; this package knows versions up to {known}") as failure:
        Database(url)
    assert "newer package" in failure.value.remedy


@pytest.mark.parametrize(
    ("content", "message", "remedy"),
    [(b"no database at all, but long enough to be looked at" * 40, "not a database", "bring back a copy")],
)
def test_a_damaged_file_is_named_with_what_to_do(tmp_path: Path, content: bytes, message: str, remedy: str) -> None:
    path = tmp_path / "tam.sqlite"
    path.write_bytes(content)
    with pytest.raises(StoreError, match=message) as failure:
        Database(sqlite_url(path))
    assert remedy in failure.value.remedy
    assert path.read_bytes() == content


@pytest.mark.parametrize(
    "url", ["nonsense", "unknown://host/x", "mysql+pymysql://h/x", "sqlite:////no/such/folder/tam.sqlite"]
)
def test_an_address_that_leads_nowhere_is_refused_with_the_setting(url: str) -> None:
    with pytest.raises(StoreError) as failure:
        Database(url)
    assert "TAM_DATABASE_URL" in failure.value.remedy
