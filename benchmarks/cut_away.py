"""Absence made on purpose: halfway through a clip another one is shown for some frames, and then the clip goes on.

Few of the clips that can be had show an object that leaves, and those are annotated there on a frame or two. Here all
objects are known to be absent on every frame of the other clip, and each must be found again. What is shown instead is
real video; it may hold things that look like the object.
"""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np

from benchmarks.clips import AnnotatedClip
from benchmarks.hard_kinds import JudgedMask, judge
from tam_backend import Prompt, TrackAnything
from tam_backend.errors import FrameOutOfRangeError
from tam_backend.types import RgbFrame

AWAY = 12


class CutAway:
    """Implements `VideoSource`: a clip, halfway the first frames of another one at its size, then the clip's rest.

    Args:
        clip: of two frames at least.
        foreign: the other clip.
        away: how many frames of it; fewer if it is shorter.
    """

    fps: float | None = None

    def __init__(self, clip: AnnotatedClip, foreign: AnnotatedClip, away: int = AWAY) -> None:
        self.name = clip.name
        self._clip, self._foreign = clip, foreign
        self.cut = len(clip) // 2
        """The first frame of the other clip."""
        self.away = min(away, len(foreign))

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of every frame."""
        return self._clip.size_hw

    def __len__(self) -> int:
        return len(self._clip) + self.away

    def __getitem__(self, index: int) -> RgbFrame:
        if not 0 <= index < len(self):
            raise FrameOutOfRangeError(f"Frame {index} is not in {self.name}.")
        place = self.place(index)
        if place is not None:
            return self._clip.frame(place)
        other = cv2.resize(self._foreign.frame(index - self.cut), self.size_hw[::-1], interpolation=cv2.INTER_AREA)
        return np.asarray(other, np.uint8)

    def __iter__(self) -> Iterator[RgbFrame]:
        return (self[index] for index in range(len(self)))

    def close(self) -> None:
        """Nothing is open."""

    def place(self, index: int) -> int | None:
        """Return which of the clip's frames is shown; None where it is the other clip's."""
        if index < self.cut:
            return index
        return None if index < self.cut + self.away else index - self.away


def track_cut_away(tam: TrackAnything, clip: AnnotatedClip, foreign: AnnotatedClip) -> dict[int, list[JudgedMask]]:
    """Track the objects that are drawn before the cut from their first masks, and judge what follows it.

    Returns:
        Object id -> one for each frame of the other clip, and for each judged frame after it.
    """
    video = CutAway(clip, foreign)
    starts = {object_id: start for object_id, start in clip.starts.items() if start < video.cut}
    judged: dict[int, list[JudgedMask]] = {object_id: [] for object_id in starts}
    if not starts:
        return judged
    annotated = {object_id: set(clip.judged(object_id)) for object_id in starts}
    nothing = np.zeros(video.size_hw, bool)
    with tam.session(video) as session:
        for object_id, start in starts.items():
            session.prompt(Prompt(object_id=object_id, frame=start, mask=clip.ids(start) == object_id))
        for result in session.propagate(video.cut):
            place = video.place(result.frame)
            for object_id in starts:
                if place is None or place in annotated[object_id]:
                    truth = nothing if place is None else clip.ids(place) == object_id
                    quality = result.quality[object_id]
                    judged[object_id].append(judge(object_id, truth, result.masks, quality))
    return judged
