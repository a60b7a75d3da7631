"""The table of jobs; what is done with it is told in jobs/store.py."""

from __future__ import annotations

from sqlalchemy import Boolean, Column, Double, Integer, String, Table, Text

from tam_backend.store.database import metadata

jobs = Table(
    "jobs",
    metadata,
    Column("number", Integer, primary_key=True),  # in the order of coming
    Column("id", String(32), nullable=False, unique=True),
    Column("project", String(64), nullable=False),
    Column("task", String(64), nullable=False),
    Column("task_id", Text, nullable=False),  # JSON: a number, a text, or null
    Column("whose", String(200), nullable=False),
    Column("waited_for", Boolean, nullable=False),
    Column("stage", String(8), nullable=False),
    Column("state", String(16), nullable=False),
    Column("message", Text, nullable=False),
    Column("intent", Text),
    Column("prediction", Text),
    Column("frame", Integer),
    Column("frames_done", Integer, nullable=False),
    Column("frames_total", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("run_after", Double, nullable=False),
    Column("cancel_requested", Boolean, nullable=False),
    Column("created_at", Double, nullable=False),
    Column("started_at", Double),
    Column("ended_at", Double),
    Column("owner", String(200), nullable=False),
    Column("owned_until", Double, nullable=False),
    Column("taking", Integer, nullable=False),
    sqlite_autoincrement=True,
)

HEAVY = ("intent", "prediction")
"""The columns that nothing is left of in the row of a job that ended."""
