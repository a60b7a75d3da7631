"""Where to look next: the frames whose correction is likely to help most."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping
from dataclasses import dataclass

# A mask this sure needs no look.
_SURE = 0.9
# A correction so many frames from a keyframe brings about two thirds of what it brings far away.
_NEAR = 8


@dataclass(frozen=True)
class Suggestion:
    """A frame to look at, and why.

    Args:
        frame: 0-based.
        object_id: the object whose mask is doubtful there.
        quality: 0..1, what its mask is thought to be worth.
    """

    frame: int
    object_id: int
    quality: float


def suggestions(
    qualities: Mapping[int, Mapping[int, float]], keyframes: Mapping[int, Collection[int]], count: int
) -> list[Suggestion]:
    """Choose frames that are doubtful, far from what a human has seen, and far from one another.

    Args:
        qualities: object id -> frame -> quality.
        keyframes: object id -> frames that a human settled.
        count: at most so many.

    Returns:
        Most helpful first; fewer where nothing else is in doubt.
    """
    chosen: list[Suggestion] = []
    doubts = [
        Suggestion(frame, object_id, quality)
        for object_id, track in qualities.items()
        for frame, quality in track.items()
        if quality < _SURE and frame not in keyframes.get(object_id, ())
    ]
    while doubts and len(chosen) < count:
        seen = [each.frame for each in chosen]

        def worth(doubt: Suggestion, seen: list[int] = seen) -> float:
            settled = [*keyframes.get(doubt.object_id, ()), *seen]
            distance = min((abs(doubt.frame - each) for each in settled), default=math.inf)
            return (1 - doubt.quality) * (1 - math.exp(-distance / _NEAR))

        best = max(doubts, key=worth)
        chosen.append(best)
        doubts = [doubt for doubt in doubts if doubt.frame != best.frame]
    return chosen
