"""Videos into Label Studio: which frames become pages, how long videos are cut into chained tasks, and the tasks' data.

The tasks hold only URLs that this backend serves and signs (`video.library`), so Label Studio needs no disk of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from tam_backend.errors import InvalidInputError, LabelStudioError, MediaForbiddenError, TamError
from tam_backend.types import Timeline, VideoSource
from tam_backend.video.library import VideoLibrary
from tam_backend.video.video_records import VideoRecord, fingerprint

# What Label Studio's editor carries well: at 100 pages every click freezes it for seconds, or it takes gigabytes.
DEFAULT_MAX_FRAMES = 50


class TaskClient(Protocol):
    """What is needed of Label Studio's API."""

    def create_tasks(self, project_id: int, data: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        """Create one task per item, in this order; return their ids in this order."""

    def update_task_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace a task's data."""


@dataclass(frozen=True)
class FrameSelection:
    """Which frames of a video become pages of tasks.

    Args:
        fps: so many frames per second of the video (all, if the video has fewer); None: see `stride`.
        stride: every stride-th frame, 1 = all; not together with `fps`.
        max_frames: pages of one task at most; a longer selection is cut into a chain of tasks. 0 = never cut.

    Raises:
        InvalidInputError: a value that is out of range, or both `fps` and `stride`.
    """

    fps: float | None = None
    stride: int = 1
    max_frames: int = DEFAULT_MAX_FRAMES

    def __post_init__(self) -> None:
        if self.fps is not None and not self.fps > 0:
            raise InvalidInputError(f"{self.fps:g} frames per second cannot be chosen.", "Give a number above 0.")
        if self.stride < 1:
            raise InvalidInputError(f"A stride of {self.stride} cannot be walked.", "Give 1 for all frames, 2 for ...")
        if self.fps is not None and self.stride != 1:
            raise InvalidInputError("Frames are chosen by rate or by stride, not by both.", "Leave one of them out.")
        if self.max_frames < 0:
            raise InvalidInputError(
                f"Tasks of {self.max_frames} frames cannot be made.", "Give 1 or more, or 0: never cut."
            )


@dataclass(frozen=True)
class Origin:
    """Where in Label Studio a video was found: the project, the task and its `<Video>` tag.

    It stands in the data of the tasks that are made of it, so that nobody makes them twice.
    """

    project: int
    task: int
    tag: str


@dataclass(frozen=True)
class PlannedTask:
    """One task to be made.

    Args:
        record: the video.
        frame_indices: 0-based frames of the video, ascending; page i shows the i-th of them.
        part, parts: which link of the chain it is, from 1; 1 of 1 if the video is not cut.
        stride: frames of the video from one page to the next (rounded, if they were chosen by rate).
        origin: of a video that was in Label Studio before.
    """

    record: VideoRecord
    frame_indices: tuple[int, ...]
    part: int
    parts: int
    stride: int
    origin: Origin | None = None


@dataclass(frozen=True)
class ImportedVideo:
    """A video that arrived.

    Args:
        record: of it, or of its copy.
        file: what was imported: itself, or its copy.
        task_ids: in the order of its frames.
        pages: how many frames became pages.
        notes: sentences for whoever imports it: that browsers cannot play it, which frames a copy lacks.
    """

    record: VideoRecord
    file: Path
    task_ids: tuple[int, ...]
    pages: int
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class FailedVideo:
    """A video that did not arrive, as it was named, and why."""

    path: Path | str
    error: TamError


@dataclass(frozen=True)
class ImportReport:
    """What became of each video, in the order given."""

    imported: tuple[ImportedVideo, ...]
    failed: tuple[FailedVideo, ...]


def plan_tasks(
    record: VideoRecord,
    selection: FrameSelection,
    timeline: Timeline | None = None,
    origin: Origin | None = None,
) -> tuple[PlannedTask, ...]:
    """Choose a video's frames and cut them into tasks.

    Args:
        record: the video.
        selection: which frames.
        timeline: when each frame is shown, to choose frames by time; None: at a steady rate.
        origin: of a video that was in Label Studio before.

    Raises:
        InvalidInputError: frames per second are asked of images, which have no clock.

    >>> record = VideoRecord("0" * 16, "clip.mp4", False, "/clip.mp4", frames=120, size_hw=(720, 1280), fps=24.0)
    >>> [len(task.frame_indices) for task in plan_tasks(record, FrameSelection(stride=2, max_frames=50))]
    [50, 10]
    """
    step = float(selection.stride)
    if selection.fps is not None:
        if record.fps is None:
            raise InvalidInputError(
                f"{record.name} is a folder of images; it has no frames per second.", "Use a stride instead."
            )
        step = max(1.0, record.fps / selection.fps)
    if selection.fps is not None and timeline is not None and not timeline.is_steady:
        indices = timeline.sampled(selection.fps)
        step = record.frames / len(indices)
    else:
        indices = _every(step, record.frames)
    pages = selection.max_frames or len(indices)
    starts = range(0, len(indices), pages)
    return tuple(
        PlannedTask(record, tuple(indices[start : start + pages]), part, len(starts), round(step), origin)
        for part, start in enumerate(starts, start=1)
    )


def _every(step: float, frames: int) -> list[int]:
    """Return the frames nearest to every `step` frames."""
    indices: list[int] = []
    while (index := int(len(indices) * step + 0.5)) < frames:
        indices.append(index)
    return indices


def task_data(
    task: PlannedTask,
    library: VideoLibrary,
    base_url: str,
    *,
    previous_task: int | None = None,
    next_task: int | None = None,
) -> dict[str, Any]:
    """Return a task's data: `frames`, of a video file `video` and its rate `fps`, in a chain `chain`, and its `origin`.

    Args:
        task: what it shows.
        library: knows the video and signs the URLs.
        base_url: how browsers reach this backend.
        previous_task, next_task: the neighbours' ids in Label Studio; None at the ends of the chain.
    """
    data: dict[str, Any] = {}
    if not task.record.is_folder:
        data["video"] = library.video_url(base_url, task.record.id)
        if task.record.fps is not None:
            data["fps"] = task.record.fps
    data["frames"] = [library.frame_url(base_url, task.record.id, index) for index in task.frame_indices]
    if task.parts > 1:
        data["chain"] = {
            "part": task.part,
            "parts": task.parts,
            "first_frame": task.frame_indices[0],
            "stride": task.stride,
            "previous_task": previous_task,
            "next_task": next_task,
        }
    if task.origin is not None:
        data["origin"] = asdict(task.origin)
    return data


def is_address(source: str) -> bool:
    """Whether a video is named by an address (`http://...`), and not by a path."""
    return "://" in source and not Path(source).exists()


def _say_nothing(path: Path | str, doing: str) -> None:
    """Take progress and drop it."""
    _ = path, doing


def import_videos(
    paths: Sequence[Path | str],
    project_id: int,
    *,
    library: VideoLibrary,
    client: TaskClient,
    base_url: str,
    selection: FrameSelection,
    download: Callable[[str], Path] | None = None,
    transcode_to: Path | None = None,
    on_progress: Callable[[Path | str, str], None] = _say_nothing,
) -> ImportReport:
    """Register videos and make their tasks. A video that fails does not keep the others from arriving.

    Args:
        paths: video files, folders of images, or addresses of videos on the web.
        project_id: Label Studio's project.
        library: where they are registered; must be the one of the backend that serves them.
        client: Label Studio.
        base_url: how browsers reach the backend.
        selection: which frames.
        download: brings an address's file here, to stay; None: only files are imported.
        transcode_to: folder for copies of videos that browsers cannot play; they are imported in their place. None:
            there are none, and the videos' notes say so.
        on_progress: called with the video and what is being done to it, before each slow step.
    """
    imported: list[ImportedVideo] = []
    failed: list[FailedVideo] = []
    for path in paths:
        try:
            file = _arrived(path, download, on_progress)
            imported.append(
                import_video(
                    file,
                    project_id,
                    library=library,
                    client=client,
                    base_url=base_url,
                    selection=selection,
                    transcode_to=transcode_to,
                    on_progress=partial(on_progress, path),
                )
            )
        except TamError as error:  # noqa: PERF203 - the others shall arrive
            failed.append(FailedVideo(path, error))
    return ImportReport(tuple(imported), tuple(failed))


def import_video(
    file: Path,
    project_id: int,
    *,
    library: VideoLibrary,
    client: TaskClient,
    base_url: str,
    selection: FrameSelection,
    origin: Origin | None = None,
    transcode_to: Path | None = None,
    on_progress: Callable[[str], None] = lambda doing: None,  # noqa: ARG005 - says nothing
) -> ImportedVideo:
    """Register one video that is here, and make its tasks.

    Args:
        file: a video file or a folder of images.
        project_id, library, client, base_url, selection, transcode_to: see `import_videos`.
        origin: of a video that was in Label Studio before.
        on_progress: called with what is being done, before each slow step.

    Raises:
        TamError: it cannot be read, or Label Studio does not take its tasks.
    """
    on_progress("reading")
    file, notes = _playable(file, transcode_to, lambda: on_progress("copying as H.264"))
    record = library.register(file)
    timeline = None if selection.fps is None else _timeline(file)
    planned = plan_tasks(record, selection, timeline, origin)
    on_progress(f"making {len(planned)} task{'s' if len(planned) > 1 else ''}")
    task_ids = create_tasks(planned, project_id, library, client, base_url)
    if len(planned) > 1:
        on_progress("linking the tasks")
        link_tasks(planned, task_ids, library, client, base_url)
    return ImportedVideo(record, file, task_ids, sum(len(task.frame_indices) for task in planned), notes)


def _arrived(
    source: Path | str, download: Callable[[str], Path] | None, on_progress: Callable[[Path | str, str], None]
) -> Path:
    """Return the file or folder that is meant."""
    if isinstance(source, Path) or not is_address(source):
        return Path(source)
    parts = urlsplit(source)
    if parts.scheme.lower() == "file" and parts.netloc in ("", "localhost"):
        return Path(os.fsdecode(unquote_to_bytes(parts.path)))
    advice = "Or download it yourself, and import the file."
    if download is None:
        raise MediaForbiddenError(f"{source} is a web address (URL), which cannot be imported here.", advice)
    on_progress(source, "downloading")
    try:
        return download(source)
    except TamError as error:
        raise type(error)(error.message, f"{error.remedy} {advice}".strip()) from error


def _timeline(file: Path) -> Timeline | None:
    from tam_backend.video import open_video  # noqa: PLC0415 - av takes long to import

    with open_video(file) as video:
        return video.timeline


def _playable(file: Path, transcode_to: Path | None, on_copy: Callable[[], None]) -> tuple[Path, tuple[str, ...]]:
    """Return the file, or its copy where browsers cannot play it and one is wanted, and what is to be said of it."""
    from tam_backend.video import open_video  # noqa: PLC0415 - av takes long to import
    from tam_backend.video.playable import why_not_playable  # noqa: PLC0415 - the same

    if not file.is_file():
        return file, ()
    with open_video(file) as video:
        if len(video) == 1 and video.fps is None:
            return file, ()  # a picture
        what = why_not_playable(file)
        if not what:
            return file, ()
        if transcode_to is None:
            return file, (
                f"{file.name} is {what}, which browsers cannot be relied on to play: a <Video> tag may stay black. Its "
                "pages of frames show everywhere. For <Video> import it with --transcode: that makes an H.264 copy.",
            )
        folder = transcode_to / fingerprint(file.resolve())
        copy = folder / f"{file.stem}.mp4"
        # A copy that is there already stays as it is, for the tasks that show it.
        left_out = () if copy.exists() else _copied(video, copy, on_copy)
    notes = [f"{file.name} is {what}: its copy in H.264, without sound, was imported: {copy}"]
    if left_out:
        notes.append(f"Damaged frames of {file.name} are not in the copy: {', '.join(map(str, left_out))}.")
    return copy, tuple(notes)


def _copied(video: VideoSource, copy: Path, on_copy: Callable[[], None]) -> tuple[int, ...]:
    """Write an H.264 copy; return the frames that it lacks."""
    from tam_backend.video.playable import write_playable  # noqa: PLC0415 - av takes long to import

    on_copy()
    copy.parent.mkdir(parents=True, exist_ok=True)
    part = copy.with_name(f".part-{copy.name}")
    try:
        left_out = write_playable(video, part)
        part.replace(copy)
    finally:
        part.unlink(missing_ok=True)
    return left_out


def create_tasks(
    planned: Sequence[PlannedTask], project_id: int, library: VideoLibrary, client: TaskClient, base_url: str
) -> tuple[int, ...]:
    """Make a video's tasks; return their ids. Raises LabelStudioError."""
    task_ids = tuple(client.create_tasks(project_id, [task_data(task, library, base_url) for task in planned]))
    if len(task_ids) != len(planned):
        raise LabelStudioError(
            f"Label Studio made {len(task_ids)} tasks of {planned[0].record.name}; {len(planned)} were sent.",
            "Look at the project's tasks, and at Label Studio's log.",
        )
    return task_ids


def link_tasks(
    planned: Sequence[PlannedTask], task_ids: Sequence[int], library: VideoLibrary, client: TaskClient, base_url: str
) -> None:
    """Tell each task its neighbours. Their ids are known only after all of them were made."""
    neighbours = [None, *task_ids, None]
    for place, (task, task_id) in enumerate(zip(planned, task_ids, strict=True)):
        data = task_data(task, library, base_url, previous_task=neighbours[place], next_task=neighbours[place + 2])
        try:
            client.update_task_data(task_id, data)
        except LabelStudioError as error:
            raise LabelStudioError(
                f"The tasks {task_ids[0]} to {task_ids[-1]} of {task.record.name} were made, but not all were "
                f"linked: {error.message}",
                "Delete them and import the video again.",
            ) from error
