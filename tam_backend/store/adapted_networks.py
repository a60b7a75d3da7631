"""The networks that learnt from a project: each version with its figures, and the weights of those that may serve.

The weights are in the database, so that a version is there whole or not at all, on every machine at the same moment. A
version belongs to one project and to one version of the package's networks; of no others it is ever asked for.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, cast

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Integer,
    LargeBinary,
    Row,
    String,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    literal,
    select,
    update,
)
from sqlalchemy import cast as cast_to

from tam_backend.errors import DamagedWeightsError, NotFoundError, WeightsError
from tam_backend.store.adapted_weights import AdaptedWeights
from tam_backend.store.database import Database, metadata, now, one_at_a_time
from tam_backend.store.sessions import uses_weights

VersionState = Literal["promoted", "refused", "rolled back"]
"""promoted: it serves its project, unless a newer one does. refused: it was no better beyond doubt. rolled back: people
took it back."""

_versions = Table(
    "adapted_versions",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("base", String(200), nullable=False),
    Column("state", String(16), nullable=False),
    Column("stamp", String(64), nullable=False),
    Column("about", Text, nullable=False),  # JSON of `Findings`
    Column("made_at", Double, nullable=False),
    Column("taken_back_at", Double),
)
_pictures = Table(
    "adapted_pictures",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("number", Integer, primary_key=True),
    Column("place", Integer, primary_key=True),
    Column("about", Text, nullable=False),  # JSON of `PictureNote`
    Column("jpeg", LargeBinary, nullable=False),
)


@dataclass(frozen=True)
class Figure:
    """One figure before and after, in percent.

    Args:
        name: what was measured, for people.
        before, after: means.
        low, high: bounds of the gain's 95 % interval, in points; -inf and inf where too little was judged.
    """

    name: str
    before: float
    after: float
    low: float
    high: float

    @property
    def gain(self) -> str:
        """The gain with its interval, in words; that too little was judged where there is none."""
        if not math.isfinite(self.high - self.low):
            return f"{_points(self.after - self.before)} (too little was judged to be sure)"
        return f"{_points(self.after - self.before)} ({_points(self.low)} to {_points(self.high)})"


def _points(gain: float) -> str:
    return f"{round(gain, 1) + 0.0:+.1f}"  # -0.0 + 0.0 is 0.0: no minus before what is nothing


@dataclass(frozen=True)
class Findings:
    """What an adaptation came to, for people.

    Args:
        reason: why it was promoted or refused, a sentence or two with the figures.
        figures: before and after.
        learnt_from, held_out: names of videos.
        notes: what was left out and why, sentences.
        seconds: that it took.
    """

    reason: str
    figures: tuple[Figure, ...] = ()
    learnt_from: tuple[str, ...] = ()
    held_out: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    seconds: float = 0.0


@dataclass(frozen=True)
class PictureNote:
    """What a picture shows: a held-out frame as the networks of before, the learnt ones and people see it.

    Args:
        network: how people call it.
        choice: why this frame.
        video: its name.
        frame: 0-based.
        before, after: how well the masks overlap with people's, percent.
    """

    network: str
    choice: str
    video: str
    frame: int
    before: float
    after: float

    @property
    def told(self) -> str:
        """What changed there, for people.

        >>> PictureNote("the tracker", "largest loss", "a.mp4", 4, 85.04, 84.96).told
        'No change of the tracker: 85.0 %'
        """
        before, after = f"{self.before:.1f}", f"{self.after:.1f}"
        if before != after:
            return f"{self.choice.capitalize()} of {self.network}: {before} \N{RIGHTWARDS ARROW} {after} %"
        if self.choice == "median":
            return f"Median of {self.network}: {before} %, no change"
        return f"No change of {self.network}: {before} %"


@dataclass(frozen=True)
class AdaptedVersion:
    """One version of a project's networks.

    Args:
        project: Label Studio's id.
        number: 1, 2, .. in the project; no number is given twice.
        base: the version of the package's networks that it began with.
        state: see `VersionState`.
        findings: what is known of it.
        made_at: seconds since 1970.
        fingerprints: network -> SHA-256 of its weights; none where it cannot serve (any more).
        taken_back_at: when it was rolled back, seconds since 1970; None where it was not, or nobody noted it.
    """

    project: str
    number: int
    base: str
    state: VersionState
    findings: Findings
    made_at: float
    fingerprints: Mapping[str, str]
    taken_back_at: float | None = None

    @property
    def name(self) -> str:
        """What predictions are stored under, such as compact-0.2-1a2b3c4d+p7.3."""
        return _name(self.base, self.project, str(self.number))

    @property
    def short_name(self) -> str:
        """The last part of the name, such as p7.3."""
        return f"p{self.project}.{self.number}"

    @property
    def can_serve(self) -> bool:
        """Whether a task may be opened with it."""
        return self.state == "promoted" and bool(self.fingerprints)


@dataclass(frozen=True)
class Serving:
    """Which networks serve a project.

    Args:
        version: those of this version; None: the package's.
        damaged: the version that would serve, were its weights not damaged.
    """

    version: AdaptedVersion | None = None
    damaged: AdaptedVersion | None = None

    def state_of(self, version: AdaptedVersion) -> str:
        """Say of a version of the project what becomes of it."""
        if version == self.version:
            return "serves"
        return "damaged: the package's networks serve" if version == self.damaged else version.state


def newest_that_may_serve(versions: Sequence[AdaptedVersion], base: str) -> AdaptedVersion | None:
    """Return the version whose turn it is, unless its weights are damaged; None: that of the package.

    Args:
        versions: of a project, newest first.
        base: the version of the package's networks.
    """
    return next((each for each in versions if each.can_serve and each.base == base), None)


class AdaptedNetworks:
    """All versions of all projects. Thread-safe.

    Args:
        database: where they are.
        keep: of how many promoted versions of a project the weights are kept, besides those that a session works with;
            the other older ones' are dropped.
        keep_figures: of how many versions of a project anything is kept.
        keep_pictures: of how many there are pictures, besides those of which the weights are kept.
    """

    def __init__(self, database: Database, keep: int = 3, keep_figures: int = 50, keep_pictures: int = 5) -> None:
        self._database = database
        self._keep = keep
        self._keep_pictures = keep_pictures
        self._keep_figures = keep_figures
        self._weights = AdaptedWeights(database)

    def add(
        self,
        project: str,
        base: str,
        stamp: str,
        findings: Findings,
        weights: Mapping[str, bytes],
        pictures: Sequence[tuple[PictureNote, bytes]] = (),
    ) -> AdaptedVersion:
        """Keep what an adaptation came to; with weights it serves the project from now on, without it was refused.

        Args:
            project: Label Studio's id.
            base: the version of the package's networks that it began with.
            stamp: of what it learnt from.
            findings: for people.
            weights: network -> the bytes of its file.
            pictures: JPEGs, and what each shows.

        Raises:
            StoreError: the database refuses, such as where its disk is full; nothing has changed.
        """
        state: VersionState = "promoted" if weights else "refused"
        here = _versions.c.project == project

        def write(connection: Connection) -> int:
            one_at_a_time(connection, "adapted", project)
            number = (connection.execute(select(func.max(_versions.c.number)).where(here)).scalar_one() or 0) + 1
            row = {"number": number, "base": base, "state": state, "stamp": stamp, "made_at": now()}
            connection.execute(insert(_versions).values(project=project, about=_written(findings), **row))
            self._weights.keep(connection, project, number, weights)
            for place, (note, jpeg) in enumerate(pictures):
                shown = {"place": place, "about": json.dumps(asdict(note)), "jpeg": jpeg}
                connection.execute(insert(_pictures).values(project=project, number=number, **shown))
            self._prune(connection, project, base)
            return number

        number = self._database.change(write)
        return next(each for each in self.versions(project) if each.number == number)

    def served(self, project: str, base: str) -> AdaptedVersion | None:
        """Return the version that tasks of a project are opened with; None: that of the package.

        Raises:
            StoreError: the database refuses.
        """
        return self.serving(self.versions(project), base).version

    def serving(self, versions: Sequence[AdaptedVersion], base: str) -> Serving:
        """Tell which networks serve a project; whether weights are damaged is looked at anew every few minutes.

        Args:
            versions: of the project, newest first.
            base: the version of the package's networks.

        Raises:
            StoreError: the database refuses.
        """
        newest = newest_that_may_serve(versions, base)
        if newest is not None and self.is_damaged(newest):
            return Serving(damaged=newest)
        return Serving(newest)

    def is_damaged(self, version: AdaptedVersion) -> bool:
        """Tell whether a version's weights are not what was written; see `serving`. Raises StoreError."""
        return bool(self._weights.damaged(version.project, version.number))

    def versions(self, project: str) -> list[AdaptedVersion]:
        """Return what is known of a project's versions, newest first. Raises StoreError."""
        return self._read(_versions.c.project == project)

    def all(self) -> list[AdaptedVersion]:
        """Return the versions of all projects, newest first. Raises StoreError."""
        return self._read(None)

    def newest_stamp(self, project: str, base: str) -> str:
        """Return the stamp of what was learnt from last; "" where nothing was, or what would serve is damaged.

        Raises:
            StoreError: the database refuses.
        """
        versions = [each for each in self.versions(project) if each.base == base]
        if not versions or self.serving(versions, base).damaged:
            return ""
        number = max(each.number for each in versions)
        query = select(_versions.c.stamp).where(_versions.c.project == project, _versions.c.number == number)
        with self._database.reading() as connection:
            return str(connection.execute(query).scalar() or "")

    def roll_back(self, project: str, base: str) -> AdaptedVersion:
        """Take back the version that serves a project, or would but for its damaged weights, and return it.

        The one before serves again, or the package's. Nothing brings it back: the project has to learn anew.

        Raises:
            NotFoundError: none does.
            StoreError: the database refuses.
        """
        versions = self.versions(project)
        newest = newest_that_may_serve(versions, base)
        if newest is None:
            shown = f" `tam-backend adapt --project {project} --list` shows what became of each version."
            raise NotFoundError(
                f"There is nothing to take back: no networks serve that learnt from a project {project}.",
                f"The package's networks serve.{shown if versions else ' Nothing was learnt yet.'}",
            )
        here = and_(_versions.c.project == project, _versions.c.number == newest.number)
        with self._database.transaction() as connection:
            connection.execute(update(_versions).where(here).values(state="rolled back", taken_back_at=now()))
        return next(each for each in self.versions(project) if each.number == newest.number)

    def weights(self, version: AdaptedVersion) -> dict[str, bytes]:
        """Return network -> the bytes of its file; those of the package serve for a network that is not named.

        Raises:
            DamagedWeightsError: they are not what was written.
            WeightsError: they were dropped meanwhile.
            StoreError: the database refuses.
        """
        files, damaged = self._weights.read(version.project, version.number)
        if not files:
            raise WeightsError(f"The weights of {version.name} are not there any more.", "A newer version serves.")
        if damaged:
            raise DamagedWeightsError(
                f"The weights of {version.name} ({damaged}) are damaged in the database: the package's serve.",
                f"Adapt again (Start training, or `tam-backend adapt --project {version.project}`), or take them back "
                "(--rollback).",
            )
        return files

    def pictures(self, project: str) -> dict[int, tuple[PictureNote, ...]]:
        """Return number of a version -> what its pictures show, in their order. Raises StoreError."""
        query = select(_pictures.c.number, _pictures.c.about).where(_pictures.c.project == project)
        found: dict[int, tuple[PictureNote, ...]] = {}
        with self._database.reading() as connection:
            for row in connection.execute(query.order_by(_pictures.c.number, _pictures.c.place)):
                found[row.number] = (*found.get(row.number, ()), PictureNote(**json.loads(row.about)))
        return found

    def picture(self, project: str, number: int, place: int) -> bytes:
        """Return a picture of a version, a JPEG.

        Args:
            project, number: of the version.
            place: 0, 1, .. among its pictures.

        Raises:
            NotFoundError: there is none, or none any more.
            StoreError: the database refuses.
        """
        here = and_(_pictures.c.project == project, _pictures.c.number == number, _pictures.c.place == place)
        with self._database.reading() as connection:
            jpeg = connection.execute(select(_pictures.c.jpeg).where(here)).scalar_one_or_none()
        if jpeg is None:
            raise NotFoundError(
                f"There is no such picture of version {number} of project {project[:40]}.",
                f"Pictures of the last {self._keep_pictures} versions are kept, and of those that may serve.",
            )
        return bytes(jpeg)

    def _read(self, where: Any) -> list[AdaptedVersion]:
        query = select(_versions).order_by(_versions.c.made_at.desc(), _versions.c.number.desc())
        if where is not None:
            query = query.where(where)
        with self._database.reading() as connection:
            rows = connection.execute(query).all()
            found = self._weights.fingerprints(connection)
        return [_version(row, found.get((row.project, row.number), {})) for row in rows]

    def _prune(self, connection: Connection, project: str, base: str) -> None:
        """Drop the weights of versions that cannot serve or are neither new nor in use, and what is old of others."""
        here = _versions.c.project == project
        may_serve = select(_versions.c.number).where(here, _versions.c.state == "promoted", _versions.c.base == base)
        newest_few = may_serve.order_by(_versions.c.number.desc()).limit(self._keep)
        name = literal(_name(base, project, "")).concat(cast_to(_versions.c.number, String))
        in_use = may_serve.where(uses_weights(project, name))
        kept = {*connection.execute(newest_few).scalars(), *connection.execute(in_use).scalars()}
        self._weights.keep_only(connection, project, kept)
        newest = connection.execute(select(func.max(_versions.c.number)).where(here)).scalar_one()
        old = and_(here, _versions.c.number <= newest - self._keep_figures, _versions.c.number.not_in(kept))
        connection.execute(delete(_versions).where(old))
        unseen = and_(_pictures.c.number <= newest - self._keep_pictures, _pictures.c.number.not_in(kept))
        connection.execute(delete(_pictures).where(_pictures.c.project == project, unseen))


def _written(findings: Findings) -> str:
    """Return JSON of findings; it has no word for what is infinite, which is null there."""
    about = asdict(findings)
    for figure in about["figures"]:
        figure.update({end: None for end in ("low", "high") if math.isinf(figure[end])})
    return json.dumps(about, allow_nan=False)


def _figure(written: Mapping[str, Any]) -> Figure:
    low, high = written["low"], written["high"]
    ends = {"low": -math.inf if low is None else low, "high": math.inf if high is None else high}
    return Figure(**{**written, **ends})


def _name(base: str, project: str, number: str) -> str:
    return f"{base}+p{project}.{number}"


def _version(row: Row[Any], fingerprints: Mapping[str, str]) -> AdaptedVersion:
    about: dict[str, Any] = json.loads(row.about)
    findings = Findings(
        about["reason"],
        tuple(_figure(each) for each in about["figures"]),
        tuple(about["learnt_from"]),
        tuple(about["held_out"]),
        tuple(about["notes"]),
        about["seconds"],
    )
    state = cast(VersionState, row.state)
    return AdaptedVersion(
        row.project, row.number, row.base, state, findings, row.made_at, fingerprints, row.taken_back_at
    )
