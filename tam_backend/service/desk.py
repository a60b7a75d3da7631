"""What every verb of the service works with: how tasks are read and opened, and what is said of them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from tam_backend.errors import BusyError, CancelledError, StoreError, TamError
from tam_backend.jobs.registry import JobRegistry
from tam_backend.labelstudio.config import LabelingConfig, Media
from tam_backend.labelstudio.results import prediction
from tam_backend.problems import ProblemLog
from tam_backend.service.label_studio_access import LabelStudioAccess
from tam_backend.service.page_frames import TaskMedia
from tam_backend.service.read_task import MaskAnswer, ReadTask, as_answer, read
from tam_backend.service.views import view_of
from tam_backend.store.adapted_networks import AdaptedNetworks
from tam_backend.store.task_memory import TaskMemories
from tam_backend.workers.workers import OpenView, Tracking, Work, Workers

logger = logging.getLogger(__name__)

# A prediction under another version than the current one is asked for again.
INCOMPLETE = " (incomplete)"

_Found = TypeVar("_Found")


@dataclass(frozen=True, eq=False)
class Request:
    """What all tasks of one /predict have in common."""

    config: LabelingConfig
    label_config: str
    context: Mapping[str, Any] | None
    project: str
    deadline_s: float
    cancelled: Callable[[], bool]

    @property
    def seconds_left(self) -> float:
        """How long the answer may still take."""
        return self.deadline_s - time.monotonic()


@dataclass(frozen=True, eq=False)
class Desk:
    """The backend's parts, as the verbs see them. Thread-safe.

    Args:
        jobs, problems, memories: of the backend.
        label_studio: the way to it.
        workers: have the networks.
        media: remembers what tasks show, for their pages.
        propagate_label: see `read_task`.
        prompt_from: the setting; see `read_task.read`.
        polygon_tolerance_px: see `encode_polygon`.
        version: of the networks of the profile, which have learnt from no project.
        adapted: those that learnt from one.
    """

    jobs: JobRegistry
    problems: ProblemLog
    memories: TaskMemories
    label_studio: LabelStudioAccess
    workers: Workers
    media: TaskMedia
    propagate_label: str
    prompt_from: str
    polygon_tolerance_px: float
    version: str
    adapted: AdaptedNetworks

    def answer(
        self, results: Sequence[Mapping[str, Any]], score: float | None, version: str, *, complete: bool = True
    ) -> dict[str, Any]:
        """Return results as a prediction of networks of a version; one that is not `complete` is asked for again."""
        return prediction(results, score, version + ("" if complete else INCOMPLETE))

    def version_of(self, project: str) -> str:
        """Return the version of the networks that a project's tasks are opened with, if they are opened now."""
        try:
            own = self.adapted.served(project, self.version)
        except StoreError as error:
            self.problems.failed(f"project {project}, its own networks", error)
            own = None
        return self.version if own is None else own.name

    def of_each(
        self, task: Mapping[str, Any], media: Sequence[Media], work: Callable[[Media], _Found]
    ) -> tuple[list[_Found], bool]:
        """Return what comes of each media of a task, and whether all went well; one that fails is noted.

        Raises:
            TamError: nothing came of any.
        """
        found: list[_Found] = []
        errors: list[TamError] = []
        for each in media:
            try:
                found.append(work(each))
            except (BusyError, CancelledError):  # noqa: PERF203 - media are few
                raise
            except TamError as error:
                self.problems.failed(f"task {task.get('id')}, {each.name}", error)
                errors.append(error)
        if errors and not found:
            raise errors[0]
        return found, not errors

    def read(
        self,
        task: Mapping[str, Any],
        context: Mapping[str, Any] | None,
        config: LabelingConfig,
        project: str,
        unsaved: Sequence[Mapping[str, Any]] = (),
        *,
        annotator: str | None = None,
        medium: Media | None = None,
        prompt_from: str = "",
    ) -> ReadTask:
        """Read one medium of a task, and note what of it cannot be used; see `read_task.read`."""
        known = read(
            task,
            context,
            config,
            self.memories,
            project=project,
            propagate_label=self.propagate_label,
            unsaved=unsaved,
            medium=medium,
            annotator=annotator,
            prompt_from=prompt_from,
            usual_prompt_from=self.prompt_from,
        )
        for fault in known.prompts.left_out:
            self.problems.note(f"task {task.get('id')}", f"{fault.message} It is left out.", fault.remedy)
        if known.started is not None:
            logger.info("Task %s: %s", task.get("id"), known.started.sentences()[0])
            for complaint in known.started.complaints():
                self.problems.note(f"task {task.get('id')}", complaint, "`tam-backend propagate --dry-run` names them.")
        return known

    @contextmanager
    def lent(
        self,
        task: Mapping[str, Any],
        known: ReadTask,
        config: LabelingConfig,
        project: str,
        timeout_s: float,
        work: Work,
    ) -> Iterator[OpenView]:
        """Lend one medium of a task, on the worker that has it open or is to open it.

        Args:
            task: as Label Studio sends it.
            known: what was read of it.
            config: of its project.
            project: Label Studio's.
            timeout_s: how long to wait for the networks, and for the media.
            work: what for.

        Raises:
            PayloadError: its data hold no address.
            TamError: see `Workers.lent`.
        """
        view = view_of(task, known, config, project)
        with self.workers.lent(view, timeout_s, work) as opened:
            self.media.remember(view.key, view.address, view.task_id)
            yield opened

    def masks(
        self,
        task: Mapping[str, Any],
        known: ReadTask,
        config: LabelingConfig,
        opened: OpenView,
        tracking: Tracking,
        *,
        whole: bool = True,
    ) -> MaskAnswer:
        """Return what was tracked as results; what is left out of them is named."""
        answer = as_answer(
            known,
            config,
            tracking.results(),
            size_of=opened.own_size_hw,
            whole=whole,
            polygon_tolerance_px=self.polygon_tolerance_px,
        )
        for error in answer.left_out:
            self.problems.note(f"task {task.get('id')}", error.message, error.remedy)
        return answer

    def name_left_out(self, task: Mapping[str, Any], tracking: Tracking) -> None:
        """Say which frames are damaged: nothing is shown of them in Label Studio."""
        for frame, error in tracking.unreadable.items():
            self.problems.note(f"task {task.get('id')}", f"Frame {frame} was left out: {error.message}", error.remedy)

    def sent(self, project: str, task: Mapping[str, Any], answer: MaskAnswer) -> None:
        """Remember which masks a task was sent."""
        self.memories.change(project, str(task.get("id")), lambda memory: memory.with_sent(answer.digests))
