"""`adapt`: the networks learn from what people submitted of a project; or what they learnt is shown, or taken back."""

from __future__ import annotations

import time
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from tam_backend.cli.command_line import app
from tam_backend.cli.common import (
    ApiKey,
    Project,
    Url,
    console,
    label_studio,
    minutes_number,
    say,
    say_note,
    settings_with,
    told_when_stopped,
)
from tam_backend.errors import InvalidInputError, printable
from tam_backend.settings import Settings

if TYPE_CHECKING:
    from tam_backend.jobs.registry import Job, JobRegistry
    from tam_backend.service.parts import Parts
    from tam_backend.service.project_learning import Learn
    from tam_backend.store.adapted_networks import AdaptedVersion, Serving
    from tam_backend.types import VideoSource

_SHOW_S = 0.5


@app.command()
def adapt(
    project: Project,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what there is to learn from.")] = False,
    minutes: Annotated[
        float | None,
        typer.Option(
            parser=minutes_number,
            metavar="NUMBER",
            help="How long it may take, with measuring; default TAM_ADAPT_MINUTES.",
        ),
    ] = None,
    rollback: Annotated[
        bool,
        typer.Option(
            "--rollback", help="Take back, for good, the version that serves (or is damaged), no other; learn nothing."
        ),
    ] = False,
    list_: Annotated[bool, typer.Option("--list", help="Show the versions that there are; learn nothing.")] = False,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Let the networks learn from a project's corrected videos. A version serves only if it is better beyond doubt.

    TAM_ADAPT binds the server alone: also where it is off this command learns, since somebody asks for it.
    """
    from tam_backend.models import zoo
    from tam_backend.service.parts import Parts
    from tam_backend.service.project_learning import cannot_learn

    if dry_run + rollback + list_ > 1:
        raise InvalidInputError("--dry-run, --list and --rollback are three different things.", "Ask for one of them.")
    settings = settings_with({"label_studio_url": url, "label_studio_api_key": api_key, "adapt_minutes": minutes})
    if not zoo.is_adaptable(settings.profile):
        raise cannot_learn(settings.profile)
    base = zoo.profile(settings.profile).version
    if list_:
        _list(settings, Parts.of(settings), str(project), base)
    elif rollback:
        _roll_back(Parts.of(settings), project, base)
    else:
        label_studio(settings).get_project(project)  # says what is missing, or wrong, before anything is begun
        parts = Parts.of(settings)
        if dry_run:
            _say_what_there_is(settings, parts, project)
        else:
            _learn(settings, parts, project)


def _show(versions: list[AdaptedVersion], serving: Serving) -> None:
    for each in versions:
        made = datetime.fromtimestamp(each.made_at, timezone.utc).strftime("%Y-%m-%d %H:%M UTC")
        typer.echo(f"{each.name}  {made}  {serving.state_of(each)}")
        for figure in each.findings.figures:
            typer.echo(f"  {figure.name}: {figure.before:.1f} -> {figure.after:.1f}, {figure.gain}")
        typer.echo(f"  {printable(each.findings.reason)}")


def _list(settings: Settings, parts: Parts, project: str, base: str) -> None:
    versions, pictures = parts.adapted.versions(project), parts.adapted.pictures(project)
    _show(versions, parts.adapted.serving(versions, base))
    if not versions:
        say_note(_nothing_learnt(parts, project))
    for each in versions:
        if each.number in pictures:
            where = f"{settings.connect_url}/networks/{project}/{each.number}"
            say(f"{len(pictures[each.number])} pictures of what {each.short_name} learnt: {where}")


def _nothing_learnt(parts: Parts, project: str) -> str:
    """Say that no networks learnt from a project; Label Studio, which knows whether there is one, may be away."""
    from tam_backend.store.connected import ConnectedProjects

    if ConnectedProjects(parts.database).is_known(project) or parts.store.work(project, 1):
        return "The networks have not learnt from this project yet: the package's serve."
    return (
        f"Nothing is known here of project {project}: no networks learnt from it, no task of it was clicked in, and it "
        "is not among those that were connected last. Whether Label Studio has it was not asked."
    )


def _roll_back(parts: Parts, project: int, base: str) -> None:
    taken_back = parts.adapted.roll_back(str(project), base)
    serving = parts.adapted.served(str(project), base)
    say(f"{taken_back.name} is taken back; {base if serving is None else serving.name} serves project {project}.")


def _say_what_there_is(settings: Settings, parts: Parts, project: int) -> None:
    from tam_backend.adaptation.outcome import AdaptationLimits
    from tam_backend.submitted_videos import submitted_videos

    client = parts.label_studio.client
    assert client is not None  # noqa: S101 - the settings name an address and a key
    most = AdaptationLimits(60 * settings.adapt_minutes).most_videos

    def open_media(value: Any, task: int) -> VideoSource:
        return parts.fetcher.open_media(value, task_id=task)

    with submitted_videos(client, project, open_media, most=most) as found:
        for sentence in found.left_out:
            say_note(sentence)
        for video in found.videos:
            say(f"{video.name}: {len(video.masks)} of {len(video.video)} frames to learn from.")


def _learn(settings: Settings, parts: Parts, project: int) -> None:
    from tam_backend.jobs.records import Intent
    from tam_backend.jobs.registry import JobRegistry
    from tam_backend.jobs.store import JobStore
    from tam_backend.service.adapting_process import learn_elsewhere
    from tam_backend.service.project_learning import Learning
    from tam_backend.store.unlearnt_videos import UnlearntVideos

    jobs = JobRegistry(JobStore(parts.database, parts.holders, settings.lease_s, backend_url=settings.own_url))
    intent = Intent.to_adapt(str(project), 60 * settings.adapt_minutes, only_if_new=False)
    unlearnt = UnlearntVideos(parts.database)
    with (
        told_when_stopped(
            lambda: (
                "Nothing was promoted. What was learnt so far is kept, but for the last seconds at times: the same "
                "command goes on from there once it has read anew what people submitted, unless that has changed."
            )
        ),
        Progress(TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn(), console=console) as progress,
        jobs.start(None, str(project), 100, intent=intent) as job,
    ):
        learn = _shown(learn_elsewhere, jobs, job, progress)
        made = Learning(settings, parts.adapted, unlearnt, parts.problems, learn).carry_out(intent, job)
    if made is not None:
        for note in made.findings.notes:
            say_note(note)
        _show([made], parts.adapted.serving([made], made.base))
        say(_WHAT_FOLLOWS[made.state])


_WHAT_FOLLOWS = {
    "promoted": "This version serves the project from now on, for every task that is opened anew.",
    "refused": "This version is thrown away; nothing has changed.",
}


def _shown(learn: Learn, jobs: JobRegistry, job: Job, progress: Progress) -> Learn:
    """Return what learns and, while it does, shows people how far it is and lets other processes hear of it."""
    bar = progress.add_task("starting", total=100)
    shown_s = 0.0

    def asked_to_stop(cancelled: bool) -> bool:
        nonlocal shown_s
        if time.monotonic() - shown_s > _SHOW_S:
            shown_s = time.monotonic()
            jobs.exchange()
            progress.update(bar, completed=job.frames_done, description=printable(job.message))
        return cancelled

    return lambda order, told, cancelled: learn(order, told, lambda: asked_to_stop(cancelled()))
