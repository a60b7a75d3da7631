"""A video cut into a chain of tasks: the masks that one task ends with begin the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tam_backend.pipeline.pursuit import Pursuit
from tam_backend.pipeline.tracks import encoded
from tam_backend.server.reading import ReadTask
from tam_backend.types import BoolMask


@dataclass(frozen=True, eq=False)
class Following:
    """What goes on in the next task.

    Args:
        task_id: the next task.
        masks: object key -> (label, (H, W) mask on the last frame of this task).
    """

    task_id: int
    masks: Mapping[str, tuple[str | None, BoolMask]]

    @property
    def seeds(self) -> dict[str, tuple[str | None, str]]:
        """For `TaskMemory.with_seeds`."""
        return {key: (label, encoded(mask).decode("ascii")) for key, (label, mask) in self.masks.items()}


def seeds_for_next(task: Mapping[str, Any], known: ReadTask, pursuit: Pursuit) -> Following | None:
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
