"""`tam-backend import --format` without its command line: a dataset on disk in, tasks with its masks out.

dataset = read_dataset(Path("DAVIS"), "davis")
report = import_dataset(dataset, 7, library=library, client=client, base_url="http://localhost:9090", ...)
"""

from __future__ import annotations

import hashlib
import json
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tam_backend.dataset_in.read_videos import BOXES, ReadBox, ReadDataset, ReadFrame, ReadMask, ReadVideo
from tam_backend.errors import EmptyVideoError, InvalidInputError, LabelStudioError, OutputError, TamError
from tam_backend.export.dataset import safe_name
from tam_backend.export.dataset_folder import place
from tam_backend.importer import FailedVideo, TaskClient, create_tasks, link_tasks
from tam_backend.labelstudio.config_xml import read_config
from tam_backend.labelstudio.imported_masks import Boxes, ImportedMasks, ground_truth, prediction_of
from tam_backend.labelstudio.polygons import TOLERANCE_PX
from tam_backend.labelstudio.results import prediction
from tam_backend.labelstudio.scores import task_score, worst_by_frame
from tam_backend.planned_tasks import FrameSelection, PlannedTask, ShownPages, plan_tasks
from tam_backend.video.images import images_in
from tam_backend.video.library import VideoLibrary

Arrival = Literal["predictions", "annotations"]
"""As what masks arrive: to be corrected, or as the ground truth."""

CLASS_LEFT_OUT = "masks of classes that are left out"
CUT_OTHERWISE = (
    "videos had tasks that show other frames; new tasks were made beside them. Delete those that you do not want."
)
TASKS_MISSING = "videos of which some tasks were gone; only these were made anew, and linked with the others."
STORED_OTHERWISE = (
    "tasks hold other masks than this import would store, since it has other options or people changed them; they stay "
    "as they are. Delete these predictions or annotations to import them anew."
)
_NO_TAG = f"{BOXES}, for which no rectangle tag of the project has a label"


class DatasetClient(TaskClient, Protocol):
    """What is needed of Label Studio's API."""

    def get_project(self, project_id: int) -> Mapping[str, Any]:
        """Return a project, its `label_config` included."""

    def tasks_data(self, project_id: int) -> Iterable[tuple[int, Mapping[str, Any]]]:
        """Yield (id, data) of all tasks."""

    def predictions(self, task_id: int) -> Sequence[Mapping[str, Any]]:
        """Return a task's predictions."""

    def annotations(self, task_id: int) -> Sequence[Mapping[str, Any]]:
        """Return a task's annotations."""

    def create_prediction(self, task_id: int, prediction: Mapping[str, Any]) -> int:
        """Store a prediction."""

    def create_annotation(
        self, task_id: int, results: Sequence[Mapping[str, Any]], *, ground_truth: bool = False
    ) -> int:
        """Submit an annotation."""


@dataclass(frozen=True)
class DatasetArrival:
    """What is to become of a dataset.

    Args:
        project: Label Studio's id of it.
        form: the dataset's format; predictions are named by it.
        arrival: as what its masks arrive.
        label_of: class -> label; see `ImportedMasks`.
        max_frames: pages of one task at most; see `FrameSelection`.
        boxes: as what boxes without a mask arrive.
        polygon_tolerance_px: see `ImportedMasks`.
    """

    project: int
    form: str
    arrival: Arrival = "predictions"
    label_of: Mapping[str, str] | None = None
    max_frames: int = FrameSelection().max_frames
    boxes: Boxes = "regions"
    polygon_tolerance_px: float = TOLERANCE_PX


@dataclass(frozen=True)
class ArrivedVideo:
    """A video that arrived whole.

    Args:
        name: the dataset's.
        task_ids: in the order of its frames.
        pages, objects, masks: how many.
        is_new: whether tasks of it were made now; an earlier import had made them all, if not.
        boxes: of frames that show no more of an object.
    """

    name: str
    task_ids: tuple[int, ...]
    pages: int
    objects: int
    masks: int
    is_new: bool = True
    boxes: int = 0


@dataclass(frozen=True)
class DatasetReport:
    """What became of a dataset.

    Args:
        imported, failed: its videos, in its order.
        left_out: a sentence on everything that is in the dataset and not in the project.
        kept: a sentence on everything that an earlier import had made otherwise than this one would.
    """

    imported: tuple[ArrivedVideo, ...]
    failed: tuple[FailedVideo, ...]
    left_out: tuple[str, ...]
    kept: tuple[str, ...] = ()


def label_map(named: Sequence[str]) -> dict[str, str]:
    """Read CLASS=LABEL, several of them; "CLASS=" leaves a class out, "=LABEL" is of masks without a class.

    Raises:
        InvalidInputError: one has no "=".

    >>> label_map(["dog=Animal", "cat=", "=Thing"])
    {'dog': 'Animal', 'cat': '', '': 'Thing'}
    """
    read = {}
    for each in named:
        name, equals, label = each.rpartition("=")
        if not equals:
            raise InvalidInputError(f"--class {each!r} is not CLASS=LABEL.", "Give for instance --class dog=Animal.")
        read[name] = label
    return read


def import_dataset(
    dataset: ReadDataset,
    wanted: DatasetArrival,
    *,
    library: VideoLibrary,
    client: DatasetClient,
    base_url: str,
    frames_folder: Path,
    on_progress: Callable[[str, str], None] = lambda video, doing: None,  # noqa: ARG005 - says nothing
    on_done: Callable[[ArrivedVideo | FailedVideo], None] = lambda video: None,  # noqa: ARG005 - the same
) -> DatasetReport:
    """Register a dataset's videos, make their tasks, and store their masks. One video's failure keeps no other away.

    A video is read to its end before its first task is made, so that a damaged one leaves nothing behind. Memory grows
    with the masks of one video, by 1 or 2 kB each. Cut off, it is given again: tasks that show the same frames are not
    made twice, and get the masks that they lack.

    Args:
        dataset: see `read_dataset`.
        wanted: what is to become of it.
        library: where the videos are registered; must be the one of the backend that serves them.
        client: Label Studio.
        base_url: how browsers reach the backend.
        frames_folder: takes links to the frames of videos that have no folder of their own; they must stay.
        on_progress: called with the video and what is being done to it, before each slow step.
        on_done: called with each video that has arrived or failed, at once.

    Raises:
        LabelConfigError: the project's config has no tag for masks, or no label for a class.
        LabelStudioError: the project cannot be read.
    """
    about = client.get_project(wanted.project)
    config = read_config(str(about.get("label_config") or ""))
    masks = ImportedMasks(config, wanted.label_of or {}, wanted.boxes, wanted.polygon_tolerance_px)
    masks.check(dataset.classes)
    known = _known_tasks(client.tasks_data(wanted.project), library)
    arriving = _Arriving(wanted, masks, known, library, client, base_url, frames_folder, on_progress)
    imported: list[ArrivedVideo] = []
    failed: list[FailedVideo] = []
    videos = dataset.videos()
    name = "the dataset"
    while True:
        try:
            video = next(videos, None)
            if video is None:
                break
            name = video.name
            arrived = arriving.take(video)
        except TamError as error:
            failed.append(FailedVideo(name, error))
            on_done(failed[-1])
        else:
            imported.append(arrived)
            on_done(arrived)
        name = "the rest of the dataset"
    untaken = BOXES if wanted.boxes == "none" else _NO_TAG
    counts = {**dataset.left_out, CLASS_LEFT_OUT: arriving.of_other_classes, untaken: arriving.untaken_boxes}
    left_out = tuple(f"{count} {what}." for what, count in counts.items() if count)
    kept = tuple(f"{count} {what}" for what, count in arriving.kept.items() if count)
    return DatasetReport(tuple(imported), tuple(failed), left_out, kept)


def _known_tasks(tasks: Iterable[tuple[int, Mapping[str, Any]]], library: VideoLibrary) -> dict[ShownPages, int]:
    """Return what the tasks of a project show of our videos -> the task's id."""
    return {shown: task_id for task_id, data in tasks if (shown := ShownPages.of_task(data, library)) is not None}


@dataclass(eq=False)
class _Arriving:
    """An import while it is made; see `import_dataset`.

    Attributes:
        known: the tasks that are there from the start.
        of_other_classes: how many masks were left out for their class.
        untaken_boxes: how many boxes have no tag to go to, or were not wanted.
        thinned: the frames of the present video of which a mask or box was left out.
        kept: what an earlier import made otherwise -> how often.
    """

    wanted: DatasetArrival
    masks: ImportedMasks
    known: Mapping[ShownPages, int]
    library: VideoLibrary
    client: DatasetClient
    base_url: str
    frames_folder: Path
    on_progress: Callable[[str, str], None]
    of_other_classes: int = 0
    untaken_boxes: int = 0
    thinned: set[int] = field(default_factory=set)
    kept: Counter[str] = field(default_factory=Counter)

    def take(self, video: ReadVideo) -> ArrivedVideo:
        """Bring one video, its tasks and its masks in."""
        if not video.files:
            raise EmptyVideoError(
                f"{video.name} has no frames.", "Bring them along: of our exports with --frames jpg or png."
            )
        self.on_progress(video.name, "reading")
        self.thinned.clear()
        frames = {frame.index: self._without_other_classes(frame) for frame in video.frames()}
        self.masks.check(dict.fromkeys(each.label for frame in frames.values() for each in frame.masks))
        record = self.library.register(registrable(video, self.frames_folder))
        planned = plan_tasks(record, FrameSelection(max_frames=self.wanted.max_frames))
        there = self._there(planned)
        missing = [task for task in planned if ShownPages.of_plan(task) not in there]
        made: tuple[int, ...] = ()
        if missing:
            self.on_progress(video.name, f"making {len(missing)} task{'s' if len(missing) > 1 else ''}")
            made = create_tasks(missing, self.wanted.project, self.library, self.client, self.base_url)
            there.update(zip(map(ShownPages.of_plan, missing), made, strict=True))
        task_ids = tuple(there[ShownPages.of_plan(task)] for task in planned)
        if len(planned) > 1:
            link_tasks(planned, task_ids, self.library, self.client, self.base_url)
        self.on_progress(video.name, "storing its masks")
        try:
            for task, task_id in zip(planned, task_ids, strict=True):
                stored = None if task_id in made else self._stored(task_id)
                if stored is None:
                    self._store(task, task_id, frames)
                else:
                    self.kept[STORED_OTHERWISE] += not _is_same_json(stored, self._results(task, frames))
        except LabelStudioError as error:
            raise LabelStudioError(
                f"The tasks {task_ids[0]} to {task_ids[-1]} of {video.name} were made, but not all have their masks: "
                f"{error.message}",
                "Give the same command again: it goes on from there.",
            ) from error
        masks = [each for frame in frames.values() for each in frame.masks]
        boxes = [each for frame in frames.values() for each in frame.boxes]
        objects = len({*(each.object_id for each in masks), *(each.object_id for each in boxes)})
        return ArrivedVideo(video.name, task_ids, len(video.files), objects, len(masks), bool(missing), len(boxes))

    def _there(self, planned: Sequence[PlannedTask]) -> dict[ShownPages, int]:
        """Return the tasks of a video that an earlier import made and this one need not make."""
        wanted = {ShownPages.of_plan(task) for task in planned}
        earlier = {each: task_id for each, task_id in self.known.items() if each.video == planned[0].record.id}
        if not earlier or wanted <= earlier.keys():
            return {each: earlier[each] for each in wanted & earlier.keys()}
        if earlier.keys() <= wanted:
            self.kept[TASKS_MISSING] += 1
            return earlier
        # A task that both cuts have belongs to the other chain.
        self.kept[CUT_OTHERWISE] += 1
        return {}

    def _without_other_classes(self, frame: ReadFrame) -> ReadFrame:
        kept = tuple(each for each in frame.masks if not self.masks.is_left_out(each.label))
        self.of_other_classes += len(frame.masks) - len(kept)
        boxes = tuple(each for each in frame.boxes if self.masks.takes(each))
        self.untaken_boxes += len(frame.boxes) - len(boxes)
        if len(kept) + len(boxes) < len(frame.masks) + len(frame.boxes):
            self.thinned.add(frame.index)
        return ReadFrame(frame.index, kept, boxes)

    def _stored(self, task_id: int) -> Any:
        """Return what an earlier import stored of a task, JSON; None where it did not."""
        if self._is_settled:
            found = ground_truth(self.client.annotations(task_id))
        else:
            found = prediction_of(self._version, self.client.predictions(task_id))
        return None if found is None else found.get("result", [])

    @property
    def _version(self) -> str:
        """What predictions of this format are called."""
        return f"imported-{self.wanted.form}"

    def _store(self, task: PlannedTask, task_id: int, frames: Mapping[int, ReadFrame]) -> None:
        """Store the masks of one task."""
        results = self._results(task, frames)
        there = [frames[index] for index in task.frame_indices if index in frames]
        if self._is_settled:
            # Without any region it says that there is nothing to see: not where there was something that was left out.
            if results or (there and self.thinned.isdisjoint(frame.index for frame in there)):
                self.client.create_annotation(task_id, results, ground_truth=True)
        elif results:
            judged = ((page, each.quality) for page, each in _drawn(task, frames) if each.quality is not None)
            made = prediction(results, task_score(worst_by_frame(judged).values()), self._version)
            self.client.create_prediction(task_id, made)

    def _results(self, task: PlannedTask, frames: Mapping[int, ReadFrame]) -> list[dict[str, Any]]:
        """Return the masks and boxes of one task as Label Studio takes them."""
        made = self.masks
        return [
            result
            for page, each in _drawn(task, frames)
            for result in (
                made.box_results(each, page, settled=self._is_settled)
                if isinstance(each, ReadBox)
                else made.results(each, page, settled=self._is_settled)
            )
        ]

    @property
    def _is_settled(self) -> bool:
        return self.wanted.arrival == "annotations"


def _drawn(task: PlannedTask, frames: Mapping[int, ReadFrame]) -> list[tuple[int, ReadMask | ReadBox]]:
    """Return the masks and boxes of one task with their pages, in the order of their objects: an export numbers them
    by it."""
    there = [(page, frames[index]) for page, index in enumerate(task.frame_indices) if index in frames]
    shown: list[tuple[int, ReadMask | ReadBox]] = [
        *((page, each) for page, frame in there for each in frame.masks),
        *((page, each) for page, frame in there for each in frame.boxes),
    ]
    return sorted(shown, key=lambda at: at[1].object_id)


def _is_same_json(stored: Any, made: Sequence[Mapping[str, Any]]) -> bool:
    """Whether Label Studio holds just what would be stored."""
    return bool(stored == json.loads(json.dumps(made)))


def registrable(video: ReadVideo, frames_folder: Path) -> Path:
    """Return what stands for a video in the library: its one picture, its folder, or a folder of links to its frames.

    Raises:
        OutputError: the links cannot be made.
    """
    if len(video.files) == 1:
        return video.files[0]
    folder = video.files[0].parent
    if images_in(folder) == list(video.files):
        return folder
    try:
        facts = [f"{file}\0{file.stat().st_size}\0{file.stat().st_mtime_ns}" for file in video.files]
        stamp = hashlib.sha256("\0".join(facts).encode("utf-8", "surrogateescape")).hexdigest()[:16]
        target = frames_folder / stamp / safe_name(video.name)
        if target.is_dir():
            return target
        part = target.with_name(f".part-{target.name}")
        shutil.rmtree(part, ignore_errors=True)
        for index, file in enumerate(video.files):
            place(file, part / f"{index:05d}{file.suffix.lower()}")
        part.replace(target)
    except OSError as error:
        raise OutputError(
            f"The frames of {video.name} cannot be linked in {frames_folder}: {error.strerror or error}.",
            "See that TAM_DATA_DIR can be written to and has room.",
        ) from error
    return target
