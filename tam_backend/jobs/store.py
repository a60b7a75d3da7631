"""The jobs, in the database: what people see of them anywhere, and which process works on which.

A job belongs to the process that took it, for as long as that renews its lease. What a process that died, or was
stopped, left behind is anybody's again: whoever takes it first has it. The database's clock decides. Each taking has a
number, and every write names it: who lost a job writes nothing more of it. One that ended stays for a while as a row
without its work, so that it is seen, and never begins again.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from sqlalchemy import (
    Connection,
    Row,
    and_,
    case,
    delete,
    exists,
    false,
    func,
    insert,
    or_,
    select,
    update,
)

from tam_backend.errors import BusyError, CancelledError, NotFoundError
from tam_backend.jobs.records import Intent, JobView, Outlook, Progress, Stage, TakenJob, Told
from tam_backend.store.database import Database, now, one_at_a_time
from tam_backend.store.holder import Holder, Holders
from tam_backend.store.job_table import HEAVY, jobs
from tam_backend.store.sessions import LEASE_S

LOST = "A newer request for this task took over, or another process did."
NEWER = "A newer request for this task took over."
STOPPED = "The backend was stopped."
_GONE = "The process that worked on it is gone."

# Anybody may ask for one of a project that was connected, and each takes minutes.
_MOST_QUEUED_ADAPTATIONS = 20

_lives = jobs.c.ended_at.is_(None)
_nobodys = {"owner": "", "owned_until": 0.0}


class JobStore:
    """All jobs, as one process sees them: what it changes are its own. Thread-safe.

    Args:
        database: where they are.
        holders: tells which processes live.
        lease_s: how long a process that says nothing keeps its jobs from others; one that is seen to be dead keeps
            nothing.
        keep: how many that ended are still seen.
        backend_url: where people reach the status page and the jobs; "" = it is not known.
    """

    def __init__(
        self,
        database: Database,
        holders: Holders | None = None,
        lease_s: float = LEASE_S,
        keep: int = 100,
        backend_url: str = "",
    ) -> None:
        self._backend_url = backend_url
        self._database = database
        self._holders = holders or Holders()
        self._keep = keep
        self._me = str(self._holders.new())
        self.lease_s = lease_s

    def begin(
        self, task_id: int | str | None, project: str, intent: Intent | None, frames_total: int, frames_done: int
    ) -> tuple[TakenJob, list[str]]:
        """Keep a job that somebody waits for and that this process works on; see `enqueue`.

        Raises:
            BusyError: as there.
        """
        stage: Stage = "adapt" if intent is not None and intent.is_adaptation else "track"
        taken = TakenJob(secrets.token_hex(6), 1, task_id, project, intent, stage, 0, frames_total)
        row = {
            "waited_for": True,
            "state": "running",
            "frames_done": frames_done,
            "started_at": now(),
            "owner": self._me,
            "owned_until": now() + self.lease_s,
            "taking": 1,
        }
        return taken, self._database.change(lambda connection: _add(connection, taken, row, self._backend_url))

    def enqueue(self, intent: Intent, frames_total: int, stage: Stage) -> tuple[str, list[str]]:
        """Keep a job that nobody waits for, for any process to take.

        It takes the place of the older ones of its task and person that nobody waits for, whosever they are.

        Returns:
            Its id, and the ids of those that ended for it.

        Raises:
            BusyError: an adaptation of the project is there already, queued or at work; or too many are queued.
            StoreError: the database refuses; nothing has changed.
        """
        task_id = None if intent.is_adaptation else intent.task_id
        job = TakenJob(secrets.token_hex(6), 0, task_id, intent.project, intent, stage, 0, frames_total)
        row = {"waited_for": False, "state": "queued", "frames_done": 0, "taking": 0, **_nobodys}
        return job.id, self._database.change(lambda connection: _add(connection, job, row, self._backend_url))

    def look(self) -> Outlook:
        """Tell what there is to do; what belonged to a process that is gone is anybody's from then on."""
        waiting = case((jobs.c.run_after > now(), jobs.c.run_after - now()))
        with self._database.reading() as connection:
            rows = connection.execute(
                select(
                    jobs.c.owner,
                    func.min(jobs.c.run_after - now()).label("first_s"),
                    func.min(waiting).label("next_s"),
                    func.min(jobs.c.owned_until - now()).label("left_s"),
                )
                .where(_lives)
                .group_by(jobs.c.owner)
            ).all()
        others = [row for row in rows if row.owner not in ("", self._me)]
        gone = [row.owner for row in others if row.left_s < 0 or not self._holders.lives(Holder.parse(row.owner))]
        if gone:
            self._free(gone)
        free = next((row for row in rows if not row.owner), None)
        due = bool(gone) or (free is not None and free.first_s <= 0)
        return Outlook(due, None if free is None else free.next_s)

    def claim(self, room: Mapping[Stage, Collection[str]]) -> TakenJob | None:
        """Take the job whose turn it is of those that nobody works on; None where there is none.

        Projects take turns: the one of which nothing was begun for the longest time comes first, then who came first.

        Args:
            room: what there is time for -> projects that have enough of that here.
        """
        wanted = or_(
            false(), *(and_(jobs.c.stage == stage, jobs.c.project.not_in(list(full))) for stage, full in room.items())
        )
        others = jobs.alias()
        turns = (
            select(others.c.project, func.max(others.c.started_at).label("at")).group_by(others.c.project).subquery()
        )
        queue = (
            select(jobs)
            .join(turns, turns.c.project == jobs.c.project)
            .where(_lives, jobs.c.owner == "", jobs.c.run_after <= now(), wanted)
            .order_by(func.coalesce(turns.c.at, 0.0), jobs.c.number)
            .limit(1)
            .with_for_update(skip_locked=True, of=jobs)
        )

        def write(connection: Connection) -> TakenJob | None:
            row = connection.execute(queue).one_or_none()
            if row is None:
                return None
            this = update(jobs).where(jobs.c.number == row.number)
            try:
                taken = _taken(row)
            except (ValueError, TypeError, AttributeError):  # by whoever wrote it: it must not keep the others
                message = "What it was to do cannot be read."
                connection.execute(this.values(**_ended(state="failed", message=message)))
                return None
            mine = {"owner": self._me, "owned_until": now() + self.lease_s, "taking": taken.taking}
            connection.execute(this.values(started_at=now(), state="queued", **mine))
            return taken

        return self._database.change(write)

    def exchange(self, news: Sequence[tuple[TakenJob, Progress]], *, renew: bool) -> dict[str, Told]:
        """Write how far jobs of this process are, and return what there is to know of all of them.

        Args:
            news: of those that moved on.
            renew: go on owning them.
        """

        def write(connection: Connection) -> dict[str, Told]:
            for job, progress in news:
                # Whoever asked for its end has said why.
                message = case((jobs.c.cancel_requested, jobs.c.message), else_=progress.message)
                values = {**vars(progress), "message": message}
                connection.execute(update(jobs).where(self._is_mine(job)).values(**values))
            if renew:
                mine = and_(jobs.c.owner == self._me, _lives)
                connection.execute(update(jobs).where(mine).values(owned_until=now() + self.lease_s))
            return self._told(connection)

        if news or renew:
            return self._database.change(write)
        with self._database.reading() as connection:
            return self._told(connection)

    def keep_prediction(self, job: TakenJob, prediction: Mapping[str, Any]) -> None:
        """Keep what a job found.

        Raises:
            CancelledError: a newer job took its place, or another process has it by now.
        """
        found = {"prediction": json.dumps(prediction), "stage": "tell"}
        with self._database.transaction() as connection:
            if connection.execute(update(jobs).where(self._is_mine(job)).values(**found)).rowcount != 1:
                raise CancelledError(LOST)

    def prediction(self, job: TakenJob) -> Mapping[str, Any]:
        """Return what `keep_prediction` kept.

        Raises:
            CancelledError: see there.
        """
        with self._database.reading() as connection:
            text = connection.execute(select(jobs.c.prediction).where(self._is_mine(job))).scalar_one_or_none()
        if text is None:
            raise CancelledError(LOST)
        prediction: dict[str, Any] = json.loads(text)
        return prediction

    def end(self, job: TakenJob, last: Progress) -> bool:
        """End a job; False: it was not this process's any more, and nothing has changed."""

        def write(connection: Connection) -> bool:
            ended = connection.execute(update(jobs).where(self._is_mine(job)).values(**_ended(**vars(last))))
            self._forget_old(connection)
            return bool(ended.rowcount)

        return self._database.change(write)

    def put_back(self, job: TakenJob, last: Progress, pause_s: float, *, tried: bool) -> bool:
        """Let anybody go on with a job after a pause; False: as for `end`.

        Args:
            job: of this process, which nobody waits for; somebody may have asked for its end, which it then comes to.
            last: how far it is.
            pause_s: seconds.
            tried: whether that counts as one more attempt in vain.
        """

        def write(connection: Connection) -> bool:
            later = {"run_after": now() + pause_s, "attempts": jobs.c.attempts + int(tried)}
            mine = self._is_mine(job)
            put = update(jobs).where(mine, ~jobs.c.cancel_requested).values(**vars(last), **later, **_nobodys)
            if connection.execute(put).rowcount:
                return True
            ended = update(jobs).where(mine).values(**_ended(state="cancelled"))
            return bool(connection.execute(ended).rowcount)

        return self._database.change(write)

    def cancel(self, job_id: str, message: str) -> None:
        """Ask a job of any process to end; one that nobody works on, or is only waiting, ends at once.

        Raises:
            NotFoundError: see `get`.
        """
        named, idle = jobs.c.id == job_id, jobs.c.state.in_(("queued", "waiting"))
        kept = case((jobs.c.cancel_requested, jobs.c.message), else_="")  # not what it was at: that is no reason
        said = {"message": message or kept, "cancel_requested": True}

        def write(connection: Connection) -> None:
            if connection.execute(select(jobs.c.number).where(named).with_for_update()).one_or_none() is None:
                raise _unknown(job_id)
            connection.execute(update(jobs).where(named, _lives).values(**said))
            connection.execute(update(jobs).where(named, _lives, idle).values(**_ended(state="cancelled")))

        self._database.change(write)

    def get(self, job_id: str) -> JobView:
        """Look a job up.

        Raises:
            NotFoundError: there is none of this id, or it ended long ago.
        """
        with self._database.reading() as connection:
            row = connection.execute(_views().where(jobs.c.id == job_id)).one_or_none()
        if row is None:
            raise _unknown(job_id)
        return _view(row)

    def all(self, limit: int | None = None) -> list[JobView]:
        """Return the jobs of all processes, newest first."""
        with self._database.reading() as connection:
            return [_view(row) for row in connection.execute(_views().order_by(jobs.c.number.desc()).limit(limit))]

    @property
    def unfinished(self) -> int:
        """How many jobs have not ended, of all processes."""
        with self._database.reading() as connection:
            return int(connection.execute(select(func.count()).select_from(jobs).where(_lives)).scalar_one())

    def release(self, but: Collection[str] = ()) -> None:
        """Let others have what this process has not ended, but for some jobs, which stay its own until it is gone."""
        self._free([self._me], STOPPED, but)

    def _free(self, owners: Sequence[str], message: str = _GONE, but: Collection[str] = ()) -> None:
        """Make anybody's what some processes had, but what nobody can go on with, or should: that ends."""
        newer = jobs.alias()
        same = (newer.c.project == jobs.c.project, newer.c.task == jobs.c.task, newer.c.whose == jobs.c.whose)
        overtaken = exists().where(*same, newer.c.number > jobs.c.number)
        theirs = and_(_lives, jobs.c.owner.in_(owners), jobs.c.id.not_in(but))
        if self._me not in owners:  # one that has come back since renews its lease
            theirs = and_(theirs, or_(jobs.c.owned_until < now(), jobs.c.owner.in_(self._dead(owners))))
        cancelled = update(jobs).where(theirs)

        waited_for = select(jobs.c.project, jobs.c.task, jobs.c.whose).where(theirs, jobs.c.waited_for)

        def write(connection: Connection) -> None:
            # From now on newer ones take their place, so those must not come in between.
            for row in sorted(map(tuple, connection.execute(waited_for).all())):
                one_at_a_time(connection, "job", *row)
            for reason, why in (
                (or_(jobs.c.intent.is_(None), jobs.c.cancel_requested), message),
                (overtaken, NEWER),
            ):
                connection.execute(cancelled.where(reason).values(**_ended(state="cancelled", message=why)))
            connection.execute(
                update(jobs).where(theirs).values(state="queued", message="", waited_for=False, **_nobodys)
            )
            self._forget_old(connection)

        self._database.change(write)

    def _dead(self, owners: Sequence[str]) -> list[str]:
        return [each for each in owners if not self._holders.lives(Holder.parse(each))]

    def _told(self, connection: Connection) -> dict[str, Told]:
        rows = connection.execute(
            select(jobs.c.id, jobs.c.taking, jobs.c.cancel_requested, jobs.c.message).where(
                jobs.c.owner == self._me, _lives
            )
        )
        return {row.id: Told(row.taking, row.cancel_requested, row.message) for row in rows}

    def _forget_old(self, connection: Connection) -> None:
        old = (
            select(jobs.c.number)
            .where(~_lives)
            .order_by(jobs.c.ended_at.desc(), jobs.c.number.desc())
            .offset(self._keep)
            .with_for_update(skip_locked=True)
        )
        connection.execute(delete(jobs).where(jobs.c.number.in_(old)))

    def _is_mine(self, job: TakenJob) -> Any:
        return and_(jobs.c.id == job.id, jobs.c.owner == self._me, jobs.c.taking == job.taking, _lives)


def _add(connection: Connection, job: TakenJob, row: Mapping[str, Any], backend_url: str) -> list[str]:
    """Insert a job, and end those whose place it takes; return their ids."""
    task, whose, overtaken = "" if job.task_id is None else str(job.task_id), "", []
    if job.stage == "adapt":
        whose = "adaptation"  # no request takes the place of one
        _require_room(connection, job.project, backend_url, waited_for=row["waited_for"])
    elif job.intent is not None:
        whose = job.intent.whose
        one_at_a_time(connection, "job", job.project, task, whose)
        same = (jobs.c.project == job.project, jobs.c.task == task, jobs.c.whose == whose)
        older = and_(_lives, jobs.c.intent.is_not(None), ~jobs.c.waited_for, *same)
        overtaken = list(connection.execute(select(jobs.c.id).where(older)).scalars())
        if overtaken:
            connection.execute(update(jobs).where(older).values(**_ended(state="cancelled", message=NEWER)))
    connection.execute(
        insert(jobs).values(
            id=job.id,
            project=job.project,
            task=task,
            task_id=json.dumps(job.task_id),
            whose=whose,
            stage=job.stage,
            message="",
            intent=None if job.intent is None else job.intent.to_json(),
            frames_total=job.frames_total,
            attempts=0,
            run_after=now(),
            cancel_requested=False,
            created_at=now(),
            **row,
        )
    )
    return overtaken


def _require_room(connection: Connection, project: str, backend_url: str, *, waited_for: bool) -> None:
    """Raise BusyError where a project is being adapted already, or too many wait for it."""
    one_at_a_time(connection, "adaptations")
    adaptations = and_(_lives, jobs.c.stage == "adapt")
    there = select(jobs.c.id).where(adaptations, jobs.c.project == project)
    if (other := connection.execute(there).scalars().first()) is not None:
        raise BusyError(
            f"The networks of project {project} are learning already: job {other}.",
            "Wait for it: it goes on by itself while a backend runs. Or stop it, with the button on the status page or "
            f"curl -X DELETE {backend_url or 'http://BACKEND'}/jobs/{other}",
        )
    queued = select(func.count()).select_from(jobs).where(adaptations, jobs.c.owner == "")
    if not waited_for and connection.execute(queued).scalar_one() >= _MOST_QUEUED_ADAPTATIONS:
        raise BusyError(
            f"{_MOST_QUEUED_ADAPTATIONS} projects wait to learn already.", "Wait until one has learnt, or stop one."
        )


def _ended(**values: Any) -> dict[str, Any]:
    """Return what the row of a job that ended says: what it was to do, with the whole task, is too large to be kept."""
    return {"ended_at": now(), **dict.fromkeys(HEAVY), **_nobodys, **values}


def _taken(row: Row[Any]) -> TakenJob:
    intent = Intent.from_json(row.intent)
    return TakenJob(
        row.id, row.taking + 1, json.loads(row.task_id), row.project, intent, row.stage, row.attempts, row.frames_total
    )


def _views() -> Any:
    began = func.coalesce(jobs.c.started_at, jobs.c.created_at)
    seconds = (func.coalesce(jobs.c.ended_at, now()) - began).label("seconds")
    return select(*(column for column in jobs.c if column.name not in HEAVY), seconds)


def _view(row: Row[Any]) -> JobView:
    return JobView(
        id=row.id,
        task_id=json.loads(row.task_id),
        project=row.project,
        state=row.state,
        message=row.message,
        frame=row.frame,
        frames_done=row.frames_done,
        frames_total=row.frames_total,
        is_adaptation=row.stage == "adapt",
        attempts=row.attempts,
        cancel_requested=row.cancel_requested,
        created_at=row.created_at,
        started_at=row.started_at,
        ended_at=row.ended_at,
        seconds=max(0.0, row.seconds),
    )


def _unknown(job_id: str) -> NotFoundError:
    return NotFoundError(f"There is no job {job_id[:40]!r}.", "See GET /jobs for the running and recent ones.")
