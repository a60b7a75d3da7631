"""What SAM 2.1 remembers of one object: keyframes for good, the last frames for a while. It does not grow."""

from __future__ import annotations

from collections import OrderedDict
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor

# Keyframes that an object reads: the first, and the others that were added last. The package reads all there are, each
# at the cost of a frame; eight are as many as the other trackers here read.
MOST_KEYFRAMES = 8
# Added to the number of a keyframe that lies elsewhere in the video: later than any frame of a pass. The package reads
# masks of later keyframes like any others, and no pointers, which tell how long ago something was.
_ELSEWHERE = 1 << 40


@dataclass(frozen=True, eq=False)
class Remembered:
    """One frame's memory of one object.

    Args:
        features: (1, C, h, w) bfloat16, as the package keeps them; None where only the pointer is still of use.
        positions: (1, C, h, w) the encoding of their places, one tensor for all frames and objects.
        pointer: (1, D) float32, the object as the decoder's token describes it.
    """

    features: Tensor | None
    positions: Tensor
    pointer: Tensor


class ObjectMemory:
    """The memory of one object, in the package's order.

    Args:
        frames: how many of the last frames are read with their masks.
        pointers: how many of the last frames are read with their pointers; not fewer.
    """

    def __init__(self, frames: int, pointers: int) -> None:
        self._frames = frames
        self._pointers = pointers
        self._keyframes: OrderedDict[int, Remembered] = OrderedDict()
        self._recent: OrderedDict[int, Remembered] = OrderedDict()
        self._elsewhere = 0

    @property
    def elements(self) -> int:
        """How many cells are remembered with their features."""
        kept = (*self._keyframes.values(), *self._recent.values())
        return sum(each.features[0, 0].numel() for each in kept if each.features is not None)

    def keep_for_good(self, frame: int, remembered: Remembered) -> None:
        """Keep a keyframe of the pass, by the number of its frame in the pass."""
        self._keyframes[frame] = remembered
        if len(self._keyframes) > MOST_KEYFRAMES:
            del self._keyframes[list(self._keyframes)[1]]

    def keep_from_elsewhere(self, remembered: Remembered) -> None:
        """Keep a keyframe that is not on the pass's way."""
        self.keep_for_good(_ELSEWHERE + self._elsewhere, remembered)
        self._elsewhere += 1

    def keep_for_now(self, frame: int, remembered: Remembered) -> None:
        """Keep the last frame, and forget of those before what will not be read again."""
        self._recent[frame] = remembered
        for older in [each for each in self._recent if each <= frame - self._pointers]:
            del self._recent[older]
        for older in [each for each in self._recent if each <= frame - self._frames]:
            self._recent[older] = replace(self._recent[older], features=None)

    def as_package(self) -> dict[str, dict[int, dict[str, Any]]]:
        """Return it as the package reads it."""
        return {
            "cond_frame_outputs": _as_package(self._keyframes),
            "non_cond_frame_outputs": _as_package(self._recent),
        }


def _as_package(frames: OrderedDict[int, Remembered]) -> dict[int, dict[str, Any]]:
    return {
        frame: {
            # In float32, to which the package brings them only if there are pointers to be read beside them.
            "maskmem_features": None if each.features is None else each.features.float(),
            "maskmem_pos_enc": [each.positions],
            "obj_ptr": each.pointer,
        }
        for frame, each in frames.items()
    }
