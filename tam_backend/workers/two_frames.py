"""The border of two videos that follow each other: masks on the last frame of one, tracked to the other's first."""

from __future__ import annotations

from collections.abc import Mapping

from tam_backend.engine import TrackAnything
from tam_backend.errors import InvalidInputError
from tam_backend.types import EncodedMask, Prompt, RgbFrame
from tam_backend.video.base import FrameSource


def across_border(
    tam: TrackAnything, masks: Mapping[int, EncodedMask], last: RgbFrame, first: RgbFrame
) -> dict[int, EncodedMask]:
    """Return masks as they are one frame later; objects that cannot be seen there are left out.

    Args:
        tam: the networks.
        masks: object id -> mask on `last`.
        last: (H, W, 3) uint8 RGB.
        first: (H, W, 3) uint8 RGB, what follows.

    Raises:
        InvalidInputError: the frames are of different sizes.
    """
    if last.shape != first.shape:
        raise InvalidInputError(
            "The frames of the next task are of another size than those of the task before it.",
            "Import the video again.",
        )
    with _TwoFrames(last, first) as pair, tam.session(pair) as session:
        for object_id, mask in masks.items():
            session.prompt(Prompt(object_id, 0, mask=mask))
        found = {result.frame: result.masks for result in session.propagate()}[1]
    return {object_id: EncodedMask.of(mask) for object_id, mask in found.items() if mask.any()}


class _TwoFrames(FrameSource):
    """Two images as a video."""

    def __init__(self, *frames: RgbFrame) -> None:
        super().__init__("two tasks' common border", (frames[0].shape[0], frames[0].shape[1]))
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> RgbFrame:
        return self._frames[index]

    def close(self) -> None:
        """Nothing is open."""
