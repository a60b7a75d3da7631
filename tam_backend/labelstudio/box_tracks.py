"""Keyframes of a box on a <Video> -> a box on every frame of the file, as the editor shows it."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence

from tam_backend.labelstudio.checked import VideoKeyframe
from tam_backend.labelstudio.shapes import FractionBox
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.types import Box


class BoxTrack:
    """One object's boxes.

    Between two keyframes the editor moves the box evenly; after one that is switched off it shows none until the next;
    after the last one it stays where it is.

    Args:
        keyframes: ascending, one at least.
        clock: the editor's frames -> the file's.
    """

    def __init__(self, keyframes: Sequence[VideoKeyframe], clock: VideoClock) -> None:
        self._keyframes = {each.frame: each for each in keyframes}
        self._ordered = sorted(self._keyframes)
        self._clock = clock

    def by_human(self, index: int) -> bool:
        """Whether a human drew or moved the box on this very frame of the file (from 0)."""
        keyframe = self._keyframes.get(self._clock.first_shown.get(index, -1))
        return keyframe is not None and keyframe.by_human

    def box_xyxy(self, index: int, size_hw: tuple[int, int]) -> Box | None:
        """Return the box on a frame of the file (from 0), in pixels within the frame; None where none is shown."""
        box = self._on(self._clock.video_frame_of(index))
        if box is None:
            return None
        x0, y0, x1, y1 = box.enclosing(size_hw)
        height, width = size_hw
        x0, x1 = (min(max(value, 0.0), float(width)) for value in (x0, x1))
        y0, y1 = (min(max(value, 0.0), float(height)) for value in (y0, y1))
        return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None

    def _on(self, frame: int) -> FractionBox | None:
        place = bisect_right(self._ordered, frame)
        if not place:
            return None
        before = self._ordered[place - 1]
        last = self._keyframes[before]
        if before == frame:
            return last.box
        if not last.enabled:
            return None
        if place == len(self._ordered):
            return last.box
        after = self._ordered[place]
        part = (frame - before) / (after - before)
        a, b = last.box, self._keyframes[after].box
        return FractionBox(
            *(
                start + part * (end - start)
                for start, end in (
                    (a.x, b.x), (a.y, b.y), (a.width, b.width), (a.height, b.height), (a.rotation_deg, b.rotation_deg),
                )
            )
        )  # fmt: skip
