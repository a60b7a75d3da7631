"""What is known of the projects that were connected: what they cannot get, and which of them tell us their events."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence

from sqlalchemy import Column, Connection, Double, Integer, String, Table, Text, delete, exists, insert, select, update

from tam_backend.store.database import Database, metadata, now, one_at_a_time

_remarks = Table(
    "project_remarks",
    metadata,
    Column("number", Integer, primary_key=True),  # the project that was looked at last has the highest
    Column("project", String(64), nullable=False, unique=True),
    Column("remarks", Text, nullable=False),
    sqlite_autoincrement=True,
)
_webhooks = Table(
    "webhooks",
    metadata,
    Column("fingerprint", String(64), primary_key=True),
    Column("project", String(64), nullable=False),
    Column("installed_at", Double, nullable=False),
)


class ConnectedProjects:
    """The projects that were connected last, through whichever process. Thread-safe.

    Args:
        database: where they are.
        limit: how many are remarked on.
        heard_s: for how long a webhook counts as there: somebody may delete it in Label Studio.
    """

    def __init__(self, database: Database, limit: int = 64, heard_s: float = 3600.0) -> None:
        self._database = database
        self._limit = limit
        self._heard_s = heard_s

    def remark(self, project: str, remarks: Sequence[str]) -> bool:
        """Take note of what a project's labeling config asks for and cannot get; tell whether that is new.

        Raises:
            StoreError: the database refuses.
        """
        text = json.dumps(list(remarks))
        here = _remarks.c.project == project

        def write(connection: Connection) -> bool:
            one_at_a_time(connection, "project remarks")
            known = connection.execute(select(_remarks.c.remarks).where(here)).scalar_one_or_none()
            if known == text:
                return False
            connection.execute(delete(_remarks).where(here))
            connection.execute(insert(_remarks).values(project=project, remarks=text))
            old = select(_remarks.c.number).order_by(_remarks.c.number.desc()).offset(self._limit)
            connection.execute(delete(_remarks).where(_remarks.c.number.in_(old)))
            return known is not None or bool(remarks)

        with self._database.reading() as connection:
            if connection.execute(select(_remarks.c.remarks).where(here)).scalar_one_or_none() == text:
                return False
        return self._database.change(write)

    def remarks(self) -> list[tuple[str, str]]:
        """Return (project, what its labeling config asks for and cannot get).

        Raises:
            StoreError: the database refuses.
        """
        with self._database.reading() as connection:
            rows = connection.execute(select(_remarks).order_by(_remarks.c.number)).all()
        return [(row.project, remark) for row in rows for remark in json.loads(row.remarks)]

    def is_known(self, project: str) -> bool:
        """Tell whether a project is among those that were connected last.

        Raises:
            StoreError: the database refuses.
        """
        there = exists().where(_remarks.c.project == project)
        with self._database.reading() as connection:
            return bool(connection.execute(select(there)).scalar_one())

    def is_heard(self, project: str, *address: str) -> bool:
        """Tell whether a project's events are known to come to an address.

        Args:
            project: Label Studio's id.
            address: of Label Studio, ours, and the secret.

        Raises:
            StoreError: the database refuses.
        """
        recent = _webhooks.c.installed_at > now() - self._heard_s
        there = exists().where(_webhooks.c.fingerprint == _fingerprint(project, *address), recent)
        with self._database.reading() as connection:
            return bool(connection.execute(select(there)).scalar_one())

    def heard(self, project: str, *address: str) -> None:
        """Take note that a project's events come to an address from now on; see `is_heard`.

        Raises:
            StoreError: the database refuses.
        """
        fingerprint = _fingerprint(project, *address)

        def write(connection: Connection) -> None:
            connection.execute(delete(_webhooks).where(_webhooks.c.installed_at < now() - self._heard_s))
            here = update(_webhooks).where(_webhooks.c.fingerprint == fingerprint)
            if connection.execute(here.values(installed_at=now())).rowcount == 0:
                row = {"fingerprint": fingerprint, "project": project}
                connection.execute(insert(_webhooks).values(**row, installed_at=now()))

        self._database.change(write)


def _fingerprint(*parts: str) -> str:
    """Stand for addresses and the secret, which is none of the database's readers' business."""
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()
