"""The last problems of all processes on a database, for the status page of any."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timezone
from typing import Any

from sqlalchemy import Column, Connection, Double, Integer, Row, String, Table, Text, delete, insert, select, update

from tam_backend.problems import Problem
from tam_backend.store.database import Database, metadata, one_at_a_time

_problems = Table(
    "problems",
    metadata,
    Column("number", Integer, primary_key=True),
    Column("at", Double, nullable=False),  # seconds since 1970, by the clock of whoever met it
    Column("doing", Text, nullable=False),
    Column("status", Integer, nullable=False),
    Column("type", String(64), nullable=False),
    Column("message", Text, nullable=False),
    Column("remedy", Text, nullable=False),
    Column("reference", String(32), nullable=False),
    Column("count", Integer, nullable=False),
    sqlite_autoincrement=True,
)
_newest_first = _problems.c.number.desc()


class ProblemStore:
    """The last problems. Thread-safe.

    Args:
        database: where they are.
        limit: how many are kept.
    """

    def __init__(self, database: Database, limit: int = 100) -> None:
        self._database = database
        self._limit = limit

    def add(self, problems: Sequence[Problem]) -> None:
        """Keep problems, oldest first; one that is the newest once more is counted.

        Raises:
            StoreError: the database refuses; none is kept.
        """

        def write(connection: Connection) -> None:
            one_at_a_time(connection, "problems")
            for each in problems:
                _add(connection, each)
            old = select(_problems.c.number).order_by(_newest_first).offset(self._limit)
            connection.execute(delete(_problems).where(_problems.c.number.in_(old)))

        self._database.change(write)

    def recent(self) -> list[Problem]:
        """Return the kept problems, newest first.

        Raises:
            StoreError: the database refuses.
        """
        with self._database.reading() as connection:
            return [_problem(row) for row in connection.execute(select(_problems).order_by(_newest_first))]


def _add(connection: Connection, problem: Problem) -> None:
    row = connection.execute(select(_problems).order_by(_newest_first).limit(1)).one_or_none()
    last = None if row is None else _problem(row)
    if row is not None and last is not None and problem.is_again(last):
        again = {"at": problem.time.timestamp(), "reference": problem.reference, "count": last.count + problem.count}
        connection.execute(update(_problems).where(_problems.c.number == row.number).values(**again))
        return
    connection.execute(
        insert(_problems).values(
            at=problem.time.timestamp(),
            doing=problem.where,
            status=problem.status,
            type=problem.type,
            message=problem.message,
            remedy=problem.remedy,
            reference=problem.reference,
            count=problem.count,
        )
    )


def _problem(row: Row[Any]) -> Problem:
    mapping = row._mapping  # `row.count` is a method of tuples
    return Problem(
        time=datetime.fromtimestamp(mapping["at"], timezone.utc),
        where=mapping["doing"],
        status=mapping["status"],
        type=mapping["type"],
        message=mapping["message"],
        remedy=mapping["remedy"],
        reference=mapping["reference"],
        count=mapping["count"],
    )
