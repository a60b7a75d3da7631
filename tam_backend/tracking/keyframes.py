"""A human's masks of objects, kept encoded: hundreds of them cost no more memory than the one that is looked at."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import Mask


class ObjectKeyframes(Mapping[int, Mask]):
    """Frame -> a human's mask of one object, decoded anew each time it is read.

    Args:
        kept: frame -> the mask.
    """

    def __init__(self, kept: Mapping[int, KeptMask]) -> None:
        self._kept = dict(kept)

    def __getitem__(self, frame: int) -> Mask:
        return self._kept[frame].decoded

    def __contains__(self, frame: object) -> bool:
        return frame in self._kept

    def __iter__(self) -> Iterator[int]:
        return iter(self._kept)

    def __len__(self) -> int:
        return len(self._kept)

    def shows(self, frame: int) -> bool:
        """Whether the object can be seen on a keyframe: its mask is not empty. Nothing is decoded."""
        return self._kept[frame].encoded.area > 0

    def since(self, frame: int) -> ObjectKeyframes:
        """Return the keyframes from a frame on."""
        return ObjectKeyframes({each: mask for each, mask in self._kept.items() if each >= frame})


Keyframes = Mapping[int, ObjectKeyframes]
"""Object id -> frame -> a human's mask."""
