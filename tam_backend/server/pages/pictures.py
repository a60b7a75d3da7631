"""Overlays of stored sessions as JPEGs: drawn on demand, one at a time, and kept for a while."""

from __future__ import annotations

import hashlib
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np

from tam_backend.errors import BusyError, NotFoundError
from tam_backend.export import overlay
from tam_backend.store.sessions import SessionKey, SessionStore, SessionSummary
from tam_backend.types import RgbFrame

FrameOf = Callable[[SessionKey, int], RgbFrame | None]
"""(session, 0-based frame) -> (H, W, 3) uint8 RGB; None where the video cannot be read now."""

THUMBNAIL_WIDTH = 320
_QUALITY = 85
_GREY = 96
_KEPT = 256  # thumbnails: some 20 kB each
# A browser asks again. Whoever waits holds one of the server's threads, and /health needs one.
_WAIT_S = 0.8


@dataclass(frozen=True)
class Drawn:
    """A JPEG.

    Args:
        jpeg: its bytes.
        etag: of the masks that it shows.
        on_video: False: the video could not be read, and the masks are drawn on grey.
    """

    jpeg: bytes
    etag: str
    on_video: bool


class Pictures:
    """Draws frames of sessions with their masks. Thread-safe.

    Args:
        store: where the masks are.
        frame_of: where the frames are.
    """

    def __init__(self, store: SessionStore, frame_of: FrameOf) -> None:
        self._store = store
        self._frame_of = frame_of
        self._one_at_a_time = threading.Lock()
        self._kept: OrderedDict[str, Drawn] = OrderedDict()

    def draw(self, summary: SessionSummary, frame: int, *, small: bool) -> Drawn:
        """Draw a frame, or return the drawing of before if nothing changed.

        Args:
            summary: whose.
            frame: 0-based.
            small: a thumbnail without texts.

        Raises:
            NotFoundError: the video has no such frame.
            BusyError: other pictures are being drawn.
            StoreError: the database refuses.
        """
        if not 0 <= frame < summary.frames:
            raise NotFoundError(
                f"Task {summary.key.task} has no frame {frame}; it has {summary.frames}, counted from 0.",
                "Look at the task's page.",
            )
        if not self._one_at_a_time.acquire(timeout=_WAIT_S):
            raise BusyError("Other pictures are being drawn.", "Reload the page in a moment.")
        try:
            masks = self._store.masks(summary.key, frame)
            etag = _etag(summary, frame, {each: mask.tobytes() for each, mask in masks.items()}, small=small)
            if etag in self._kept:
                self._kept.move_to_end(etag)
                return self._kept[etag]
            picture = self._frame_of(summary.key, frame)
            on_video = picture is not None and picture.shape[:2] == summary.size_hw
            if picture is None or not on_video:
                picture = np.full((*summary.size_hw, 3), _GREY, np.uint8)
            drawn = overlay(
                picture,
                masks,
                None if small else summary.labels,
                width=THUMBNAIL_WIDTH if small else None,
            )
            _, jpeg = cv2.imencode(".jpg", cv2.cvtColor(drawn, cv2.COLOR_RGB2BGR), [cv2.IMWRITE_JPEG_QUALITY, _QUALITY])
            answer = Drawn(jpeg.tobytes(), etag, on_video)
            if small and on_video:
                self._kept[etag] = answer
                if len(self._kept) > _KEPT:
                    self._kept.popitem(last=False)
            return answer
        finally:
            self._one_at_a_time.release()


def _etag(summary: SessionSummary, frame: int, masks: dict[int, bytes], *, small: bool) -> str:
    digest = hashlib.blake2b(digest_size=12)
    digest.update(repr((summary.key, frame, sorted(summary.labels.items()), small)).encode())
    for object_id, mask in masks.items():
        digest.update(str(object_id).encode())
        digest.update(mask)
    return digest.hexdigest()
