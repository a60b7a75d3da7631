"""Where to look next: the frames whose correction is expected to gain most.

A correction is led through the whole gap between the keyframes around it (tracking/corrections.py): to the video's end
where no keyframe follows, else fused with what comes from the other keyframe, to which it yields evenly. So what a
frame is worth is the doubt in its gap, each frame's in the share that the correction would have there. A frame right
beside one that a human settled has nothing new to tell, and one chosen before has taken its share of the doubt.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

# A mask this sure needs no look, and counts as right.
_SURE = 0.9
# What gains less than this share of the best is not named: it looks different once the best is corrected.
_WORTH_A_LOOK = 0.2
# Frames nearer than this show the same: one of them is enough to see what is wrong.
_APART = 5
# So many frames from what a human settled, a frame tells two thirds of what one far away would: nearer, the mask is
# mostly right still, and a look at it costs a click for nothing (this and `_CARRIES` are measured: docs/loop.md).
_NOVEL = 10
# A correction mends about so much of the doubt that it reaches: what is tracked from it is not perfect either.
_MENDED = 0.4
# What is tracked from a frame is still a third of it so many frames away.
_CARRIES = 30
# Of longer gaps so many frames are weighed, each for those around it: the work grows with their square.
_MOST_PLACES = 256

_Frames = NDArray[np.int64]
_Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Suggestion:
    """A frame to look at, and why.

    Args:
        frame: 0-based.
        object_id: the object whose mask is doubtful there.
        quality: 0..1, what its mask is thought to be worth.
        gain: the masks that a correction is expected to mend, in wholly wrong ones.
    """

    frame: int
    object_id: int
    quality: float
    gain: float


def suggestions(
    qualities: Mapping[int, Mapping[int, float]], keyframes: Mapping[int, Collection[int]], count: int
) -> list[Suggestion]:
    """Choose frames whose correction is expected to mend most, apart from one another and from keyframes.

    Args:
        qualities: object id -> frame -> quality, frames ascending. Of an empty mask, how sure it is that the object
            cannot be seen.
        keyframes: object id -> frames that a human settled.
        count: at most so many.

    Returns:
        Most helpful first, each as if those before it had been corrected; fewer where little else is in doubt.
    """
    doubts = {object_id: _Doubt(track, keyframes.get(object_id, ())) for object_id, track in qualities.items() if track}
    chosen: list[Suggestion] = []
    while len(chosen) < count:
        best = max((each.best(object_id) for object_id, each in doubts.items()), key=lambda one: one.gain, default=None)
        if best is None or best.gain <= (_WORTH_A_LOOK * chosen[0].gain if chosen else 0):
            break
        chosen.append(best)
        for each in doubts.values():
            each.settle(best.frame)
    return chosen


class _Doubt:
    """One object's doubt: how much of each mask is thought to be wrong, and what correcting a frame would take away."""

    def __init__(self, track: Mapping[int, float], keyframes: Collection[int]) -> None:
        self._frames: _Frames = np.fromiter(track, np.int64, len(track))
        self._quality: _Floats = np.fromiter(track.values(), np.float64, len(track))
        self._settled = sorted(set(keyframes))
        self._may_be_named = (self._quality < _SURE) & ~np.isin(self._frames, self._settled)
        self._doubt = np.where(self._may_be_named, 1 - self._quality, 0.0)
        self._gains: dict[tuple[int | None, int | None], tuple[_Frames, _Floats]] = {}

    def best(self, object_id: int) -> Suggestion:
        """Return the frame of most gain, which is 0 if there is none."""
        at, gain = 0, 0.0
        for left, right, inside in self._gaps():
            if (left, right) not in self._gains:
                self._gains[left, right] = self._gains_within(left, right, inside)
            places, gains = self._gains[left, right]
            allowed = np.where(self._may_be_named[places], gains, 0.0)
            if allowed.size and allowed.max() > gain:
                at, gain = int(places[allowed.argmax()]), float(allowed.max())
        return Suggestion(int(self._frames[at]), object_id, float(self._quality[at]), gain)

    def settle(self, frame: int) -> None:
        """Take away what a look at a frame would mend, and name none beside it."""
        for left, right, inside in self._gaps():
            if (left is None or left < frame) and (right is None or frame < right):
                frames = self._frames[inside]
                self._doubt[inside] *= 1 - _MENDED * _influence(np.array([frame]), frames, left, right)[0]
        self._settled = sorted({*self._settled, frame})
        self._may_be_named &= np.abs(self._frames - frame) >= _APART

    def _gaps(self) -> Iterator[tuple[int | None, int | None, slice]]:
        """Yield the frame that is settled before, the one after, and which of the frames lie between."""
        bounds = [None, *self._settled, None]
        for left, right in pairwise(bounds):
            start = 0 if left is None else int(np.searchsorted(self._frames, left, "right"))
            stop = len(self._frames) if right is None else int(np.searchsorted(self._frames, right, "left"))
            if start < stop:
                yield left, right, slice(start, stop)

    def _gains_within(self, left: int | None, right: int | None, inside: slice) -> tuple[_Frames, _Floats]:
        """Return places in `_frames`, the most doubtful of each part of a gap, and what correcting them would gain."""
        places, within = np.arange(inside.start, inside.stop), self._doubt[inside]
        if len(places) > _MOST_PLACES:
            parts = np.array_split(places, _MOST_PLACES)
            within = np.array([self._doubt[part].sum() for part in parts])
            places = np.array([part[(self._doubt[part] * self._may_be_named[part]).argmax()] for part in parts])
        frames = self._frames[places]
        gains = _MENDED * _influence(frames, frames, left, right) @ within
        known = [each for each in (left, right) if each is not None]
        if known:
            distance = np.abs(frames[:, None] - np.array(known)).min(1)
            gains = gains * (1 - np.exp(-distance / _NOVEL))
        return places, gains


def _influence(at: _Frames, others: _Frames, left: int | None, right: int | None) -> _Floats:
    """Return (at, others), 0..1: the share that a keyframe would have in the masks of its gap's other frames.

    Args:
        at: frames of the gap that might become keyframes.
        others: frames of the gap.
        left, right: the keyframes around it.
    """
    distance = others[None, :] - at[:, None]
    share: _Floats = np.exp(-np.abs(distance) / _CARRIES)
    if right is not None:
        share = np.where(distance > 0, share * (right - others[None, :]) / (right - at[:, None]), share)
    if left is not None:
        share = np.where(distance < 0, share * (others[None, :] - left) / (at[:, None] - left), share)
    return share
