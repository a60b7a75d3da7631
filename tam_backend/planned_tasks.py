"""Which frames of a video become pages, how it is cut into chained tasks, and the tasks' data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple

from tam_backend.errors import InvalidInputError, printable
from tam_backend.types import Timeline
from tam_backend.video.library import VideoLibrary
from tam_backend.video.video_records import VideoRecord

# What Label Studio's editor carries well: at 100 pages every click freezes it for seconds, or it takes gigabytes.
DEFAULT_MAX_FRAMES = 50


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


class ShownPages(NamedTuple):
    """What a task shows, by which a repeated import knows it.

    Args:
        video: its id in the library.
        first, last: its first and last frame in the video, from 0.
        pages: how many there are.
    """

    video: str
    first: int
    last: int
    pages: int

    @classmethod
    def of_task(cls, data: Mapping[str, Any], library: VideoLibrary) -> ShownPages | None:
        """Return what a task of Label Studio shows; None where that is no video of the library."""
        frames = data.get("frames")
        if not isinstance(frames, list) or not frames:
            return None
        first, last = (library.own_frame(str(frames[at])) for at in (0, -1))
        if first is None or last is None or first[0] != last[0]:
            return None
        return cls(first[0], first[1], last[1], len(frames))

    @classmethod
    def of_plan(cls, task: PlannedTask) -> ShownPages:
        """Return what a task that is to be made will show."""
        return cls(task.record.id, task.frame_indices[0], task.frame_indices[-1], len(task.frame_indices))


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

    The address of a video tells its name, those of a folder's frames do not: of a folder there is its `name`.

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
    else:
        data["name"] = printable(task.record.name)
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
