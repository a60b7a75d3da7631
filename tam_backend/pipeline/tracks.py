"""All masks of a video that were found so far, kept small: COCO run-length codes, a few hundred bytes each."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco

from tam_backend.types import BoolMask, FrameResult, Mask, Source


@dataclass(frozen=True)
class _Kept:
    counts: bytes
    quality: float
    source: Source


class Tracks:
    """Results by frame. What comes out is bit for bit what went in.

    Args:
        size_hw: (height, width) of every mask.
    """

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self._size_hw = size_hw
        self._kept: dict[int, dict[int, _Kept]] = {}

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, frame: int) -> bool:
        return frame in self._kept

    def __iter__(self) -> Iterator[FrameResult]:
        """Yield all results, in ascending order of their frames."""
        for frame in sorted(self._kept):
            yield self[frame]

    def __getitem__(self, frame: int) -> FrameResult:
        """Return the result of a frame. Raises KeyError where there is none."""
        kept = self._kept[frame]
        return FrameResult(
            frame=frame,
            masks={object_id: self._decoded(each) for object_id, each in kept.items()},
            quality={object_id: each.quality for object_id, each in kept.items()},
            source={object_id: each.source for object_id, each in kept.items()},
        )

    def put(self, result: FrameResult) -> None:
        """Keep a result in place of the frame's earlier one."""
        self._kept[result.frame] = {
            object_id: _Kept(_encoded(mask), result.quality[object_id], result.source[object_id])
            for object_id, mask in result.masks.items()
        }

    def mask(self, frame: int, object_id: int) -> Mask | None:
        """Return one object's mask, None where it has none."""
        kept = self._kept.get(frame, {}).get(object_id)
        return None if kept is None else Mask(self._decoded(kept), kept.quality)

    def qualities(self, object_id: int) -> dict[int, float]:
        """Return frame -> quality of one object, in ascending order, without decoding any mask."""
        return {
            frame: self._kept[frame][object_id].quality
            for frame in sorted(self._kept)
            if object_id in self._kept[frame]
        }

    def forget(self, object_id: int) -> None:
        """Drop an object from every frame."""
        for kept in self._kept.values():
            kept.pop(object_id, None)

    def clear(self) -> None:
        """Drop everything."""
        self._kept.clear()

    def _decoded(self, kept: _Kept) -> BoolMask:
        return np.asarray(coco.decode({"size": list(self._size_hw), "counts": kept.counts}), dtype=np.bool_)


def _encoded(mask: BoolMask) -> bytes:
    code: dict[str, bytes] = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return code["counts"]
