"""All masks of a video that were found so far, kept small: COCO run-length codes, a few hundred bytes each."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Protocol

from tam_backend.types import EncodedMask, FrameResult, Mask, Source


@dataclass(frozen=True, slots=True)
class KeptMask:
    """One object's mask on one frame.

    Args:
        encoded: its pixels.
        quality: 0..1.
        source: where it comes from.
    """

    encoded: EncodedMask
    quality: float
    source: Source

    @property
    def decoded(self) -> Mask:
        """The mask, decoded anew each time."""
        return Mask(self.encoded.array, self.quality)


class TrackWriter(Protocol):
    """Keeps what `Tracks` keeps, somewhere else too."""

    def put(self, frame: int, masks: Mapping[int, KeptMask]) -> None:
        """Keep a frame's masks, by object id, in place of those it had."""

    def forget(self, object_id: int) -> None:
        """Drop an object."""


class Tracks:
    """Results by frame. What comes out is bit for bit what went in.

    Args:
        kept: frame -> object id -> mask, to begin with.
        writer: told of every change.
    """

    def __init__(
        self, kept: Mapping[int, Mapping[int, KeptMask]] | None = None, writer: TrackWriter | None = None
    ) -> None:
        self._kept: dict[int, dict[int, KeptMask]] = {frame: dict(masks) for frame, masks in (kept or {}).items()}
        self._writer = writer

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
            masks={object_id: each.encoded.array for object_id, each in kept.items()},
            quality={object_id: each.quality for object_id, each in kept.items()},
            source={object_id: each.source for object_id, each in kept.items()},
        )

    def encoded(self, frame: int) -> Mapping[int, KeptMask]:
        """Return object id -> mask of a frame, as they are kept. Raises KeyError where there is none."""
        return self._kept[frame]

    def put(self, result: FrameResult) -> None:
        """Keep a result in place of the frame's earlier one."""
        self._kept[result.frame] = {
            object_id: KeptMask(EncodedMask.of(mask), result.quality[object_id], result.source[object_id])
            for object_id, mask in result.masks.items()
        }
        if self._writer is not None:
            self._writer.put(result.frame, self._kept[result.frame])

    def kept(self, frame: int, object_id: int) -> KeptMask | None:
        """Return one object's mask, None where it has none."""
        return self._kept.get(frame, {}).get(object_id)

    def qualities(self, object_id: int) -> dict[int, float]:
        """Return frame -> quality of one object, in ascending order, without decoding any mask."""
        return {
            frame: self._kept[frame][object_id].quality
            for frame in sorted(self._kept)
            if object_id in self._kept[frame]
        }

    def forget(self, object_id: int) -> None:
        """Drop an object from every frame."""
        if self._writer is not None:
            self._writer.forget(object_id)  # first: what is stored may only ever be behind
        for kept in self._kept.values():
            kept.pop(object_id, None)

    def clear(self) -> None:
        """Drop everything from here; what was written elsewhere stays."""
        self._kept.clear()
