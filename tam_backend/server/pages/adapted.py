"""What pages show of networks that learnt from a project: figures, and whether videos take less of people since."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timezone

from markupsafe import Markup

from tam_backend.effort.chart import as_svg
from tam_backend.effort.learning_chart import learning_charts
from tam_backend.effort.learning_curve import stage_rows, what_changed
from tam_backend.service.project_curve import curve_of
from tam_backend.store.adapted_networks import AdaptedVersion, Figure
from tam_backend.store.sessions import SessionStore

_VERSIONS, _VIDEOS, _STAGES, _PROJECTS = 5, 40, 6, 10


@dataclass(frozen=True)
class VersionRow:
    """A version as pages show it; see `AdaptedVersion`."""

    name: str
    state: str
    serves: bool
    reason: str
    figures: tuple[Figure, ...]
    videos: int
    made_at: datetime


@dataclass(frozen=True)
class AdaptedProject:
    """A project's networks.

    Args:
        project: Label Studio's.
        versions: the last few, newest first.
        charts: an <svg> each of what its videos took; none before any was worked on.
        stages: what the last of them took before and after networks changed; see `stage_rows`.
        changed: the same in sentences.
    """

    project: str
    versions: tuple[VersionRow, ...]
    charts: tuple[Markup, ...]
    stages: tuple[tuple[str, ...], ...]
    changed: tuple[str, ...]


def adapted_projects(versions: Sequence[AdaptedVersion], base: str, store: SessionStore) -> list[AdaptedProject]:
    """Return what is shown of each project, the one that learnt last first.

    Args:
        versions: of any projects, newest first.
        base: the version of the package's networks.
        store: knows what videos took.
    """
    by_project: dict[str, list[AdaptedVersion]] = {}
    for each in versions:
        by_project.setdefault(each.project, []).append(each)
    return [_project(project, found, base, store) for project, found in list(by_project.items())[:_PROJECTS]]


def _project(project: str, versions: Sequence[AdaptedVersion], base: str, store: SessionStore) -> AdaptedProject:
    serving = next((each.number for each in versions if each.can_serve and each.base == base), None)
    rows = tuple(
        VersionRow(
            each.name,
            each.state,
            each.number == serving,
            each.findings.reason,
            each.findings.figures,
            len(each.findings.learnt_from) + len(each.findings.held_out),
            datetime.fromtimestamp(each.made_at, timezone.utc),
        )
        for each in versions[:_VERSIONS]
    )
    curve = curve_of(project, store.work(project, _VIDEOS), versions)
    charts = tuple(Markup(as_svg(each)) for each in learning_charts(curve))  # noqa: S704 - as_svg escapes all texts
    return AdaptedProject(
        project, rows, charts, tuple(stage_rows(curve))[-_STAGES:], tuple(what_changed(curve) if charts else ())
    )
