"""What the service asks of those who hold networks and open sessions, whatever process or machine they are in.

A `View` names what is worked on; a worker opens it when it is first asked for, and keeps it open for the next call. The
embedded default is `in_process.InProcessWorkers`; `ray_workers.RayWorkers` reaches workers elsewhere by the same calls.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Literal, Protocol

from tam_backend.errors import MediaError
from tam_backend.store.sessions import SessionKey
from tam_backend.types import EncodedMask, FrameResult, Mask, Prompt, Timeline, VideoSource, timeline_of

Work = Literal["click", "track", "background"]
"""What a view is lent for: one mask, a propagation that somebody waits for, one that nobody waits for."""

Cancelled = Callable[[], bool]
"""Asked now and then; True: nobody waits for the answer any more."""


@dataclass(frozen=True)
class View:
    """What a task shows, as one annotator sees it.

    Args:
        key: of its session.
        address: of the media, or the addresses of its pages.
        task_id: Label Studio's id of the task, where it has one: its media are asked for by it.
        one_page: whether the page shows one picture only; media of several are refused.
    """

    key: SessionKey
    address: str | tuple[str, ...]
    task_id: int | None = None
    one_page: bool = False


@dataclass(frozen=True, eq=False)
class ViewedVideo:
    """What is known of a video without its frames.

    Args:
        name: what to call it in messages.
        frames: how many it has.
        size_hw: (height, width) of every frame, upright.
        fps: mean frames per second; None without a clock.
        timeline: when each frame is shown; None where nothing tells.
        version: of the networks that it is opened with.
    """

    name: str
    frames: int
    size_hw: tuple[int, int]
    fps: float | None = None
    timeline: Timeline | None = None
    version: str = ""

    @classmethod
    def of(cls, video: VideoSource, version: str = "") -> ViewedVideo:
        """Read them off a video."""
        return cls(video.name, len(video), video.size_hw, video.fps, timeline_of(video), version)


class Tracking(Protocol):
    """A stored session's tracking, lent to one caller at a time, who makes it go on step by step."""

    @property
    def frames_total(self) -> int:
        """How many frames the video has."""

    @property
    def frames_done(self) -> int:
        """How many of them have the result that the prompts give."""

    @property
    def done(self) -> bool:
        """Whether nothing is left to track."""

    @property
    def superseded(self) -> bool:
        """Whether somebody asked for a propagation of other prompts meanwhile."""

    @property
    def contested(self) -> bool:
        """Whether somebody waits for what is lent."""

    @property
    def unreadable(self) -> Mapping[int, MediaError]:
        """Frame -> what is wrong with it, of the damaged frames that were left out."""

    def advance(self) -> Sequence[int]:
        """Track on for a moment; return the frames (0-based) whose results came of it, maybe none.

        Raises:
            TamError: what went wrong; the next call tries again where this one stopped.
        """

    def results(self) -> Iterator[FrameResult]:
        """Yield all frames tracked so far, in ascending order."""

    def result_on(self, frame: int) -> FrameResult | None:
        """Return the result of one frame; None where there is none."""


class OpenView(Protocol):
    """A view that a worker has open."""

    @property
    def video(self) -> ViewedVideo:
        """What is known of its video."""

    def own_size_hw(self, frame: int) -> tuple[int, int]:
        """Return the (height, width) of a frame before it was scaled to the size of the others.

        Raises:
            MediaError: it cannot be had now.
        """

    def click(self, prompts: Sequence[Prompt], cancelled: Cancelled) -> Mask:
        """Answer all prompts for one object on one frame, given together; what was said before does not count.

        The newest click on an object and frame wins: the editor drops the answers to earlier ones.

        Args:
            prompts: at least one.
            cancelled: asked before the networks work.

        Raises:
            CancelledError: `cancelled` said so, or a newer click came.
            TamError: what `Session.prompt` raises.
        """

    def tracking(
        self, prompts: Sequence[Prompt], deadline_s: float, cancelled: Cancelled, *, takes_over: bool = True
    ) -> AbstractContextManager[Tracking]:
        """Lend the stored session's tracking, brought to these prompts, to somebody who waits for its masks.

        The newest intent wins: whoever works with other prompts finds itself `superseded`, by those who take over.

        Args:
            prompts: of all objects.
            deadline_s: of `time.monotonic`; until when to wait for whoever has it.
            cancelled: asked while waiting.
            takes_over: False: whoever works now may finish.

        Raises:
            BusyError: another request propagates this task and does not end in time, or another process has it.
            CancelledError: `cancelled` said so.
            TamError: what `Session.prompt` raises.
        """

    def tracking_in_background(self, prompts: Sequence[Prompt]) -> AbstractContextManager[Tracking]:
        """Lend it to a job that nobody waits for; look at `contested` between steps.

        Raises:
            BusyError: somebody has it.
            TamError: what `Session.prompt` raises.
        """

    def carried_over(
        self, masks: Mapping[int, EncodedMask], following: View, timeout_s: float
    ) -> Mapping[int, EncodedMask]:
        """Return masks of this video's last frame as they are on the first frame of the one that follows it.

        Args:
            masks: object id -> mask.
            following: the next part of the same video.
            timeout_s: how long its media may take.

        Returns:
            The objects that can be seen there.

        Raises:
            InvalidInputError: the frames of the two are of different sizes.
            TamError: the next video cannot be had.
        """


@dataclass(frozen=True)
class WorkerState:
    """What people see of one worker.

    Args:
        name: tells it from others.
        process: the number of its process, on its machine.
        device: where its networks live; what was asked for until they are loaded.
        ready: whether the networks can be used at once.
        failure: why they could not be loaded; "" = no failure.
        waiting: how many calls are at work or wait there.
        busy_s: seconds in which it worked for at least one call.
        frames: how many frames it tracked.
        clicks: how many clicks it answered.
        up_s: seconds since it began.
    """

    name: str
    process: int
    device: str
    ready: bool
    failure: str = ""
    waiting: int = 0
    busy_s: float = 0.0
    frames: int = 0
    clicks: int = 0
    up_s: float = 0.0

    @property
    def busy_share(self) -> float:
        """How much of its time it has worked, 0..1."""
        return self.busy_s / self.up_s if self.up_s else 0.0

    @property
    def frames_per_s(self) -> float:
        """How many frames it tracked in a second of work."""
        return self.frames / self.busy_s if self.busy_s else 0.0


class Workers(Protocol):
    """All of them, as one process of the HTTP side sees them. Thread-safe."""

    @property
    def at_once(self) -> int:
        """How many propagations they can do side by side."""

    def lent(self, view: View, timeout_s: float, work: Work) -> AbstractContextManager[OpenView]:
        """Lend a view on the worker that has it, or is to have it.

        Args:
            view: of a task.
            timeout_s: how long to wait for networks, and for the media.
            work: what for.

        Raises:
            BusyError: the networks are not there in time, or too many wait already.
            WorkerLostError: the worker ended meanwhile; another one can be asked.
            TamError: the media cannot be had, or the networks.
        """

    def states(self) -> Sequence[WorkerState]:
        """Return what can be told of each at once; those that do not answer are left out."""

    def start(self) -> None:
        """Begin to make ready; returns at once."""

    def close(self) -> None:
        """Close all views; their sessions stay stored."""
