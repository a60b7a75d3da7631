"""`suggest`: which tasks of a project to open next, and where to look."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Annotated

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from tam_backend.cli.command_line import app
from tam_backend.cli.common import (
    ApiKey,
    Project,
    Url,
    label_studio,
    progress_bar,
    say_note,
    settings_with,
    told_when_stopped,
)

if TYPE_CHECKING:
    from tam_backend.labelstudio.client import TaskProgress
    from tam_backend.session.tasks_by_gain import TaskGain
    from tam_backend.settings import Settings
    from tam_backend.store.sessions import SessionStore, SessionView
    from tam_backend.store.shown_media import ShownMedia


@app.command()
def suggest(
    project: Project,
    count: Annotated[int, typer.Option(min=1, help="How many tasks to name.")] = 20,
    url: Url = None,
    api_key: ApiKey = None,
) -> None:
    """Name the tasks that are worth opening next: where one more look is expected to mend most masks."""
    from tam_backend.labelstudio.config_xml import read_config
    from tam_backend.session.tasks_by_gain import tasks_by_gain

    settings = settings_with({"label_studio_url": url, "label_studio_api_key": api_key})
    client = label_studio(settings)
    read_config(str(client.get_project(project).get("label_config") or ""))  # raises where nothing can be tracked
    stored = _Stored(settings, project)
    with told_when_stopped(lambda: "Nothing was changed. The same command begins anew."), progress_bar() as progress:
        bar = progress.add_task("reading tasks", total=None)
        people = {str(each.task): each for each in client.progress(project)}
        ordered = tasks_by_gain(
            ((task, stored.session(task)) for task in progress.track(list(people), task_id=bar)),
            submitted={task for task, each in people.items() if each.submitted},
        )
    if not people:
        say_note(f"Project {project} has no tasks: `tam-backend import` makes some.")
        return
    table = Table(title=f"Project {project}: what to open next", title_justify="left")
    table.add_column("Task", justify="right")
    table.add_column("Mends", justify="right")
    for name in ("What is to be done", "Page", "Object", "Submitted"):
        table.add_column(name, justify="right" if name == "Page" else "left")
    for each in ordered[:count]:
        place, done = _place(each, stored), _submitted(people[each.task])
        table.add_row(each.task, f"{each.gain:.1f}", each.state, place, escape(each.label), done)
    console = Console()
    console.print(table)
    console.print(
        "Mends: how many wrong or missing masks one more look is expected to mend; two half wrong ones count as one. "
        "A page counts from 1; a frame is one of a video's file, from 0, as on the backend's page of the task.",
        highlight=False,
        soft_wrap=True,
    )


class _Stored:
    """What the backend's database has of a project's tasks; of several sessions of one, that which was worked on last.

    Args:
        settings: where the database is.
        project: Label Studio's.
    """

    def __init__(self, settings: Settings, project: int) -> None:
        from tam_backend.service.parts import database_of
        from tam_backend.store.sessions import SessionStore
        from tam_backend.store.shown_media import ShownMedia

        self._project = str(project)
        # A database that is not there would be made.
        if settings.database_url or (settings.data_dir / "tam.sqlite").is_file():
            database = database_of(settings)
            self._sessions: SessionStore | None = SessionStore(database)
            self._media: ShownMedia | None = ShownMedia(database)
            return
        say_note(f"Nothing is stored in {settings.data_dir}: run this where the backend runs, or set TAM_DATABASE_URL.")
        self._sessions, self._media = None, None

    def session(self, task: str) -> SessionView | None:
        """Return a task's session; None where it has none."""
        return None if self._sessions is None else self._sessions.find(self._project, task)

    def is_video(self, task: str) -> bool:
        """Whether a task's session is of a video's file, and not of pages."""
        if self._sessions is None or self._media is None:
            return False
        summary = self._sessions.find_summary(self._project, task)
        shown = None if summary is None else self._media.get(summary.key)
        if summary is None or shown is None:
            return False
        # An image has one address, too, and one frame.
        return summary.frames > 1 and isinstance(json.loads(shown[0]), str)


def _place(each: TaskGain, stored: _Stored) -> str:
    """Say where to look. Which frame a <Video> shows when is known only with its file, see `VideoClock`."""
    if each.look is None:
        return ""
    return f"frame {each.look.frame}" if stored.is_video(each.task) else str(each.look.frame + 1)


def _submitted(people: TaskProgress) -> str:
    return "yes" if people.submitted else "skipped" if people.skipped else "no"
