"""Databases for tests of what must hold on each of them: SQLite, and PostgreSQL where a server is named.

    TAM_TEST_POSTGRES=postgresql+psycopg://user@host/empty_database pytest tests/server/test_job_store.py

Everything in that database is dropped.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from sqlalchemy import MetaData, create_engine

from tam_backend.store.database import sqlite_url

KINDS = ("sqlite", "postgresql")


def empty_database(kind: str, folder: Path) -> str:
    """Return the address of a database with nothing in it; skips the test where there is no such server."""
    if kind == "sqlite":
        return sqlite_url(folder / "tam.sqlite")
    url = os.environ.get("TAM_TEST_POSTGRES", "")
    if not url:
        pytest.skip("TAM_TEST_POSTGRES names no server")
    engine = create_engine(url)
    everything = MetaData()
    everything.reflect(engine)
    everything.drop_all(engine)
    engine.dispose()
    return url
