"""`tam-backend propagate` without its command line: the tasks of a project are tracked, and predictions are stored.

The work are jobs in the database, as after a submitted annotation: this process does them, and so does every other one
of the backend. What is prompted with is told before.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from tam_backend.errors import TamError
from tam_backend.jobs.records import Intent, JobView
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.starting_objects import StartReport
from tam_backend.labelstudio.starting_regions import check_source
from tam_backend.service.backend import Backend
from tam_backend.service.glance import glance
from tam_backend.settings import Settings
from tam_backend.store.task_memory import TaskMemories

# A queued job holds its whole task: a project of thousands would fill the database.
_AT_ONCE = 8
_LOOK_S = 0.5


class TasksClient(Protocol):
    """What is needed of Label Studio's API."""

    def get_project(self, project_id: int) -> Mapping[str, Any]:
        """Return a project, its `label_config` included."""

    def task_ids(self, project_id: int) -> Sequence[int]:
        """Return the ids of all its tasks."""

    def get_task(self, project_id: int, task_id: int) -> Mapping[str, Any]:
        """Return a task: its id, data, annotations and predictions."""


@dataclass(frozen=True)
class ProjectRequest:
    """What is to be tracked.

    Args:
        project: Label Studio's id of it.
        tasks: only these; none: all.
        prompt_from: what else is prompted with, see `starting_regions`; "" = as the config and the settings say.
        dry_run: only tell what would be prompted with.
    """

    project: int
    tasks: tuple[int, ...] = ()
    prompt_from: str = ""
    dry_run: bool = False


@dataclass(frozen=True)
class TaskOutcome:
    """What became of a task.

    Args:
        task_id: Label Studio's.
        state: of its job, see `JobState`; "nothing": there was nothing to prompt with; "unread"; "seen" in a dry run.
        message: why, where that needs to be said.
    """

    task_id: int
    state: str
    message: str = ""

    @property
    def is_well(self) -> bool:
        """Whether nothing went wrong."""
        return self.state in ("done", "nothing", "seen")


def propagate_project(
    settings: Settings,
    client: TasksClient,
    request: ProjectRequest,
    *,
    memories: TaskMemories,
    backend: Callable[[], Backend],
    on_seen: Callable[[int, Sequence[StartReport]], None] = lambda task, reports: None,  # noqa: ARG005 - says nothing
    on_progress: Callable[[int, int], None] = lambda done, total: None,  # noqa: ARG005 - the same
) -> list[TaskOutcome]:
    """Track the tasks of a project from all that humans said there, and from what is asked for besides.

    Args:
        settings: of the backend.
        client: Label Studio.
        request: what is wanted.
        memories: what is known of tasks.
        backend: returns who does the work, the same each time; asked for when there is any, since it loads networks.
        on_seen: called with each task and how its prompts were found, before it is tracked.
        on_progress: called with how many tasks are done, of how many.

    Returns:
        What became of each task, in the order of their ids.

    Raises:
        LabelConfigError: the project takes no masks, or prompts cannot come from there.
        LabelStudioError: the project cannot be read.
    """
    label_config = str(client.get_project(request.project).get("label_config") or "")
    config = parse_config(label_config)
    if request.prompt_from:
        check_source(request.prompt_from, config)
    wanted = sorted(request.tasks or client.task_ids(request.project))
    outcomes: dict[int, TaskOutcome] = {}
    waiting: set[int] = set()

    def settle(room: int) -> None:
        """Wait until no more than so many tasks are at work."""
        while True:
            if waiting:
                ended = _ended(backend().jobs.all(), str(request.project), waiting)
                outcomes.update(ended)
                waiting.difference_update(ended)
            on_progress(len(outcomes), len(wanted))
            if len(waiting) <= room:
                return
            time.sleep(_LOOK_S)

    for number in wanted:
        try:
            task = client.get_task(request.project, number)
            intent = Intent(
                str(request.project), number, _current(task), None, label_config, prompt_from=request.prompt_from
            )
            objects, reports = glance(intent, memories, settings)
        except TamError as error:  # the others shall be tracked
            outcomes[number] = TaskOutcome(number, "unread", str(error))
            continue
        on_seen(number, reports)
        if not objects or request.dry_run:
            outcomes[number] = TaskOutcome(number, "seen" if objects else "nothing")
            continue
        backend().propagate_later(intent)
        waiting.add(number)
        settle(_AT_ONCE - 1)
    settle(0)
    return [outcomes[number] for number in wanted]


def _current(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task without the annotations that were skipped, as the loop reads it."""
    annotations = [each for each in task["annotations"] if not each.get("was_cancelled")]
    return {**task, "annotations": annotations}


def _ended(jobs: Iterable[JobView], project: str, tasks: set[int]) -> dict[int, TaskOutcome]:
    """Return what became of tasks whose newest job has ended; `jobs` are the newest first."""
    newest: dict[int, JobView] = {}
    for job in jobs:
        if job.project == project and isinstance(job.task_id, int) and job.task_id in tasks:
            newest.setdefault(job.task_id, job)
    return {
        number: TaskOutcome(number, job.state, job.message)
        for number, job in newest.items()
        if job.ended_at is not None
    }
