"""Which frames a correction can influence: those up to the human's nearest keyframes on both sides, and no others."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass


@dataclass(frozen=True)
class Gap:
    """The frames between two keyframes of one object, these left out.

    Args:
        left: the keyframe before; None: the gap begins with the video.
        right: the keyframe after; None: it ends with the video.
        frames: ascending.
    """

    left: int | None
    right: int | None
    frames: range


def gaps_around(keyframes: Collection[int], changed: Collection[int], frames_total: int) -> list[Gap]:
    """Return the gaps that a change of one object's keyframes leaves to be tracked anew.

    Args:
        keyframes: the object's, after the change.
        changed: frames where one was added, changed or taken away.
        frames_total: of the video.

    Returns:
        In ascending order, none twice, none empty; none at all for an object without keyframes.
    """
    if not keyframes:
        return []
    gaps: set[Gap] = set()
    for frame in changed:
        before = max((each for each in keyframes if each < frame), default=None)
        after = min((each for each in keyframes if each > frame), default=None)
        bounds = [(before, frame), (frame, after)] if frame in keyframes else [(before, after)]
        for left, right in bounds:
            within = range(0 if left is None else left + 1, frames_total if right is None else right)
            if within:
                gaps.add(Gap(left, right, within))
    return sorted(gaps, key=lambda gap: gap.frames.start)
