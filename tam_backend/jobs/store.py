"""The jobs that are not ended yet, in the database: a restart goes on with them, and each is worked on by one process.

A job belongs to the process that began it, for as long as that process renews its lease. What a process that died, or
was stopped, left behind is anybody's: whoever claims it first has it. The database's clock decides.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    Float,
    Integer,
    Row,
    String,
    Table,
    Text,
    and_,
    delete,
    exists,
    insert,
    select,
    update,
)

from tam_backend.errors import CancelledError
from tam_backend.store.database import Database, metadata, now
from tam_backend.store.holder import Holder, Holders

LEASE_S = 30.0
"""How long a process that says nothing keeps its jobs from others; one that is seen to be dead keeps nothing."""

_LOST = "A newer request for this task took over, or another process did."

_jobs = Table(
    "jobs",
    metadata,
    Column("id", String(32), primary_key=True),
    Column("intent", Text, nullable=False),
    Column("prediction", Text),
    Column("frames_total", Integer, nullable=False),
    Column("created_at", Float, nullable=False),
    Column("project", String(64), nullable=False),
    Column("task", String(64), nullable=False),
    Column("whose", String(200), nullable=False),
    Column("waited_for", Boolean, nullable=False),
    Column("owner", String(200), nullable=False),
    Column("owned_until", Double, nullable=False),
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

    @property
    def whose(self) -> str:
        """Whose unsaved work it carries out; "" = what is submitted, everybody's.

        A newer intent takes the place of an older one of the same person only.
        """
        if self.context is None:
            return ""
        if self.annotator:
            return f"draft {self.annotator}"
        # Nobody knows whose: then it takes nobody's place.
        digest = hashlib.blake2b(json.dumps(self.context, sort_keys=True, default=str).encode(), digest_size=8)
        return f"click {digest.hexdigest()}"


@dataclass(frozen=True)
class UnfinishedJob:
    """A job as it is kept.

    Args:
        id: its name.
        intent: what it is to do.
        frames_total: of the task.
        found: whether its prediction is kept, and only storing that in Label Studio is left to do.
    """

    id: str
    intent: Intent
    frames_total: int
    found: bool = False


class JobStore:
    """Unfinished jobs by id, as one process sees them: what it changes are its own. Thread-safe.

    Args:
        database: where they are.
        holders: tells which processes live.
        lease_s: see `LEASE_S`.
    """

    def __init__(self, database: Database, holders: Holders | None = None, lease_s: float = LEASE_S) -> None:
        self._database = database
        self._holders = holders or Holders()
        self.lease_s = lease_s
        self._me = str(self._holders.new())

    def add(self, job: UnfinishedJob, *, waited_for: bool) -> None:
        """Keep a new job, in place of the older ones of its task and person that nobody waits for, whosever they are.

        Raises:
            StoreError: the database refuses; nothing has changed.
        """
        intent = job.intent
        older = and_(
            _jobs.c.project == intent.project,
            _jobs.c.task == str(intent.task_id),
            _jobs.c.whose == intent.whose,
            _jobs.c.waited_for.is_(False),
        )
        with self._database.transaction() as connection:
            connection.execute(delete(_jobs).where(older))
            connection.execute(
                insert(_jobs).values(
                    id=job.id,
                    intent=json.dumps(asdict(intent)),
                    prediction=None,
                    frames_total=job.frames_total,
                    created_at=now(),
                    project=intent.project,
                    task=str(intent.task_id),
                    whose=intent.whose,
                    waited_for=waited_for,
                    owner=self._me,
                    owned_until=now() + self.lease_s,
                )
            )

    def keep_prediction(self, job_id: str, prediction: Mapping[str, Any]) -> None:
        """Keep what a job found.

        Raises:
            CancelledError: a newer job took its place, or another process has it by now.
        """
        text = json.dumps(prediction)
        with self._database.transaction() as connection:
            kept = connection.execute(update(_jobs).where(self._mine(job_id)).values(prediction=text))
            if kept.rowcount != 1:
                raise CancelledError(_LOST)

    def prediction(self, job_id: str) -> Mapping[str, Any]:
        """Return what `keep_prediction` kept.

        Raises:
            CancelledError: see there.
        """
        with self._database.reading() as connection:
            text = connection.execute(select(_jobs.c.prediction).where(self._mine(job_id))).scalar_one_or_none()
        if text is None:
            raise CancelledError(_LOST)
        prediction: dict[str, Any] = json.loads(text)
        return prediction

    def drop(self, job_id: str) -> None:
        """Forget a job that ended; nothing happens to one that another process has by now."""
        with self._database.transaction() as connection:
            connection.execute(delete(_jobs).where(self._mine(job_id)))

    def renew(self) -> frozenset[str]:
        """Go on owning what this process owns, and return the ids of that."""
        with self._database.transaction() as connection:
            connection.execute(update(_jobs).where(_jobs.c.owner == self._me).values(owned_until=now() + self.lease_s))
            return frozenset(connection.execute(select(_jobs.c.id).where(_jobs.c.owner == self._me)).scalars())

    def claim(self) -> list[UnfinishedJob]:
        """Take what nobody works on, oldest first; of jobs that a newer one has overtaken nothing is left."""
        with self._database.reading() as connection:
            seen = connection.execute(
                select(_jobs.c.id, _jobs.c.owner, _jobs.c.owned_until, (_jobs.c.owned_until < now()).label("is_over"))
                .where(_jobs.c.owner != self._me)
                .order_by(_jobs.c.created_at)
            ).all()
        free = [row for row in seen if not row.owner or row.is_over or not self._holders.lives(Holder.parse(row.owner))]
        claimed = []
        for row in free:
            with self._database.transaction() as connection:
                job = self._taken(connection, row)
                if job is not None:
                    claimed.append(job)
        return claimed

    def release(self) -> None:
        """Let others have what this process has not ended."""
        with self._database.transaction() as connection:
            connection.execute(update(_jobs).where(_jobs.c.owner == self._me).values(owner="", owned_until=0.0))

    def _taken(self, connection: Connection, seen: Row[Any]) -> UnfinishedJob | None:
        """Take a job, if it is still as it was seen: of several processes that try one succeeds."""
        as_seen = and_(_jobs.c.id == seen.id, _jobs.c.owner == seen.owner, _jobs.c.owned_until == seen.owned_until)
        taken = connection.execute(
            update(_jobs).where(as_seen).values(owner=self._me, owned_until=now() + self.lease_s, waited_for=False)
        )
        if taken.rowcount != 1:
            return None
        found = _jobs.c.prediction.is_not(None).label("found")
        wanted = (_jobs.c.id, _jobs.c.intent, _jobs.c.frames_total, _jobs.c.created_at)
        names = (_jobs.c.project, _jobs.c.task, _jobs.c.whose)
        row = connection.execute(select(*wanted, *names, found).where(_jobs.c.id == seen.id)).one()
        newer = _jobs.alias()
        is_overtaken = connection.execute(
            select(
                exists().where(
                    newer.c.project == row.project,
                    newer.c.task == row.task,
                    newer.c.whose == row.whose,
                    newer.c.created_at > row.created_at,
                )
            )
        ).scalar_one()
        if is_overtaken:
            connection.execute(delete(_jobs).where(_jobs.c.id == seen.id))
            return None
        return UnfinishedJob(row.id, Intent(**json.loads(row.intent)), row.frames_total, bool(row.found))

    def _mine(self, job_id: str) -> Any:
        return and_(_jobs.c.id == job_id, _jobs.c.owner == self._me)
