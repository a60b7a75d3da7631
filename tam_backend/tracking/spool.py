"""Masks that have to wait: on disk, so that memory does not grow with the video."""

from __future__ import annotations

import tempfile
import zlib
from dataclasses import dataclass
from types import TracebackType

import numpy as np

from tam_backend.types import BoolMask, Mask


@dataclass(frozen=True)
class _Entry:
    offset: int
    length: int
    quality: float


class MaskSpool:
    """Holds masks by (frame, object) in an unnamed temporary file.

    Args:
        size_hw: (height, width) of every mask.
    """

    def __init__(self, size_hw: tuple[int, int]) -> None:
        self._size_hw = size_hw
        self._file = tempfile.TemporaryFile(prefix="tam-spool-")  # noqa: SIM115 - closed by close()
        self._entries: dict[int, dict[int, _Entry]] = {}
        self._end = 0

    def put(self, frame: int, object_id: int, mask: Mask) -> None:
        """Keep a mask."""
        data = zlib.compress(np.packbits(mask.array).tobytes(), level=1)
        self._file.seek(self._end)
        self._file.write(data)
        self._entries.setdefault(frame, {})[object_id] = _Entry(self._end, len(data), mask.quality)
        self._end += len(data)

    def take(self, frame: int) -> dict[int, Mask]:
        """Hand out all masks of a frame by object id, once."""
        entries = self._entries.pop(frame, {})
        return {object_id: Mask(self._read(entry), entry.quality) for object_id, entry in entries.items()}

    def _read(self, entry: _Entry) -> BoolMask:
        self._file.seek(entry.offset)
        bits = np.frombuffer(zlib.decompress(self._file.read(entry.length)), dtype=np.uint8)
        height, width = self._size_hw
        return np.unpackbits(bits, count=height * width).reshape(height, width).astype(np.bool_)

    def close(self) -> None:
        """Give the disk space back."""
        self._file.close()

    def __enter__(self) -> MaskSpool:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
