"""The database is opened by any number of processes, knows its version, and says plainly why it refuses."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy import Column, Connection, Integer, Table, insert, select

from tam_backend.errors import StoreError
from tam_backend.store.database import Database, metadata, sqlite_url
from tam_backend.store.migrations import MIGRATIONS

COUNTERS = Table("test_counters", metadata, Column("value", Integer, primary_key=True))
# Opens a new database at the same moment as others, and adds to one number many times.
ADDER = """
import sys
from pathlib import Path
from sqlalchemy import text
from tam_backend.store.database import Database, sqlite_url
database = Database(sqlite_url(Path(sys.argv[1])))
with database.transaction() as connection:
    connection.execute(text("CREATE TABLE IF NOT EXISTS sums (value INTEGER)"))
for _ in range(100):
    with database.transaction() as connection:
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


def test_processes_that_open_and_write_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    adders = [subprocess.Popen([sys.executable, "-c", ADDER, str(path)]) for _ in range(3)]
    assert [adder.wait(60) for adder in adders] == [0, 0, 0]
    with Database(sqlite_url(path)).reading() as connection:
        assert connection.exec_driver_sql("SELECT max(value) FROM sums").scalar_one() == 300


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


@pytest.mark.parametrize("url", ["nonsense", "unknown://host/x", "sqlite:////no/such/folder/tam.sqlite"])
def test_an_address_that_leads_nowhere_is_refused_with_the_setting(url: str) -> None:
    with pytest.raises(StoreError) as failure:
        Database(url)
    assert "TAM_DATABASE_URL" in failure.value.remedy
