"""What pages show of networks that learnt from a project: figures, and whether videos take less of people since."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timezone
from typing import TYPE_CHECKING
from urllib.parse import quote

from markupsafe import Markup

from tam_backend.effort.chart import as_svg
from tam_backend.effort.learning_chart import learning_charts
from tam_backend.effort.learning_curve import stage_rows, what_changed
from tam_backend.service.project_curve import curve_of
from tam_backend.store.adapted_networks import AdaptedVersion, Figure, PictureNote, Serving

if TYPE_CHECKING:
    from tam_backend.service.backend import Backend

_VERSIONS, _VIDEOS, _STAGES, _PROJECTS = 5, 40, 6, 10


@dataclass(frozen=True)
class ShownPicture:
    """A picture of what a version learnt, at an address relative to the status page; see `PictureNote`."""

    address: str
    note: PictureNote


@dataclass(frozen=True)
class VersionRow:
    """A version as pages show it, its own page relative to the status page; see `AdaptedVersion`."""

    name: str
    state: str
    serves: bool
    is_damaged: bool
    reason: str
    figures: tuple[Figure, ...]
    videos: int
    made_at: datetime
    page: str
    pictures: tuple[ShownPicture, ...]


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


def adapted_projects(versions: Sequence[AdaptedVersion], backend: Backend) -> list[AdaptedProject]:
    """Return what is shown of each project, the one that learnt last first.

    Args:
        versions: of any projects, newest first.
        backend: knows what videos took, and the pictures.
    """
    by_project: dict[str, list[AdaptedVersion]] = {}
    for each in versions:
        by_project.setdefault(each.project, []).append(each)
    return [_project(project, found, backend) for project, found in list(by_project.items())[:_PROJECTS]]


def version_row(
    version: AdaptedVersion,
    serving: Serving,
    pictures: Mapping[int, Sequence[PictureNote]],
) -> VersionRow:
    """Return what is shown of a version.

    Args:
        version: any.
        serving: which networks serve its project.
        pictures: number of a version -> what its pictures show.
    """
    page = f"networks/{quote(version.project, safe='')}/{version.number}"
    return VersionRow(
        version.name,
        serving.state_of(version),
        version == serving.version,
        version == serving.damaged,
        version.findings.reason,
        version.findings.figures,
        len(version.findings.learnt_from) + len(version.findings.held_out),
        datetime.fromtimestamp(version.made_at, timezone.utc),
        page,
        tuple(ShownPicture(f"{page}/{place}.jpg", note) for place, note in enumerate(pictures.get(version.number, ()))),
    )


def _project(project: str, versions: Sequence[AdaptedVersion], backend: Backend) -> AdaptedProject:
    pictures, serving = backend.learnt_pictures(project), backend.serving(versions)
    rows = tuple(version_row(each, serving, pictures) for each in versions[:_VERSIONS])
    curve = curve_of(project, backend.store.work(project, _VIDEOS), versions)
    charts = tuple(Markup(as_svg(each)) for each in learning_charts(curve))  # noqa: S704 - as_svg escapes all texts
    return AdaptedProject(
        project, rows, charts, tuple(stage_rows(curve))[-_STAGES:], tuple(what_changed(curve) if charts else ())
    )
