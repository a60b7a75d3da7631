"""From qualities of masks to the score of a task: how Label Studio's order by score shows the doubtful tasks first.

A mean over all frames would hide ten lost frames among two hundred good ones. A task is worth what its worst stretches
are worth: the mean of the lowest tenth of its frames, a frame being as good as its worst mask.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

DOUBTFUL = 0.7
"""A mask of less quality needs a human's look; quality is calibrated to tell masks of an IoU below 0.7."""

_WORST_PART = 0.1


def worst_by_frame(masks: Iterable[tuple[int, float]]) -> dict[int, float]:
    """Return frame -> the quality of its worst mask, in ascending order.

    Args:
        masks: (frame, quality 0..1) of each mask. Leave out masks that a human settled, and those of absent objects.
    """
    worst: dict[int, float] = {}
    for frame, quality in masks:
        worst[frame] = min(quality, worst.get(frame, 1.0))
    return dict(sorted(worst.items()))


def task_score(qualities: Iterable[float]) -> float | None:
    """Return the mean of the lowest tenth of the qualities, of one at least; None where there are none.

    >>> round(task_score([0.9] * 18 + [0.2, 0.4]), 2)
    0.3
    """
    ascending = sorted(qualities)
    if not ascending:
        return None
    lowest = ascending[: math.ceil(len(ascending) * _WORST_PART)]
    return math.fsum(lowest) / len(lowest)
