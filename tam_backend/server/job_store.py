"""The jobs that are not ended yet, in the database, so that a restart goes on with them."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Column, Float, Integer, String, Table, Text, delete, insert, select

from tam_backend.pipeline.database import Database, metadata

_jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("intent", Text, nullable=False),
    Column("prediction", Text),
    Column("frames_total", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
)


@dataclass(frozen=True)
class Intent:
    """What a job is to do: bring a task to what its newest draft or annotation says, and store the masks there.

    Args:
        project, task_id: Label Studio's.
        task: as Label Studio sent it: data, drafts, annotations.
        context: of the click that asked for it; None for an annotation's event.
        label_config: the project's.
        unsaved: see `prompts.read_task`.
        annotator: who asked for it (`annotators.author_of`); "" where it is not known, or all did.
    """

    project: str
    task_id: int
    task: Mapping[str, Any]
    context: Mapping[str, Any] | None
    label_config: str
    unsaved: Sequence[Mapping[str, Any]] = ()
    annotator: str = ""


@dataclass(frozen=True)
class UnfinishedJob:
    """A job as it was kept.

    Args:
        id: its name.
        intent: what it is to do.
        prediction: what it found, where only storing it in Label Studio is left to do.
        frames_total: of the task.
    """

    id: str
    intent: Intent
    prediction: Mapping[str, Any] | None
    frames_total: int


class JobStore:
    """Unfinished jobs by id. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def put(self, job: UnfinishedJob) -> None:
        """Keep a job in place of what was kept of it."""
        prediction = None if job.prediction is None else json.dumps(job.prediction)
        with self._database.transaction() as connection:
            created = connection.execute(select(_jobs.c.created_at).where(_jobs.c.id == job.id)).scalar_one_or_none()
            connection.execute(delete(_jobs).where(_jobs.c.id == job.id))
            connection.execute(
                insert(_jobs).values(
                    id=job.id,
                    intent=json.dumps(asdict(job.intent)),
                    prediction=prediction,
                    frames_total=job.frames_total,
                    created_at=time.time() if created is None else created,
                )
            )

    def drop(self, job_id: str) -> None:
        """Forget a job that ended."""
        with self._database.transaction() as connection:
            connection.execute(delete(_jobs).where(_jobs.c.id == job_id))

    def all(self) -> list[UnfinishedJob]:
        """Return all jobs, oldest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_jobs).order_by(_jobs.c.created_at)).all()
        return [
            UnfinishedJob(
                row.id,
                Intent(**json.loads(row.intent)),
                None if row.prediction is None else json.loads(row.prediction),
                row.frames_total,
            )
            for row in rows
        ]
