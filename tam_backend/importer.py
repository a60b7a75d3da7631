"""Videos into Label Studio: they are registered, and their tasks are made and linked.

The tasks hold only URLs that this backend serves and signs (`video.library`), so Label Studio needs no disk of ours.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Protocol
from urllib.parse import unquote_to_bytes, urlsplit

from tam_backend.errors import LabelStudioError, MediaForbiddenError, TamError
from tam_backend.planned_tasks import FrameSelection, Origin, PlannedTask, plan_tasks, task_data
from tam_backend.types import Timeline, VideoSource
from tam_backend.video.library import VideoLibrary
from tam_backend.video.video_records import VideoRecord, fingerprint


class TaskClient(Protocol):
    """What is needed of Label Studio's API."""

    def create_tasks(self, project_id: int, data: Sequence[Mapping[str, Any]]) -> Sequence[int]:
        """Create one task per item, in this order; return their ids in this order."""

    def update_task_data(self, task_id: int, data: Mapping[str, Any]) -> None:
        """Replace a task's data."""


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
    on_done: Callable[[ImportedVideo | FailedVideo], None] = lambda video: None,  # noqa: ARG005 - says nothing
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
        on_done: called with each video that has arrived or failed, at once.
    """
    imported: list[ImportedVideo] = []
    failed: list[FailedVideo] = []
    for path in paths:
        try:
            file = _arrived(path, download, on_progress)
            video = import_video(
                file,
                project_id,
                library=library,
                client=client,
                base_url=base_url,
                selection=selection,
                transcode_to=transcode_to,
                on_progress=partial(on_progress, path),
            )
        except TamError as error:  # noqa: PERF203 - the others shall arrive
            failed.append(FailedVideo(path, error))
            on_done(failed[-1])
        else:
            imported.append(video)
            on_done(video)
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
