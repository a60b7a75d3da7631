"""How older tables become today's, one function a version; nothing that people have is lost."""

from __future__ import annotations

import hashlib
import json
import math
import time
from collections.abc import Callable, Sequence
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    inspect,
    select,
    update,
)

Migration = Callable[[Connection], None]


def _jobs_get_owners(connection: Connection) -> None:
    """Jobs tell their task and who works on them: of those that are there nobody does."""
    if not _add_columns(
        connection,
        "jobs",
        "project VARCHAR(64) DEFAULT '' NOT NULL",
        "task VARCHAR(64) DEFAULT '' NOT NULL",
        "owner VARCHAR(200) DEFAULT '' NOT NULL",
        "owned_until DOUBLE PRECISION DEFAULT 0 NOT NULL",
        "whose VARCHAR(200) DEFAULT '' NOT NULL",
        "waited_for BOOLEAN DEFAULT FALSE NOT NULL",
    ):
        return
    jobs = Table(
        "jobs",
        MetaData(),
        Column("id", String(32), primary_key=True),
        Column("intent", Text),
        Column("project", String(64)),
        Column("task", String(64)),
        Column("owned_until", Double),
    )
    for row in connection.execute(select(jobs.c.id, jobs.c.intent)).all():
        intent = json.loads(row.intent)
        connection.execute(
            update(jobs).where(jobs.c.id == row.id).values(project=intent["project"], task=str(intent["task_id"]))
        )


def _tasks_tell_when_they_were_used(connection: Connection) -> None:
    """What is known of tasks tells when it was last changed: of what is there, now."""
    for table in ("task_memories", "task_media"):
        if _add_columns(connection, table, "used_at DOUBLE PRECISION DEFAULT 0 NOT NULL"):
            connection.exec_driver_sql(f"UPDATE {table} SET used_at = {time.time()}")  # noqa: S608 - our own words


def _media_are_told_apart(connection: Connection) -> None:
    """A task may show several media: what it showed last is one of them."""
    if not inspect(connection).has_table("task_media"):
        return
    key = [Column(name, String(64), primary_key=True) for name in ("project", "task", "media")]
    told_apart = Table("shown_media", MetaData(), *key, *_columns_of_media())
    told_apart.create(connection, checkfirst=True)
    before = Table(
        "task_media", MetaData(), Column("project", String(64)), Column("task", String(64)), *_columns_of_media()
    )
    for row in connection.execute(select(before)).mappings().all():
        fingerprint = hashlib.sha256(repr(json.loads(row["value"])).encode()).hexdigest()[:32]
        connection.execute(told_apart.insert().values(**row, media=fingerprint))
    before.drop(connection)


def _jobs_are_seen_by_all(connection: Connection) -> None:
    """Jobs tell how far they are, and stay for a while when they have ended; of those that are there nobody has any."""
    if not inspect(connection).has_table("jobs"):
        return
    before = Table("jobs", MetaData(), autoload_with=connection)
    rows = connection.execute(select(before).order_by(before.c.created_at)).mappings().all()
    # Of one person's work on a task the newest counts: the request that waited for an older one is gone.
    newest = {(row["project"], row["task"], row["whose"]): row for row in rows}
    before.drop(connection)
    jobs = Table(
        "jobs",
        MetaData(),
        Column("number", Integer, primary_key=True),
        Column("id", String(32), nullable=False, unique=True),
        *(Column(name, String(64), nullable=False) for name in ("project", "task")),
        Column("task_id", Text, nullable=False),
        Column("whose", String(200), nullable=False),
        Column("waited_for", Boolean, nullable=False),
        Column("stage", String(8), nullable=False),
        Column("state", String(16), nullable=False),
        Column("message", Text, nullable=False),
        *(Column(name, Text) for name in ("intent", "prediction")),
        Column("frame", Integer),
        *(Column(name, Integer, nullable=False) for name in ("frames_done", "frames_total", "attempts")),
        Column("run_after", Double, nullable=False),
        Column("cancel_requested", Boolean, nullable=False),
        Column("created_at", Double, nullable=False),
        *(Column(name, Double) for name in ("started_at", "ended_at")),
        Column("owner", String(200), nullable=False),
        Column("owned_until", Double, nullable=False),
        Column("taking", Integer, nullable=False),
        sqlite_autoincrement=True,
    )
    jobs.create(connection)
    kept = ("id", "project", "task", "whose", "intent", "prediction", "frames_total", "created_at")
    for row in newest.values():
        connection.execute(
            jobs.insert().values(
                **{name: row[name] for name in kept},
                task_id=json.dumps(json.loads(row["intent"])["task_id"]),
                waited_for=False,
                stage="track" if row["prediction"] is None else "tell",
                state="queued",
                message="",
                frames_done=0,
                attempts=0,
                run_after=0.0,
                cancel_requested=False,
                owner="",
                owned_until=0.0,
                taking=0,
            )
        )


def _work_tells_its_time(connection: Connection) -> None:
    """Sessions tell when they were begun: of those that are there, before any that was begun later was last changed."""
    _add_columns(connection, "adapted_versions", "taken_back_at DOUBLE PRECISION")
    if not _add_columns(connection, "sessions", "begun_at DOUBLE PRECISION DEFAULT 0 NOT NULL"):
        return
    columns = Column("id", Integer), Column("updated_at", Double), Column("begun_at", Double)
    sessions = Table("sessions", MetaData(), *columns)
    newest_first = select(sessions.c.id, sessions.c.updated_at).order_by(sessions.c.id.desc())
    begun_at = math.inf
    for row in connection.execute(newest_first).all():
        begun_at = min(begun_at, row.updated_at)
        connection.execute(update(sessions).where(sessions.c.id == row.id).values(begun_at=begun_at))


def _columns_of_media() -> tuple[Column[Any], ...]:
    return Column("number", Integer), Column("value", Text, nullable=False), Column("used_at", Double, nullable=False)


def _add_columns(connection: Connection, table: str, *columns: str) -> bool:
    """Add columns that are not there yet; returns False where there is nothing to add them to, or nothing to add."""
    if not inspect(connection).has_table(table):
        return False
    there = {column["name"] for column in inspect(connection).get_columns(table)}
    missing = [column for column in columns if column.split()[0] not in there]
    for column in missing:
        connection.exec_driver_sql(f"ALTER TABLE {table} ADD COLUMN {column}")
    return bool(missing)


MIGRATIONS: Sequence[Migration] = (
    _jobs_get_owners,
    _tasks_tell_when_they_were_used,
    _media_are_told_apart,
    _jobs_are_seen_by_all,
    _work_tells_its_time,
)
"""The i-th one turns tables of version i + 1 into those of version i + 2. Whole new tables need none."""
