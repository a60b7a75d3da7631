"""`propagate` and `report`: what is done for, or told of, a whole project."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tam_backend.cli.command_line import app
from tam_backend.cli.common import (
    ApiKey,
    Counted,
    Device,
    Overwrite,
    Profile,
    Project,
    Url,
    console,
    label_studio,
    progress_bar,
    say_error,
    say_note,
    settings_with,
    told_when_stopped,
)
from tam_backend.errors import LabelStudioRefusedError, StoreError, WeightsError, printable

if TYPE_CHECKING:
    from tam_backend.effort.learning_curve import Turn
    from tam_backend.effort.mask_records import TaskRecord, WorkRecord
    from tam_backend.labelstudio.starting_objects import StartReport
    from tam_backend.settings import Settings


@app.command()
def propagate(
    project: Project,
    task: Annotated[list[int] | None, typer.Option(help="Only this task; may be given again.")] = None,
    prompt_from: Annotated[
        str | None,
        typer.Option(
            metavar="predictions|TAG",
            help="Begin with a detector's predictions, or with what an ordinary tag drew; default TAM_PROMPT_FROM.",
        ),
    ] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what it would begin with.")] = False,
    profile: Profile = None,
    device: Device = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Track a project's tasks from what is on their frames, and store the masks as predictions."""
    from tam_backend.models import zoo
    from tam_backend.project_propagation import ProjectRequest, propagate_project
    from tam_backend.service.backend import Backend
    from tam_backend.service.parts import database_of
    from tam_backend.store.task_memory import TaskMemories

    settings = settings_with(
        {"profile": profile, "device": device, "label_studio_url": url, "label_studio_api_key": api_key}
    )
    client = label_studio(settings)
    zoo.require_installed(settings.profile)
    settings.data_dir.mkdir(parents=True, exist_ok=True)
    request = ProjectRequest(project, tuple(task or ()), prompt_from or "", dry_run)
    made: list[Backend] = []

    def backend() -> Backend:
        if not made:
            made.append(Backend(settings))
        return made[0]

    progress = progress_bar()
    tasks = Counted(progress, "tracking tasks")
    with told_when_stopped(lambda: _where_it_was_left(tasks.done, tasks.total, is_begun=bool(made))):
        try:
            with progress:
                outcomes = propagate_project(
                    settings,
                    client,
                    request,
                    memories=TaskMemories(database_of(settings)),
                    backend=backend,
                    on_seen=_say_how_it_begins,
                    on_progress=tasks.goes_on,
                )
        finally:
            for each in made:
                each.close()
    for outcome in outcomes:
        if outcome.state == "nothing":
            say_note(f"Task {outcome.task_id} has nothing to begin with. {outcome.message}".rstrip())
        elif not outcome.is_well:
            say_error(f"Task {outcome.task_id}: {outcome.state}. {outcome.message}", "")
    count = sum(outcome.state == ("seen" if dry_run else "done") for outcome in outcomes)
    done = "would be" if dry_run else "were"
    console.print(f"{count} of {len(outcomes)} tasks {done} tracked.", highlight=False, markup=False)
    if not count and not prompt_from and not settings.prompt_from:
        say_note(
            "Nothing but clicks and accepted masks was asked for: --prompt-from predictions, or a TAG, says what else."
        )
    if not all(outcome.is_well for outcome in outcomes):
        sys.exit(2)


@app.command()
def report(
    project: Project,
    out: Annotated[Path | None, typer.Option(help="Folder for report.html, .png, .csv and .json.")] = None,
    overwrite: Overwrite = False,
    seconds_per_mask: Annotated[
        float | None,
        typer.Option(help="To draw one mask by hand; default as measured in the project, else 79 (COCO's annotators)."),
    ] = None,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Tell what labeling a project cost people, and what the model spared them."""
    from tam_backend.effort.files import COLUMNS, DETAILS, WIDE, rows, sentences, write_report
    from tam_backend.effort.summary import summarise
    from tam_backend.labelstudio.config_xml import parse_config
    from tam_backend.labelstudio.history import read_history

    settings = settings_with({"label_studio_url": url, "label_studio_api_key": api_key})
    client = label_studio(settings)
    about = client.get_project(project)
    config = parse_config(str(about.get("label_config") or ""))
    records: list[TaskRecord] = []
    unread: list[str] = []
    with (
        told_when_stopped(
            lambda: f"{len(records)} tasks were read, and nothing was written. The same command reads anew."
        ),
        progress_bar() as progress,
    ):
        for number in progress.track(client.task_ids(project), description="reading tasks"):
            try:
                task = client.get_task(project, number)
            except LabelStudioRefusedError as error:  # deleted since they were listed
                unread.append(f"Task {number} is left out: {error.message}")
                continue
            record, left_out = read_history(task, config)
            records.append(record)
            unread += left_out
    learnt, work, turns = _what_was_learnt(settings, project)
    found = summarise(
        project,
        str(about.get("title") or ""),
        records,
        seconds_per_mask=seconds_per_mask,
        unread=unread,
        learnt=learnt,
        work={int(each.task): each for each in work if each.task.isdecimal()},
        turns=turns,
    )
    console = Console()
    # The columns would be cut to nothing; all are in the files.
    shown = [place for place, name in enumerate(COLUMNS) if console.width >= WIDE or name not in DETAILS]
    table = Table(title=escape(found.title), title_justify="left")
    for place in shown:
        table.add_column(COLUMNS[place], justify="right" if place else "left", no_wrap=place > 0)
    for row in rows(found)[:-1]:
        table.add_row(*(escape(row[place]) for place in shown))
    table.add_section()
    table.add_row(*(escape(rows(found)[-1][place]) for place in shown), style="bold")
    console.print(table)
    for sentence in sentences(found):
        console.print(sentence, highlight=False, soft_wrap=True, markup=False)
    if out is not None:
        for path in write_report(found, out, overwrite=overwrite):
            console.print(str(path), highlight=False, soft_wrap=True, markup=False)


def _where_it_was_left(done: int, total: int, *, is_begun: bool) -> str:
    """Return what is told when somebody stops `propagate`."""
    said = f"{done} of {total or 'all'} tasks are done; their masks are stored."
    if is_begun:
        said += " Those that were begun are jobs in the database: a backend that runs on it goes on with them at once."
    return f"{said} The same command goes on: of a task whose masks are there it tracks only what has changed."


def _what_was_learnt(settings: Settings, project: int) -> tuple[list[str], list[WorkRecord], list[Turn]]:
    """Return what this machine knows of the work on a project, where it reaches the backend's database.

    Returns:
        A sentence on networks that learnt from it, what people clicked in its tasks, and when networks changed.
    """
    from tam_backend.models import zoo
    from tam_backend.service.parts import database_of
    from tam_backend.service.project_curve import turns_of
    from tam_backend.store.adapted_networks import AdaptedNetworks
    from tam_backend.store.sessions import SessionStore

    if not settings.database_url and not (settings.data_dir / "tam.sqlite").is_file():
        return [], [], []
    try:
        database = database_of(settings)
        adapted, work = AdaptedNetworks(database), SessionStore(database).work(str(project))
        versions = adapted.versions(str(project))
        may_serve = versions and zoo.is_adaptable(settings.profile)
        base = zoo.profile(settings.profile).version if may_serve else ""
        own = adapted.serving(versions, base).version if base else None
    except (StoreError, WeightsError) as error:  # all else is in Label Studio
        say_note(f"What was clicked, and what networks learnt from the project, is left out: {error}")
        return [], [], []
    if not base:
        return [], work, turns_of(versions)
    serving = "the package's version" if own is None else own.name
    promoted = sum(each.state == "promoted" for each in versions)
    how_often = f"{_times(len(versions))}, {_times(promoted)} for the better"
    learnt = f"Networks learnt from the project {how_often}; {serving} serves."
    return [learnt], work, turns_of(versions)


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


def _say_how_it_begins(task: int, reports: Sequence[StartReport]) -> None:
    for report in reports:
        for sentence in report.sentences():
            console.print(printable(f"Task {task}: {sentence}"), highlight=False, markup=False, soft_wrap=True)
