"""A video cut into a chain of tasks: the masks that one task ends with begin the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tam_backend.engine import TrackAnything
from tam_backend.errors import InvalidInputError
from tam_backend.service.read_task import ReadTask
from tam_backend.session.pursuit import Pursuit
from tam_backend.types import BoolMask, EncodedMask, Prompt, RgbFrame
from tam_backend.video.base import FrameSource


@dataclass(frozen=True, eq=False)
class Following:
    """What goes on in the next task.

    Args:
        task_id: the next task.
        masks: object key -> (label, (H, W) mask on the last frame of this task).
    """

    task_id: int
    masks: Mapping[str, tuple[str | None, BoolMask]]

    def moved_on(self, tam: TrackAnything, last: RgbFrame, first: RgbFrame) -> Following:
        """Return the masks as they are one frame later, on the next task's first frame.

        Args:
            tam: the networks.
            last: (H, W, 3) the frame that the masks are on.
            first: (H, W, 3) the next task's first frame.

        Raises:
            InvalidInputError: the frames are of different sizes.
        """
        if last.shape != first.shape:
            raise InvalidInputError(
                f"The frames of task {self.task_id} are of another size than those of the task before it.",
                "Import the video again.",
            )
        ids = dict(enumerate(self.masks, start=1))
        with _TwoFrames(last, first) as pair, tam.session(pair) as session:
            for object_id, key in ids.items():
                session.prompt(Prompt(object_id, 0, mask=self.masks[key][1]))
            found = {result.frame: result.masks for result in session.propagate()}[1]
        return Following(
            self.task_id,
            {key: (self.masks[key][0], found[number]) for number, key in ids.items() if found[number].any()},
        )

    @property
    def seeds(self) -> dict[str, tuple[str | None, str]]:
        """For `TaskMemory.with_seeds`."""
        return {key: (label, EncodedMask.of(mask).counts.decode("ascii")) for key, (label, mask) in self.masks.items()}


class _TwoFrames(FrameSource):
    """Two images as a video."""

    def __init__(self, *frames: RgbFrame) -> None:
        super().__init__("two tasks' common border", (frames[0].shape[0], frames[0].shape[1]))
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> RgbFrame:
        return self._frames[index]

    def close(self) -> None:
        """Nothing is open."""


def masks_for_next(task: Mapping[str, Any], known: ReadTask, pursuit: Pursuit) -> Following | None:
    """Return what is seen on a task's last frame, for the next task of its chain; None without one."""
    chain = task["data"].get("chain")
    next_task = chain.get("next_task") if isinstance(chain, Mapping) else None
    last = pursuit.frames_total - 1
    if not isinstance(next_task, int) or last not in pursuit.session.tracks:
        return None
    found = pursuit.session.tracks[last].masks
    masks = {
        each.key: (each.label, found[each.object_id])
        for each in known.followed
        if each.object_id in found and found[each.object_id].any()
    }
    return Following(next_task, masks) if masks else None
