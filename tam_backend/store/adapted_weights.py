"""The files of networks that learnt from a project, and whether they are still what was written."""

from __future__ import annotations

import threading
import time
from collections.abc import Mapping
from hashlib import sha256
from typing import Any

from sqlalchemy import Column, Connection, Integer, LargeBinary, String, Table, and_, delete, func, insert, select

from tam_backend.store.database import Database, metadata

_weights = Table(
    "adapted_weights",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("network", String(16), primary_key=True),
    Column("sha256", String(64), nullable=False),
    Column("file", LargeBinary, nullable=False),
)

# A version has some 20 MB: read and hashed in about 40 ms (SQLite, one core). Pages are looked at every few seconds.
_BELIEVED_S = 300.0


class AdaptedWeights:
    """Files of all versions of all projects. Thread-safe.

    Args:
        database: where they are.
        believed_s: for how long a version's files, once checked, are believed unchanged while their sizes are the same.
    """

    def __init__(self, database: Database, believed_s: float = _BELIEVED_S) -> None:
        self._database = database
        self._believed_s = believed_s
        self._lock = threading.Lock()
        # (project, number) -> (SHA-256 and size of each file, damaged network or "", when that was checked)
        self._checked: dict[tuple[str, int], tuple[frozenset[tuple[str, int]], str, float]] = {}

    def keep(self, connection: Connection, project: str, number: int, files: Mapping[str, bytes]) -> None:
        """Write a version's files, network -> bytes, as part of a transaction."""
        for network, file in files.items():
            told = {"network": network, "sha256": sha256(file).hexdigest(), "file": file}
            connection.execute(insert(_weights).values(project=project, number=number, **told))

    def keep_only(self, connection: Connection, project: str, numbers: set[int]) -> None:
        """Drop the files of a project's other versions, as part of a transaction."""
        connection.execute(delete(_weights).where(_weights.c.project == project, _weights.c.number.not_in(numbers)))

    def fingerprints(self, connection: Connection) -> dict[tuple[str, int], dict[str, str]]:
        """Return (project, number) -> network -> SHA-256 of what was written, of all versions that have files."""
        found: dict[tuple[str, int], dict[str, str]] = {}
        query = select(_weights.c.project, _weights.c.number, _weights.c.network, _weights.c.sha256)
        for each in connection.execute(query):
            found.setdefault((each.project, each.number), {})[each.network] = each.sha256
        return found

    def read(self, project: str, number: int) -> tuple[dict[str, bytes], str]:
        """Return network -> bytes of a version's files, and a network whose file is damaged; "" = none is.

        Raises:
            StoreError: the database refuses.
        """
        query = select(_weights).where(_is(project, number)).order_by(_weights.c.network)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
        damaged = next((row.network for row in rows if sha256(row.file).hexdigest() != row.sha256), "")
        with self._lock:
            self._checked[project, number] = (
                frozenset((row.sha256, len(row.file)) for row in rows),
                damaged,
                time.monotonic(),
            )
        return {row.network: bytes(row.file) for row in rows}, damaged

    def damaged(self, project: str, number: int) -> str:
        """Return a network of a version whose file is damaged, "" = none is; what was found lately is believed.

        Raises:
            StoreError: the database refuses.
        """
        query = select(_weights.c.sha256, func.length(_weights.c.file).label("size")).where(_is(project, number))
        with self._database.reading() as connection:
            marks = frozenset((row.sha256, row.size) for row in connection.execute(query))
        with self._lock:
            known, damaged, at = self._checked.get((project, number), (None, "", 0.0))
        if known == marks and time.monotonic() - at < self._believed_s:
            return damaged
        return self.read(project, number)[1]


def _is(project: str, number: int) -> Any:
    return and_(_weights.c.project == project, _weights.c.number == number)
