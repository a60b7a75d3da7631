"""A video cut into a chain of tasks: the masks that one task ends with begin the next one."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tam_backend.service.read_task import ReadTask
from tam_backend.types import EncodedMask
from tam_backend.workers.workers import OpenView, Tracking, View


@dataclass(frozen=True, eq=False)
class Following:
    """What goes on in the next task.

    Args:
        task_id: the next task.
        labels: object key -> label.
        masks: object key -> the mask on the last frame of this task.
    """

    task_id: int
    labels: Mapping[str, str | None]
    masks: Mapping[str, EncodedMask]

    def seeds(self, opened: OpenView, view: View, timeout_s: float) -> dict[str, tuple[str | None, str]]:
        """Return the masks as they are on the next task's first frame, for `TaskMemory.with_seeds`.

        Args:
            opened: this task.
            view: the next one.
            timeout_s: how long its media may take.

        Raises:
            TamError: see `OpenView.carried_over`.
        """
        ids = dict(enumerate(self.masks, start=1))
        found = opened.carried_over({number: self.masks[key] for number, key in ids.items()}, view, timeout_s)
        return {ids[number]: (self.labels[ids[number]], mask.counts.decode("ascii")) for number, mask in found.items()}


def next_task(data: Mapping[str, Any]) -> int | None:
    """Return which task goes on after the one that has these data; None: its chain ends there, or there is none."""
    return _neighbour(data, "next_task")


def previous_task(data: Mapping[str, Any]) -> int | None:
    """Return which task comes before, see `next_task`."""
    return _neighbour(data, "previous_task")


def _neighbour(data: Mapping[str, Any], name: str) -> int | None:
    chain = data.get("chain")
    number = chain.get(name) if isinstance(chain, Mapping) else None
    return number if isinstance(number, int) else None


def masks_for_next(task: Mapping[str, Any], known: ReadTask, tracking: Tracking) -> Following | None:
    """Return what is seen on a task's last frame, for the next task of its chain; None without one."""
    following = next_task(task["data"])
    last = tracking.result_on(tracking.frames_total - 1) if following is not None else None
    if last is None or following is None:
        return None
    seen = [each for each in known.followed if each.object_id in last.masks and last.masks[each.object_id].any()]
    masks = {each.key: EncodedMask.of(last.masks[each.object_id]) for each in seen}
    return Following(following, {each.key: each.label for each in seen}, masks) if masks else None
