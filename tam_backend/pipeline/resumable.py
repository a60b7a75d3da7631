"""A propagation that can stop at any frame and go on later, with all it found so far kept small.

Masks are kept as COCO run-length codes (pycocotools), a few hundred bytes each.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from pycocotools import mask as coco

from tam_backend.pipeline.session import Session
from tam_backend.types import BoolMask, FrameResult, Source


@dataclass(frozen=True)
class _Kept:
    counts: bytes
    quality: float
    source: Source


class ResumablePropagation:
    """`Session.propagate`, frame by frame at the caller's pace.

    Args:
        session: with its prompts made; belongs to this object from now on.
    """

    def __init__(self, session: Session) -> None:
        self._session = session
        self._running = session.propagate_stepwise()
        self._kept: dict[int, dict[int, _Kept]] = {}
        self.frames_total = len(session.video)
        self.broken = False

    @property
    def frames_done(self) -> int:
        """How many frames have a result."""
        return len(self._kept)

    @property
    def done(self) -> bool:
        """Whether every frame has one."""
        return self.frames_done == self.frames_total

    def advance(self) -> FrameResult | None:
        """Track one more frame, and return its result if it has one already; None also when all are done.

        Raises:
            TamError: what went wrong, once. From then on this propagation is `broken`: begin a new one.
        """
        if self.broken or self.done:
            return None
        try:
            result = next(self._running)
        except Exception:
            self.broken = True
            raise
        if result is not None:
            self._kept[result.frame] = {
                object_id: _Kept(_encode(mask), result.quality[object_id], result.source[object_id])
                for object_id, mask in result.masks.items()
            }
            if self.done:
                self._running.close()  # gives the tracker's memory back
        return result

    def results(self) -> Iterator[FrameResult]:
        """Yield all frames tracked so far, in ascending order."""
        size_hw = self._session.video.size_hw
        for frame in sorted(self._kept):
            kept = self._kept[frame]
            yield FrameResult(
                frame=frame,
                masks={object_id: _decode(each.counts, size_hw) for object_id, each in kept.items()},
                quality={object_id: each.quality for object_id, each in kept.items()},
                source={object_id: each.source for object_id, each in kept.items()},
            )

    def close(self) -> None:
        """Stop for good and forget everything."""
        self._running.close()
        self._session.close()
        self._kept.clear()


def _encode(mask: BoolMask) -> bytes:
    code: dict[str, bytes] = coco.encode(np.asfortranarray(mask, dtype=np.uint8))
    return code["counts"]


def _decode(counts: bytes, size_hw: tuple[int, int]) -> BoolMask:
    return np.asarray(coco.decode({"size": list(size_hw), "counts": counts}), dtype=np.bool_)
