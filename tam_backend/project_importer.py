"""`tam-backend import --from-project` without its command line: the videos of one project become the pages of another.

report = import_project(7, 8, library=library, client=client, base_url="http://localhost:9090", ...)
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tam_backend.errors import InvalidInputError, LabelStudioError, MediaError, NotFoundError, TamError
from tam_backend.importer import FailedVideo, ImportedVideo, TaskClient, import_video
from tam_backend.labelstudio.carried_boxes import BoxCarrier
from tam_backend.labelstudio.chained import Link, read_link
from tam_backend.labelstudio.config import LabelingConfig, Media, MediaKind
from tam_backend.labelstudio.config_xml import read_config
from tam_backend.labelstudio.edits import CARRIED
from tam_backend.labelstudio.imported_masks import ImportedMasks, prediction_of
from tam_backend.labelstudio.results import prediction
from tam_backend.labelstudio.submitted import Choice, chosen
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.planned_tasks import FrameSelection, Origin, ShownPages, plan_tasks
from tam_backend.types import timeline_of
from tam_backend.video.library import VideoLibrary

Bring = Callable[[str, int], Path]
"""(what a task shows, Label Studio's id of it) -> the file, which stays; see `MediaFetcher.bring`."""

HAS_PAGES = "tasks that show pages of frames already"
NO_ADDRESS = "tasks whose data name no video"
CUT_OTHERWISE = (
    "videos were imported before with other frames than --fps, --stride and --max-frames ask for now; their tasks stay "
    "as they are. Delete these tasks to import the videos anew."
)
TASKS_MISSING = "videos of which some tasks are missing; delete the others to import anew"


class ProjectClient(TaskClient, Protocol):
    """What is needed of Label Studio's API."""

    def get_project(self, project_id: int) -> Mapping[str, Any]:
        """Return a project, its `label_config` included."""

    def tasks_data(self, project_id: int) -> Iterable[tuple[int, Mapping[str, Any]]]:
        """Yield (id, data) of all tasks."""

    def task_data(self, project_id: str, task_id: int) -> Mapping[str, Any]:
        """Return what a task shows."""

    def predictions(self, task_id: int) -> Sequence[Mapping[str, Any]]:
        """Return a task's predictions."""

    def annotations(self, task_id: int) -> Sequence[Mapping[str, Any]]:
        """Return a task's annotations."""

    def create_prediction(self, task_id: int, prediction: Mapping[str, Any]) -> int:
        """Store a prediction."""


@dataclass(frozen=True)
class ArrivedFromTask:
    """A video that arrived.

    Args:
        task: the one that it was found in.
        video: itself, and its new tasks.
        boxes: tracks of boxes that came along.
    """

    task: int
    video: ImportedVideo
    boxes: int


@dataclass(frozen=True)
class ProjectReport:
    """What became of the videos of a project.

    Args:
        imported, failed: in the order of their tasks.
        earlier: how many an earlier import had brought, wholly.
        left_out: a sentence on everything that is in the old project and not, or not wholly, in the new one.
        kept: a sentence on everything that an earlier import had made otherwise than this one would.
    """

    imported: tuple[ArrivedFromTask, ...]
    failed: tuple[FailedVideo, ...]
    earlier: int
    left_out: tuple[str, ...]
    kept: tuple[str, ...] = ()


def frames_title(project: int) -> str:
    """Return what a project is called that is made for the frames of another one's videos."""
    return f"Frames of project {project}"


def import_project(
    source: int,
    target: int,
    *,
    library: VideoLibrary,
    client: ProjectClient,
    base_url: str,
    selection: FrameSelection,
    bring: Bring,
    transcode_to: Path | None = None,
    on_progress: Callable[[str, str], None] = lambda video, doing: None,  # noqa: ARG005 - says nothing
    on_done: Callable[[ArrivedFromTask | FailedVideo], None] = lambda video: None,  # noqa: ARG005 - the same
) -> ProjectReport:
    """Make pages of frames of every `<Video>` of a project; what fails keeps no other away.

    The new tasks' data say which task they were made of. Given again, it brings only the videos of which no task is
    there, and mends what was cut off after all tasks were made; a video of which some are missing is told, and left
    alone. Tracks of boxes come as a prediction of the first task of their video.

    Args:
        source: Label Studio's id of the project with the videos; it is only read.
        target: of another one, with tags for masks on the pages of `$frames`.
        library, base_url, selection, transcode_to: see `import_videos`.
        client: Label Studio.
        bring: gets a video here.
        on_progress: called with the video and what is being done to it, before each slow step.
        on_done: called with each video that has arrived or failed, at once.

    Raises:
        InvalidInputError: the two are one project, or the first one shows no <Video>.
        LabelConfigError: the other one takes no masks on pages.
        LabelStudioError: one cannot be read.
    """
    if source == target:
        raise InvalidInputError(
            f"The frames of project {source} need a project of their own.", "Give another --project, or none."
        )
    shows = config_with_videos(client, source)
    videos = [media for media in shows.media if media.kind is MediaKind.VIDEO]
    takes = _config_of(client, target)
    ImportedMasks(takes, {})  # raises where there is no tag for masks on pages
    arriving = _Arriving(
        source, target, library, client, base_url, selection, bring, transcode_to, on_progress, on_done,
        BoxCarrier(shows, takes), _made_earlier(client.tasks_data(target), source, library),
    )  # fmt: skip
    pages = [media for media in shows.media if media.kind is MediaKind.FRAMES]
    for task, data in client.tasks_data(source):
        if any(media.value(data) for media in pages):
            arriving.left_out[HAS_PAGES] += 1
            continue
        for media in videos:
            arriving.take(task, data, media)
    told = {**arriving.left_out, **arriving.boxes.left_out}
    left_out = tuple(f"{count} {what.rstrip('.')}." for what, count in told.items() if count)
    kept = (f"{arriving.cut_otherwise} {CUT_OTHERWISE}",) if arriving.cut_otherwise else ()
    return ProjectReport(tuple(arriving.imported), tuple(arriving.failed), arriving.earlier, left_out, kept)


def config_with_videos(client: ProjectClient, project: int) -> LabelingConfig:
    """Return the labeling config of a project that shows videos. Raises InvalidInputError: it shows none."""
    config = _config_of(client, project)
    if not any(media.kind is MediaKind.VIDEO for media in config.media):
        raise InvalidInputError(f"Project {project} has no <Video> in its labeling config.", "Name one that has.")
    return config


def _config_of(client: ProjectClient, project: int) -> LabelingConfig:
    return read_config(str(client.get_project(project).get("label_config") or ""))


class _MadeTask(NamedTuple):
    """A task that was made of a video; `about` are its data, all but the pages, and `shown` stands for these."""

    link: Link
    about: Mapping[str, Any]
    shown: ShownPages | None


_Made = dict[Origin, list[_MadeTask]]
"""Where a video was found -> the tasks that were made of it."""


def _made_earlier(tasks: Iterable[tuple[int, Mapping[str, Any]]], source: int, library: VideoLibrary) -> _Made:
    made: _Made = {}
    for task_id, data in tasks:
        said = data.get("origin")
        if isinstance(said, Mapping) and said.get("project") == source and isinstance(said.get("task"), int):
            about = {key: value for key, value in data.items() if key != "frames"}
            origin = Origin(source, said["task"], str(said.get("tag")))
            shown = ShownPages.of_task(data, library)
            made.setdefault(origin, []).append(_MadeTask(read_link(task_id, data), about, shown))
    for found in made.values():
        found.sort(key=lambda at: (at.link.part, at.link.task))
    return made


@dataclass(eq=False)
class _Arriving:
    """An import while it is made; see `import_project`."""

    source: int
    target: int
    library: VideoLibrary
    client: ProjectClient
    base_url: str
    selection: FrameSelection
    bring: Bring
    transcode_to: Path | None
    on_progress: Callable[[str, str], None]
    on_done: Callable[[ArrivedFromTask | FailedVideo], None]
    boxes: BoxCarrier
    made: _Made
    imported: list[ArrivedFromTask] = field(default_factory=list)
    failed: list[FailedVideo] = field(default_factory=list)
    earlier: int = 0
    cut_otherwise: int = 0
    left_out: Counter[str] = field(default_factory=Counter)

    def take(self, task: int, data: Mapping[str, Any], media: Media) -> None:
        """Bring one video, its pages and its boxes."""
        name = f"task {task}"
        value = media.value(data)
        if not isinstance(value, str) or not value:
            self.left_out[NO_ADDRESS] += 1
            return
        origin = Origin(self.source, task, media.name)
        try:
            tasks = self.made.get(origin)
            if tasks is not None:
                links = [made.link for made in tasks]
                if len({link.part for link in links}) < links[0].parts:
                    self.left_out[TASKS_MISSING] += 1  # an import was cut off, or people deleted them: nobody can tell
                    return
                self.earlier += 1
                self._mend(links)
                self._bring_boxes(task, data, media, links[0].task, tasks[0].about)
                self.cut_otherwise += self._is_cut_otherwise([made.shown for made in tasks])
                return
            self.on_progress(name, "fetching")
            video = import_video(
                self.bring(value, task),
                self.target,
                library=self.library,
                client=self.client,
                base_url=self.base_url,
                selection=self.selection,
                origin=origin,
                transcode_to=self.transcode_to,
                on_progress=lambda doing: self.on_progress(name, doing),
            )
            shown = {"video": self.library.video_url(self.base_url, video.record.id), "fps": video.record.fps}
            boxes = self._bring_boxes(task, data, media, video.task_ids[0], shown)
        except TamError as error:
            self.failed.append(FailedVideo(name, error))
            self.on_done(self.failed[-1])
            return
        self.imported.append(ArrivedFromTask(task, video, boxes))
        self.on_done(self.imported[-1])

    def _is_cut_otherwise(self, tasks: Sequence[ShownPages | None]) -> bool:
        """Whether the tasks of a video show other frames than they would if they were made now."""
        first = tasks[0]
        if first is None:
            return False  # their data were changed
        timeline = None
        try:
            if self.selection.fps is not None:
                with closing(self.library.open(first.video)) as video:
                    timeline = timeline_of(video)
            planned = plan_tasks(self.library.get(first.video), self.selection, timeline)
        except (NotFoundError, MediaError):
            return False  # the video is gone: its tasks are there, and nothing can be said of them
        return [ShownPages.of_plan(task) for task in planned] != list(dict.fromkeys(tasks))

    def _mend(self, links: Sequence[Link]) -> None:
        """Tell the tasks of a whole chain their neighbours, where an import was cut off before it had."""
        if len(links) > links[0].parts:
            return  # made twice, side by side: which are neighbours cannot be told
        ids = [None, *(link.task for link in links), None]
        for before, link, after in zip(ids, links, ids[2:], strict=False):
            if link.neighbours != tuple(each for each in (before, after) if each is not None):
                data = self.client.task_data(str(self.target), link.task)
                chain = {**data["chain"], "previous_task": before, "next_task": after}
                self.client.update_task_data(link.task, {**data, "chain": chain})

    def _bring_boxes(
        self, task: int, data: Mapping[str, Any], media: Media, first: int, shown: Mapping[str, Any]
    ) -> int:
        """Store the boxes of a video with the first of its new tasks; return how many tracks came along.

        Args:
            task, data, media: where the video was found.
            first: the new task.
            shown: of its data, the video and its rate.
        """
        found = chosen(self.client.annotations(task), self.client.predictions(task), Choice("both"))
        if not found or not found[0].results:
            return 0
        if prediction_of(self._version, self.client.predictions(first)) is not None:
            return 0
        video_id = self.library.own_video(str(shown.get("video")))
        if video_id is None:
            return 0  # its data were changed
        with closing(self.library.open(video_id)) as video:
            clock = VideoClock(media.frame_rate_for(data), video.fps, len(video), timeline_of(video))
        results = self.boxes.results(found[0].results, media, clock, shown)
        if results:
            try:
                self.client.create_prediction(first, prediction(results, None, self._version))
            except LabelStudioError as error:
                raise LabelStudioError(
                    f"The tasks of the video were made, but its boxes were not stored: {error.message}",
                    "Give the same command again: it goes on from there.",
                ) from error
        return len(results)

    @property
    def _version(self) -> str:
        """What predictions are called that hold the boxes."""
        return f"{CARRIED}{self.source}"
