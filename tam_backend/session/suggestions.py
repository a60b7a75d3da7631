"""Where to look next: the frames whose correction is likely to help most."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

# A mask this sure needs no look.
_SURE = 0.9
# A correction so many frames away helps about a third as much as one on the spot.
_REACH = 8
# Frames nearer than this show the same: one of them is enough to see what is wrong.
_APART = 5


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
    """Choose frames that are doubtful, amid others that are, far from what a human has seen, and far from one another.

    A correction helps its neighbours too, so what a frame is worth is the doubt around it that no keyframe is near to.

    Args:
        qualities: object id -> frame -> quality.
        keyframes: object id -> frames that a human settled.
        count: at most so many.

    Returns:
        Most helpful first; fewer where nothing else is in doubt.
    """
    chosen: list[Suggestion] = []
    while len(chosen) < count:
        best: tuple[float, Suggestion] | None = None
        for object_id, track in qualities.items():
            frames = np.array(list(track))
            if not frames.size:
                continue
            doubt = 1 - np.array(list(track.values()))
            settled = np.array([*keyframes.get(object_id, ()), *(each.frame for each in chosen)])
            if settled.size:
                doubt = doubt * (1 - _nearness(frames, settled).max(1))
            worth = _around(frames, doubt)
            worth[(np.array(list(track.values())) >= _SURE) | np.isin(frames, settled)] = 0
            for each in chosen:
                worth[np.abs(frames - each.frame) < _APART] = 0
            at = int(worth.argmax())
            if worth[at] > 0 and (best is None or worth[at] > best[0]):
                frame = int(frames[at])
                best = float(worth[at]), Suggestion(frame, object_id, track[frame])
        if best is None:
            break
        chosen.append(best[1])
    return chosen


def _around(frames: NDArray[np.int64], doubt: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return, for each of the ascending frames, all doubt weighted by its nearness; one sweep in each direction."""
    fading = np.exp(-np.diff(frames) / _REACH)
    before, after = np.zeros_like(doubt), np.zeros_like(doubt)
    for i in range(1, len(doubt)):
        before[i] = (before[i - 1] + doubt[i - 1]) * fading[i - 1]
        after[-i - 1] = (after[-i] + doubt[-i]) * fading[-i]
    around: NDArray[np.float64] = doubt + before + after
    return around


def _nearness(frames: NDArray[np.int64], others: NDArray[np.int64]) -> NDArray[np.float64]:
    """Return (frames, others): 1 for the same frame, falling with the distance."""
    nearness: NDArray[np.float64] = np.exp(-np.abs(frames[:, None] - others[None, :]) / _REACH)
    return nearness
