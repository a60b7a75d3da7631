"""`tam-backend propagate` without its command line: the tasks of a project are tracked, and predictions are stored.

The work are jobs in the database, as after a submitted annotation: this process does them, and so does every other one
of the backend. What is prompted with is told before.

The tasks of a chain are tracked one after the other, each once: what one ends with begins the next. Only those that are
wanted are: the chain stops before a task that nobody asked for, and goes on behind it with what that ended with when
it was last tracked. After a correction it does not stop there: the next task then follows where what it begins with has
changed. It catches up at the next correction, since what it would begin with is noted only when it is tracked.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Protocol

from tam_backend.errors import LabelConfigError, TamError
from tam_backend.jobs.records import Intent, JobView
from tam_backend.labelstudio.config import LabelingConfig, MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.starting_objects import StartReport
from tam_backend.labelstudio.starting_regions import check_source
from tam_backend.service.backend import Backend
from tam_backend.service.chain import next_task, previous_task
from tam_backend.service.glance import Glance, glance
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
        state: of its job, see `JobState`; "nothing": there was nothing to prompt with; "unread"; "not tracked": a task
            before it in its chain went wrong; "seen" in a dry run.
        message: why, where that needs to be said.
    """

    task_id: int
    state: str
    message: str = ""

    @property
    def is_well(self) -> bool:
        """Whether nothing went wrong."""
        return self.state in ("done", "nothing", "seen")


@dataclass(frozen=True)
class _Seen:
    """A task as it was looked at.

    Args:
        intent: what its job is to do.
        begins: with what.
    """

    intent: Intent
    begins: Glance

    @property
    def number(self) -> int:
        return self.intent.task_id

    @property
    def before(self) -> int | None:
        """The task before it in its chain."""
        return previous_task(self.intent.task["data"])

    @property
    def following(self) -> int | None:
        """The task after it in its chain."""
        return next_task(self.intent.task["data"])


@dataclass(frozen=True)
class _Tasks:
    """Looks at the tasks of a project.

    Args:
        client, request, memories, settings: see `propagate_project`.
        label_config: the project's.
        outcomes: where it is noted which cannot be read.
    """

    client: TasksClient
    request: ProjectRequest
    label_config: str
    memories: TaskMemories
    settings: Settings
    outcomes: dict[int, TaskOutcome]

    def see(self, number: int) -> _Seen | None:
        """Look at a task; None: it cannot be read, which is noted."""
        project, source = self.request.project, self.request.prompt_from
        try:
            task = self.client.get_task(project, number)
            intent = Intent(str(project), number, _current(task), None, self.label_config, prompt_from=source)
            return _Seen(intent, glance(intent, self.memories, self.settings))
        except TamError as error:  # the others shall be tracked
            self.outcomes[number] = TaskOutcome(number, "unread", str(error))
            return None


@dataclass
class _Run:
    """Tasks of a chain that are tracked one after the other; one that is in no chain is a run of its own.

    Args:
        tasks: in the order of the chain.
        at: which of them is at work.
        older_jobs: ids of those that were there before that was queued: what became of them says nothing of the run.
    """

    tasks: tuple[int, ...]
    at: int = 0
    older_jobs: frozenset[str] = frozenset()


class _AtWork:
    """The runs whose tasks are tracked, each by one job at a time.

    Args:
        project: Label Studio's id of it.
        backend: does the work; asked for when there is any.
        see: see `_Tasks`.
        outcomes: where it is noted what became of tasks.
    """

    def __init__(
        self,
        project: str,
        backend: Callable[[], Backend],
        see: Callable[[int], _Seen | None],
        outcomes: dict[int, TaskOutcome],
    ) -> None:
        self._project = project
        self._backend = backend
        self._see = see
        self._outcomes = outcomes
        self._runs: list[_Run] = []
        self._queued: set[int] = set()

    def begin(self, first: _Seen, tasks: tuple[int, ...]) -> None:
        """Have a run tracked that begins with a task that was looked at."""
        run = _Run(tasks)
        if self._queue(run, first):
            self._runs.append(run)

    def look(self) -> int:
        """Note what became of tasks; return how many runs go on, or how many jobs where there is none of these."""
        if not self._queued:
            return 0
        jobs = [
            job
            for job in self._backend().jobs.all()
            if job.project == self._project and isinstance(job.task_id, int) and job.task_id in self._queued
        ]
        self._runs = [run for run in self._runs if self._goes_on(run, jobs)]
        # An annotator may have said something of a task meanwhile: who hears that all is done closes the backend.
        return len(self._runs) or sum(job.ended_at is None for job in jobs)

    def _goes_on(self, run: _Run, jobs: Sequence[JobView]) -> bool:
        """Move a run on past its jobs that ended; False: all have. `jobs` are the newest first."""
        newest: dict[int | str | None, JobView] = {}
        for job in jobs:
            if job.id not in run.older_jobs:
                newest.setdefault(job.task_id, job)
        while True:
            number = run.tasks[run.at]
            if number not in newest or newest[number].ended_at is None:
                return True
            outcome = TaskOutcome(number, newest[number].state, newest[number].message)
            self._outcomes[number] = outcome
            run.at += 1
            if run.at == len(run.tasks):
                return False
            # A job queues its successor before it ends, but where nothing was left on its last frame.
            if run.tasks[run.at] in newest:
                continue
            if outcome.is_well:
                return self._queue(run, None)
            self._leave_out(run, outcome)
            return False

    def _queue(self, run: _Run, seen: _Seen | None) -> bool:
        """Queue the first task, from where a run is, that has anything to begin with; False: there is none.

        `seen` is that where it is, if it was looked at already.
        """
        while run.at < len(run.tasks):
            number = run.tasks[run.at]
            seen = seen or self._see(number)
            if seen is None:
                self._leave_out(run, self._outcomes[number], after=1)
                return False
            if seen.begins.objects:
                self._queued.update(run.tasks)
                run.older_jobs = frozenset(job.id for job in self._backend().jobs.all())
                self._backend().propagate_later(replace(seen.intent, chain=run.tasks))
                return True
            self._outcomes[number] = TaskOutcome(number, "nothing", seen.begins.why_nothing)
            run.at, seen = run.at + 1, None
        return False

    def _leave_out(self, run: _Run, cause: TaskOutcome, after: int = 0) -> None:
        """Note that the tasks from where a run is are not tracked, since one before them went wrong."""
        for number in run.tasks[run.at + after :]:
            self._outcomes[number] = _left_out(number, cause)


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
    _require_masks(config, request.project)
    if request.prompt_from:
        check_source(request.prompt_from, config)
    wanted = dict.fromkeys(sorted(request.tasks or client.task_ids(request.project)))
    outcomes: dict[int, TaskOutcome] = {}
    taken: set[int] = set()

    see = _Tasks(client, request, label_config, memories, settings, outcomes).see
    at_work = _AtWork(str(request.project), backend, see, outcomes)

    def settle(room: int) -> None:
        """Wait until no more than so many chains are at work."""
        while True:
            left = at_work.look()
            on_progress(len(outcomes), len(wanted))
            if left <= room:
                return
            time.sleep(_LOOK_S)

    def go(first: _Seen) -> None:
        """Track a task, and those that are wanted after it in its chain."""
        run: dict[int, Glance] = {}
        seen: _Seen | None = first
        while seen is not None:
            run[seen.number] = seen.begins
            taken.add(seen.number)
            on_seen(seen.number, seen.begins.reports)
            following = seen.following
            is_next = following in wanted and following not in taken and following not in outcomes
            seen = see(following) if following is not None and is_next else None
        if not request.dry_run:
            at_work.begin(first, tuple(run))
            return
        begun = False
        for number, begins in run.items():
            begun = begun or begins.objects > 0  # what one begins with goes on in the next
            outcomes[number] = (
                TaskOutcome(number, "seen") if begun else TaskOutcome(number, "nothing", begins.why_nothing)
            )

    def set_out(number: int, *, may_wait: bool) -> bool:
        """Track what begins with a task; False: a chain will come to it."""
        if number in taken or number in outcomes or (seen := see(number)) is None:
            return True
        before = seen.before
        if before in outcomes and before not in taken:
            outcomes[number] = _left_out(number, outcomes[before])
        elif may_wait and before in wanted and before not in taken:
            return False
        else:
            go(seen)
        return True

    put_off = []
    for number in wanted:
        if not set_out(number, may_wait=True):
            put_off.append(number)
        settle(_AT_ONCE - 1)
    for number in put_off:  # what no chain came to: its task before cannot be read, or does not name it
        set_out(number, may_wait=False)
        settle(_AT_ONCE - 1)
    settle(0)
    return [outcomes[number] for number in wanted]


def _require_masks(config: LabelingConfig, project: int) -> None:
    if any(config.mask_outputs(media) for media in config.media):
        return
    raise LabelConfigError(
        f"Project {project} shows a <Video>, which takes boxes and no masks; boxes are tracked in the editor, when "
        "somebody chooses a label for one."
        if any(media.kind is MediaKind.VIDEO for media in config.media)
        else f"No tag of project {project} takes masks.",
        f"For masks, `tam-backend import --from-project {project}` makes pages of frames of its videos, with their "
        "boxes, in a project of their own; `tam-backend import --config` prints a labeling config that takes masks.",
    )


def _left_out(number: int, cause: TaskOutcome) -> TaskOutcome:
    """Return what is told of a task after one of its chain that went wrong, whose word on it begins with its reason."""
    said = f"Task {cause.task_id}, before it in its chain, ended as: {cause.state}. {cause.message}".rstrip()
    return TaskOutcome(number, "not tracked", said)


def _current(task: Mapping[str, Any]) -> dict[str, Any]:
    """Return a task without the annotations that were skipped, as the loop reads it."""
    annotations = [each for each in task["annotations"] if not each.get("was_cancelled")]
    return {**task, "annotations": annotations}
