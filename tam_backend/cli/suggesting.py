"""`suggest`: which tasks of a project to open next, and where to look."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tam_backend.cli.command_line import app
from tam_backend.cli.common import ApiKey, Project, Url, label_studio, say_note, settings_with
from tam_backend.errors import LabelStudioRefusedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from tam_backend.labelstudio.client import LabelStudioClient
    from tam_backend.settings import Settings
    from tam_backend.store.sessions import SessionView


@app.command()
def suggest(
    project: Project,
    count: Annotated[int, typer.Option(min=1, help="How many tasks to name.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Name the tasks that are worth opening next: where one more look is expected to mend most masks."""
    from tam_backend.session.tasks_by_gain import tasks_by_gain

    settings = settings_with({"label_studio_url": url, "label_studio_api_key": api_key})
    client = label_studio(settings)
    ordered = tasks_by_gain(_with_what_is_stored(settings, project, client.task_ids(project)))
    table = Table(title=f"Project {project}: what to open next", title_justify="left")
    table.add_column("Task", justify="right")
    table.add_column("Mends", justify="right")
    for name in ("What is to be done", "Page", "Object", "Submitted"):
        table.add_column(name, justify="right" if name == "Page" else "left")
    for each in ordered[:count]:
        page = "" if each.look is None else str(each.look.frame + 1)
        submitted = _is_submitted(client, int(each.task))
        table.add_row(each.task, f"{each.gain:.1f}", each.state, page, escape(each.label), submitted)
    console = Console()
    console.print(table)
    console.print(
        "Mends: how many wrong or missing masks one more look is expected to mend; two half wrong ones count as one.",
        highlight=False,
        soft_wrap=True,
    )


def _with_what_is_stored(
    settings: Settings, project: int, tasks: Sequence[int]
) -> Iterator[tuple[str, SessionView | None]]:
    """Yield each task with its session, of several the one that was worked on last."""
    from tam_backend.service.parts import database_of
    from tam_backend.store.sessions import SessionStore

    # A database that is not there would be made.
    if not settings.database_url and not (settings.data_dir / "tam.sqlite").is_file():
        say_note(f"Nothing is stored in {settings.data_dir}: run this where the backend runs, or set TAM_DATABASE_URL.")
        yield from ((str(task), None) for task in tasks)
        return
    store = SessionStore(database_of(settings))
    yield from ((str(task), store.find(str(project), str(task))) for task in tasks)


def _is_submitted(client: LabelStudioClient, task: int) -> str:
    try:
        return "yes" if client.annotations(task) else "no"
    except LabelStudioRefusedError:  # deleted since they were listed
        return "deleted"
