"""What survives a restart of a session: prompts, keyframes, masks and qualities, in a database.

One process at a time works on a session: it holds a lease that every write renews, and whoever lost it writes nothing
more. What a human said is written at once; tracked masks follow in batches, a second or 16 frames behind at most.
"""

from __future__ import annotations

import json
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

import numpy as np
from sqlalchemy import (
    Boolean,
    Column,
    Connection,
    Double,
    ForeignKey,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    UniqueConstraint,
    and_,
    delete,
    distinct,
    exists,
    func,
    insert,
    or_,
    select,
    update,
)
from sqlalchemy.exc import IntegrityError

from tam_backend.effort.mask_records import WorkRecord
from tam_backend.errors import BusyError
from tam_backend.store.database import Database, metadata, now
from tam_backend.store.holder import Holder, Holders
from tam_backend.store.known import Known
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import BoolMask, Box, EncodedMask, Point, Source

_BATCH_FRAMES = 16
_BATCH_S = 1.0
# Longer than any frame takes; on one machine a dead process is noticed at once.
LEASE_S = 30.0
_Code = LargeBinary  # run-length


def _of_session() -> Column[Any]:
    return Column("session", ForeignKey("sessions.id", ondelete="CASCADE"), primary_key=True)


_sessions = Table(
    "sessions",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("project", String(64), nullable=False),
    Column("task", String(64), nullable=False),
    Column("media", String(64), nullable=False),
    Column("frames", Integer, nullable=False),
    Column("height", Integer, nullable=False),
    Column("width", Integer, nullable=False),
    Column("weights", String(200), nullable=False),
    Column("updated_at", Double, nullable=False),
    Column("begun_at", Double, nullable=False),
    Column("owner", String(200), nullable=False, default=""),
    Column("owned_until", Double, nullable=False, default=0.0),
    Column("revision", Integer, nullable=False, default=0),
    UniqueConstraint("project", "task", "media"),
    sqlite_autoincrement=True,  # else a deleted session's number is given again, and its last holder writes to another
)
_objects = Table(
    "session_objects",
    metadata,
    _of_session(),
    Column("object", Integer, primary_key=True),
    Column("label", Text, nullable=False),
)
_prompts = Table(
    "session_prompts",
    metadata,
    _of_session(),
    Column("object", Integer, primary_key=True),
    Column("frame", Integer, primary_key=True),
    Column("points", Text, nullable=False),
    Column("box", Text),
    Column("mask", _Code),
    Column("hint", _Code),
    Column("keyframe", _Code, nullable=False),
    Column("quality", Double, nullable=False),
    Column("is_end", Boolean, nullable=False),
)
_changes = Table(
    "session_changes",
    metadata,
    _of_session(),
    Column("object", Integer, primary_key=True),
    Column("frame", Integer, primary_key=True),
)
_masks = Table(
    "session_masks",
    metadata,
    _of_session(),
    Column("frame", Integer, primary_key=True),
    Column("object", Integer, primary_key=True),
    Column("counts", _Code, nullable=False),
    Column("quality", Double, nullable=False),
    Column("source", String(16), nullable=False),
)


@dataclass(frozen=True)
class SessionKey:
    """Names a session for good.

    Args:
        project, task: Label Studio's ids; any text.
        media: a fingerprint of what the task shows, 40 characters at most.
        annotator: whose view of the task it is, 20 characters at most; "" = nobody's own.
    """

    project: str
    task: str
    media: str
    annotator: str = ""

    @property
    def view(self) -> str:
        """What is shown, and to whom, as the database names it."""
        return f"{self.media}@{self.annotator}" if self.annotator else self.media

    @classmethod
    def parse(cls, project: str, task: str, view: str) -> SessionKey:
        """Return the key whose `view` this is."""
        media, _, annotator = view.partition("@")
        return cls(project, task, media, annotator)


@dataclass(frozen=True, eq=False)
class ObjectState:
    """All that a human said of one object; masks are encoded.

    Args:
        label: "" where none was given.
        known: frame -> the prompts there.
        keyframes: frame -> the mask that they make.
        ends: frames from which on it is gone.
        changed: frames whose keyframe was added, changed or taken away since the object was tracked.
    """

    label: str
    known: Mapping[int, Known] = field(default_factory=dict)
    keyframes: Mapping[int, KeptMask] = field(default_factory=dict)
    ends: frozenset[int] = frozenset()
    changed: frozenset[int] = frozenset()


@dataclass(frozen=True)
class SessionSummary:
    """What a list of sessions shows.

    Args:
        key: names it.
        frames: of the video; `frames_done` of them have masks.
        size_hw: (height, width) of the masks.
        labels: object id -> label.
        weights: the version of the networks that made the masks.
        updated_at: seconds since 1970, UTC.
    """

    key: SessionKey
    frames: int
    frames_done: int
    size_hw: tuple[int, int]
    labels: Mapping[int, str]
    weights: str
    updated_at: float


@dataclass(frozen=True)
class SessionView:
    """A look at a session without holding it: no mask is decoded.

    Args:
        summary: see there.
        quality: object id -> frame -> 0..1, ascending frames.
        source: object id -> frame -> where the mask comes from.
        keyframes: object id -> frames that a human settled, ascending.
        absent: object id -> frames where its mask is empty; quality there is how sure that is.
    """

    summary: SessionSummary
    quality: Mapping[int, Mapping[int, float]]
    source: Mapping[int, Mapping[int, Source]]
    keyframes: Mapping[int, tuple[int, ...]]
    absent: Mapping[int, frozenset[int]] = field(default_factory=dict)


class SessionStore:
    """All sessions of one database. Thread-safe.

    Args:
        database: where they are.
        lease_s: how long a holder that writes nothing keeps a session from others.
        holders: tells which processes live.
    """

    def __init__(self, database: Database, lease_s: float = LEASE_S, holders: Holders | None = None) -> None:
        self._database = database
        self._holders = holders or Holders()
        self._lease_s = lease_s

    def open(self, key: SessionKey, *, frames: int, size_hw: tuple[int, int], weights: str) -> StoredSession:
        """Take a session, or begin one, for the process to work on.

        Masks of other weights are dropped; what a human said stays. Where the media is of another size than it was,
        nothing fits any more, and the session begins anew.

        Args:
            key: names it.
            frames, size_hw: of the video.
            weights: version of the networks.

        Raises:
            BusyError: another process works on it.
            StoreError: the database refuses.
        """
        holder = self._holders.new()
        is_held = (_sessions.c.owned_until >= now()).label("is_held")
        with self._database.transaction() as connection:
            row = connection.execute(select(_sessions, is_held).where(_is(key)).with_for_update()).one_or_none()
            if row is not None and row.is_held:
                other = Holder.parse(row.owner)
                if self._holders.lives(other):
                    raise BusyError(
                        f"Another process works on task {key.task}.",
                        f"Try again in {self._lease_s:g} s, or end process {other.process} on {other.host}.",
                    )
            if row is not None and (row.frames, row.height, row.width) != (frames, *size_hw):
                connection.execute(delete(_sessions).where(_sessions.c.id == row.id))
                row = None
            if row is None:
                number, revision = _begun(connection, key, frames, size_hw, weights), 0
            else:
                number, revision = int(row.id), int(row.revision)
                if row.weights != weights:
                    connection.execute(delete(_masks).where(_masks.c.session == number))
            connection.execute(
                update(_sessions)
                .where(_sessions.c.id == number)
                .values(owner=str(holder), owned_until=now() + self._lease_s, weights=weights)
            )
        return StoredSession(self._database, number, str(holder), revision, size_hw, self._lease_s)

    def holder_of(self, key: SessionKey) -> Holder | None:
        """Return who works on a session now; None where nobody does."""
        held = and_(_is(key), _sessions.c.owner != "", _sessions.c.owned_until >= now())
        with self._database.reading() as connection:
            owner = connection.execute(select(_sessions.c.owner).where(held)).scalar_one_or_none()
        return None if owner is None else Holder.parse(owner)

    def weights_of_masks(self, key: SessionKey) -> str:
        """Return the version of the networks that a session's masks are of; "" where there is no mask."""
        tracked = exists().where(_masks.c.session == _sessions.c.id)
        with self._database.reading() as connection:
            return str(connection.execute(select(_sessions.c.weights).where(_is(key), tracked)).scalar() or "")

    def work(self, project: str, last: int | None = None) -> list[WorkRecord]:
        """Return what is kept of the work on a project's tasks, in the order in which they were begun.

        Args:
            project: Label Studio's id.
            last: only of so many sessions that were begun last, of those in which anything was clicked; None: of all.

        Returns:
            One for each task; of one that several people see, of the one who clicked most.
        """
        chosen = select(_sessions).where(_sessions.c.project == project)
        if last is not None:
            clicked = exists().where(_prompts.c.session == _sessions.c.id)
            chosen = chosen.where(clicked).order_by(_sessions.c.id.desc()).limit(last)
        begun = chosen.subquery()
        said = select(
            _prompts.c.session, _prompts.c.points, _prompts.c.box, _prompts.c.mask.is_not(None).label("drawn")
        )
        clicks: Counter[int] = Counter()
        with self._database.reading() as connection:
            sessions = connection.execute(select(begun).order_by(begun.c.begun_at, begun.c.id)).all()
            for prompt in connection.execute(said.join(begun, begun.c.id == _prompts.c.session)):
                clicks[prompt.session] += len(json.loads(prompt.points)) + (prompt.box is not None) + prompt.drawn
        found: dict[str, WorkRecord] = {}
        for row in sessions:
            if row.task not in found or clicks[row.id] > found[row.task].clicks:
                found[row.task] = WorkRecord(row.task, clicks[row.id], row.weights, row.begun_at)
        return sorted(found.values(), key=lambda each: each.begun_at)

    def summaries(self, limit: int = 50) -> list[SessionSummary]:
        """Return the sessions worked on last, newest first."""
        with self._database.reading() as connection:
            rows = connection.execute(select(_sessions).order_by(_sessions.c.updated_at.desc()).limit(limit)).all()
            return [_summary(connection, row) for row in rows]

    def summaries_of(self, project: str, task: str) -> list[SessionSummary]:
        """Return all sessions of a task, of its media and its annotators, the one worked on last first."""
        with self._database.reading() as connection:
            return [_summary(connection, row) for row in connection.execute(_of_task(project, task)).all()]

    def find_summary(self, project: str, task: str, view: str = "") -> SessionSummary | None:
        """Return the summary of a task's session, see `find`, without reading what is known of its frames."""
        with self._database.reading() as connection:
            row = connection.execute(_of_task(project, task, view).limit(1)).one_or_none()
            return None if row is None else _summary(connection, row)

    def find(self, project: str, task: str, view: str = "") -> SessionView | None:
        """Return what is stored of a task's session; None where there is none.

        Args:
            project, task: of its key.
            view: of its key; "" = the session that was worked on last.
        """
        with self._database.reading() as connection:
            row = connection.execute(_of_task(project, task, view).limit(1)).one_or_none()
            if row is None:
                return None
            quality: dict[int, dict[int, float]] = {}
            source: dict[int, dict[int, Source]] = {}
            absent: dict[int, set[int]] = {}
            nothing = EncodedMask.of(np.zeros((row.height, row.width), np.bool_)).counts
            for mask in connection.execute(
                select(
                    _masks.c.object,
                    _masks.c.frame,
                    _masks.c.quality,
                    _masks.c.source,
                    (_masks.c.counts == nothing).label("is_empty"),
                )
                .where(_masks.c.session == row.id)
                .order_by(_masks.c.frame)
            ):
                quality.setdefault(mask.object, {})[mask.frame] = mask.quality
                source.setdefault(mask.object, {})[mask.frame] = cast(Source, mask.source)
                if mask.is_empty:
                    absent.setdefault(mask.object, set()).add(mask.frame)
            keyframes: dict[int, list[int]] = {}
            for prompt in connection.execute(
                select(_prompts.c.object, _prompts.c.frame)
                .where(_prompts.c.session == row.id)
                .order_by(_prompts.c.frame)
            ):
                keyframes.setdefault(prompt.object, []).append(prompt.frame)
            return SessionView(
                _summary(connection, row),
                quality,
                source,
                {each: tuple(frames) for each, frames in keyframes.items()},
                {each: frozenset(frames) for each, frames in absent.items()},
            )

    def keyframes(self, project: str, task: str, annotator: str | None = None) -> dict[int, frozenset[int]]:
        """Return object id -> the frames on which a human's prompts make its mask, in any of a task's sessions.

        Args:
            project, task: of the sessions.
            annotator: only as this one sees it; None: as anybody does. A frame that was erased is none.
        """
        whose = _sessions.c.media.endswith(f"@{annotator}", autoescape=True)
        here = and_(_sessions.c.project == project, _sessions.c.task == task)
        with self._database.reading() as connection:
            rows = connection.execute(
                select(_prompts.c.object, _prompts.c.frame, _prompts.c.keyframe, _sessions.c.height, _sessions.c.width)
                .join(_sessions, _prompts.c.session == _sessions.c.id)
                .where(here if annotator is None else and_(here, whose))
            ).all()
        sizes = {(row.height, row.width) for row in rows}
        nothing = {size_hw: EncodedMask.of(np.zeros(size_hw, np.bool_)).counts for size_hw in sizes}
        found: dict[int, set[int]] = {}
        for row in rows:
            if row.keyframe != nothing[row.height, row.width]:
                found.setdefault(row.object, set()).add(row.frame)
        return {each: frozenset(frames) for each, frames in found.items()}

    def masks(self, key: SessionKey, frame: int) -> dict[int, BoolMask]:
        """Return object id -> (H, W) mask of one frame; {} where nothing was tracked."""
        return {each: mask.array for each, mask in self.encoded_masks(key, frame).items()}

    def encoded_masks(self, key: SessionKey, frame: int) -> dict[int, EncodedMask]:
        """Return object id -> mask of one frame as it is kept; {} where nothing was tracked."""
        with self._database.reading() as connection:
            rows = connection.execute(
                select(_masks.c.object, _masks.c.counts, _sessions.c.height, _sessions.c.width)
                .join(_sessions, _masks.c.session == _sessions.c.id)
                .where(and_(_is(key), _masks.c.frame == frame))
                .order_by(_masks.c.object)
            ).all()
        return {row.object: EncodedMask(row.counts, (row.height, row.width)) for row in rows}

    def delete(self, key: SessionKey) -> None:
        """Drop a session; whoever works on it cannot write to it any more."""
        with self._database.transaction() as connection:
            connection.execute(delete(_sessions).where(_is(key)))

    def prune(self, older_than_days: float) -> int:
        """Drop the sessions that nobody worked on for so long; return how many."""
        with self._database.transaction() as connection:
            old = and_(_sessions.c.updated_at < now() - older_than_days * 86_400, _sessions.c.owned_until < now())
            dropped = connection.execute(delete(_sessions).where(old))
            return int(dropped.rowcount)


class StoredSession:
    """One session in the database, held by this process until `close`. For one thread at a time."""

    def __init__(
        self, database: Database, number: int, owner: str, revision: int, size_hw: tuple[int, int], lease_s: float
    ) -> None:
        self._database = database
        self._number = number
        self._owner = owner
        self._revision = revision
        self._size_hw = size_hw
        self._lease_s = lease_s
        self._waiting: dict[int, Mapping[int, KeptMask]] = {}
        self._waiting_since_s = 0.0

    @property
    def is_current(self) -> bool:
        """Whether nobody else has written to the session since this process has it, nor deleted it."""
        with self._database.reading() as connection:
            query = select(_sessions.c.revision).where(_sessions.c.id == self._number)
            revision: int | None = connection.execute(query).scalar_one_or_none()
        return revision == self._revision

    def objects(self) -> dict[int, ObjectState]:
        """Return object id -> what a human said of it."""
        with self._database.reading() as connection:
            labels = connection.execute(self._mine(_objects).order_by(_objects.c.object)).all()
            prompts = connection.execute(self._mine(_prompts)).all()
            changes = connection.execute(self._mine(_changes)).all()
        states: dict[int, ObjectState] = {}
        for row in labels:
            own = [prompt for prompt in prompts if prompt.object == row.object]
            states[row.object] = ObjectState(
                label=row.label,
                known={prompt.frame: self._known(prompt) for prompt in own},
                keyframes={prompt.frame: self._kept(prompt.keyframe, prompt.quality, "prompt") for prompt in own},
                ends=frozenset(prompt.frame for prompt in own if prompt.is_end),
                changed=frozenset(change.frame for change in changes if change.object == row.object),
            )
        return states

    def tracks(self) -> dict[int, dict[int, KeptMask]]:
        """Return frame -> object id -> mask, still encoded."""
        kept: dict[int, dict[int, KeptMask]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(self._mine(_masks)):
                kept.setdefault(row.frame, {})[row.object] = self._kept(row.counts, row.quality, row.source)
        return kept

    def save_object(self, object_id: int, state: ObjectState, frames: Collection[int] = ()) -> None:
        """Write an object's label, and what is known of it on some frames, in place of what was known there.

        Raises:
            BusyError: another process took the session over.
            StoreError: the database refuses.
        """
        prompts = [self._prompt_row(object_id, frame, state) for frame in sorted(set(frames) & state.known.keys())]
        with self._writing() as connection:
            self._erase(connection, (_objects,), object_id)
            connection.execute(insert(_objects).values(session=self._number, object=object_id, label=state.label))
            for frame in frames:
                self._erase(connection, (_prompts, _changes), object_id, frame)
            if prompts:
                connection.execute(insert(_prompts), prompts)
            self._add_changes(connection, object_id, state.changed & frozenset(frames))

    def save_changes(self, changed: Mapping[int, frozenset[int]]) -> None:
        """Write object id -> frames that are still to be tracked anew; the masks that wait are written before."""
        with self._writing() as connection:
            for object_id, frames in changed.items():
                self._erase(connection, (_changes,), object_id)
                self._add_changes(connection, object_id, frames)

    def put(self, frame: int, masks: Mapping[int, KeptMask]) -> None:
        """Keep a frame's masks, soon."""
        if not self._waiting:
            self._waiting_since_s = time.monotonic()
        self._waiting[frame] = masks
        if len(self._waiting) >= _BATCH_FRAMES or time.monotonic() - self._waiting_since_s > _BATCH_S:
            self.flush()

    def forget(self, object_id: int) -> None:
        """Drop an object and its masks."""
        with self._writing() as connection:
            self._erase(connection, (_objects, _prompts, _changes, _masks), object_id)

    def flush(self) -> None:
        """Write the masks that wait, and renew the lease.

        Raises:
            BusyError: another process took the session over.
            StoreError: the database refuses; the masks go on waiting.
        """
        with self._writing():
            pass

    def close(self) -> None:
        """Write what waits and let others work on the session.

        Raises:
            BusyError, StoreError: as in `flush`; not where nothing waits and the session is another's by now.
        """
        try:
            if self._waiting:
                self.flush()
        finally:
            with self._database.transaction() as connection:
                connection.execute(
                    update(_sessions)
                    .where(and_(_sessions.c.id == self._number, _sessions.c.owner == self._owner))
                    .values(owner="", owned_until=0.0)
                )

    @contextmanager
    def _writing(self) -> Iterator[Connection]:
        """Write as the holder of the session. What waits counts as written only once it is committed."""
        with self._database.transaction() as connection:
            self._begin(connection)
            yield connection
        self._revision += 1
        self._waiting = {}

    def _begin(self, connection: Connection) -> None:
        """Renew the lease and write the masks that wait. Raises BusyError where the session is not ours any more."""
        free = or_(_sessions.c.owner == self._owner, _sessions.c.owned_until < now())
        renewed = connection.execute(
            update(_sessions)
            .where(and_(_sessions.c.id == self._number, _sessions.c.revision == self._revision, free))
            .values(
                owner=self._owner,
                owned_until=now() + self._lease_s,
                revision=self._revision + 1,
                updated_at=now(),
            )
        )
        if renewed.rowcount != 1:
            raise BusyError(
                "Another process took this session over, or it was deleted.",
                "Open the task again; what was stored before is kept.",
            )
        if self._waiting:
            connection.execute(
                delete(_masks).where(and_(_masks.c.session == self._number, _masks.c.frame.in_(list(self._waiting))))
            )
            rows = [
                {
                    "session": self._number,
                    "frame": frame,
                    "object": object_id,
                    "counts": mask.encoded.counts,
                    "quality": mask.quality,
                    "source": mask.source,
                }
                for frame, masks in self._waiting.items()
                for object_id, mask in masks.items()
            ]
            if rows:
                connection.execute(insert(_masks), rows)

    def _add_changes(self, connection: Connection, object_id: int, frames: Collection[int]) -> None:
        if frames:
            rows = [{"session": self._number, "object": object_id, "frame": frame} for frame in sorted(frames)]
            connection.execute(insert(_changes), rows)

    def _erase(self, connection: Connection, tables: Sequence[Table], object_id: int, frame: int | None = None) -> None:
        for table in tables:
            wanted = and_(table.c.session == self._number, table.c.object == object_id)
            connection.execute(delete(table).where(wanted if frame is None else and_(wanted, table.c.frame == frame)))

    def _prompt_row(self, object_id: int, frame: int, state: ObjectState) -> dict[str, Any]:
        known, keyframe = state.known[frame], state.keyframes[frame]
        return {
            "session": self._number,
            "object": object_id,
            "frame": frame,
            "points": json.dumps(known.points),
            "box": None if known.box is None else json.dumps(known.box),
            "mask": None if known.mask is None else known.mask.counts,
            "hint": None if known.hint is None else known.hint.counts,
            "keyframe": keyframe.encoded.counts,
            "quality": keyframe.quality,
            "is_end": frame in state.ends,
        }

    def _known(self, row: Row[Any]) -> Known:
        return Known(
            points=tuple(Point(float(x), float(y), bool(positive)) for x, y, positive in json.loads(row.points)),
            box=None if row.box is None else cast(Box, tuple(json.loads(row.box))),
            mask=None if row.mask is None else EncodedMask(row.mask, self._size_hw),
            hint=None if row.hint is None else EncodedMask(row.hint, self._size_hw),
        )

    def _kept(self, counts: bytes, quality: float, source: str) -> KeptMask:
        return KeptMask(EncodedMask(counts, self._size_hw), quality, cast(Source, source))

    def _mine(self, table: Table) -> Any:
        return select(table).where(table.c.session == self._number)


def forget_unused(database: Database, table: Table, older_than_days: float) -> int:
    """Drop what is known of tasks that have no session any more, and that nobody changed for so long.

    Args:
        database: where it is.
        table: of tasks, with the columns project, task and used_at.
        older_than_days: how long.

    Returns:
        How many rows were dropped.
    """
    has_session = exists().where(_sessions.c.project == table.c.project, _sessions.c.task == table.c.task)
    unused = and_(table.c.used_at < now() - older_than_days * 86_400, ~has_session)
    with database.transaction() as connection:
        return int(connection.execute(delete(table).where(unused)).rowcount)


def uses_weights(project: Any, version: Any) -> Any:
    """Return the SQL condition that a session of a project is kept that works with a version of the networks.

    Args:
        project, version: columns or values.
    """
    return exists().where(_sessions.c.project == project, _sessions.c.weights == version)


def _begun(connection: Connection, key: SessionKey, frames: int, size_hw: tuple[int, int], weights: str) -> int:
    """Make the session's row and return its number. Raises BusyError where another process just did."""
    named = {"project": key.project, "task": key.task, "media": key.view}
    holds = {"frames": frames, "height": size_hw[0], "width": size_hw[1], "weights": weights}
    try:
        made = connection.execute(insert(_sessions).values(**named, **holds, updated_at=now(), begun_at=now()))
    except IntegrityError as error:
        raise BusyError(f"Another process began to work on task {key.task} just now.", "Try again.") from error
    return int(made.inserted_primary_key[0])  # type: ignore[index]  # a row was made


def _of_task(project: str, task: str, view: str = "") -> Any:
    """Select the rows of a task's sessions, the one worked on last first."""
    here = and_(_sessions.c.project == project, _sessions.c.task == task)
    return (
        select(_sessions)
        .where(and_(here, _sessions.c.media == view) if view else here)
        .order_by(_sessions.c.updated_at.desc())
    )


def _is(key: SessionKey) -> Any:
    return and_(_sessions.c.project == key.project, _sessions.c.task == key.task, _sessions.c.media == key.view)


def _summary(connection: Connection, row: Row[Any]) -> SessionSummary:
    done = connection.execute(
        select(func.count(distinct(_masks.c.frame))).where(_masks.c.session == row.id)
    ).scalar_one()
    labels = connection.execute(
        select(_objects.c.object, _objects.c.label).where(_objects.c.session == row.id).order_by(_objects.c.object)
    )
    return SessionSummary(
        key=SessionKey.parse(row.project, row.task, row.media),
        frames=row.frames,
        frames_done=int(done),
        size_hw=(row.height, row.width),
        labels={each.object: each.label for each in labels},
        weights=row.weights,
        updated_at=row.updated_at,
    )
