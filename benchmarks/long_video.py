"""A video that does not end: `python -m benchmarks.long_video CLIP [--frames 5000] [--side 160]`.

An annotated clip is shown back and forth, a little brighter or darker and moved aside each time, and tracked from its
first mask, through a session. Prints for every 500 frames the resident memory, the time per frame, and, of the frames
with a true mask, J and the area beside the true one. A session that starts afresh from the true mask at the last of
these stretches tells what the frames before did to it.
"""

from __future__ import annotations

import argparse
import os
import statistics
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.clips import AnnotatedClip, find_clips
from benchmarks.resident import resident_mb
from benchmarks.scores import BoolMask, region_similarity
from tam_backend import Prompt, TrackAnything
from tam_backend.errors import FrameOutOfRangeError
from tam_backend.types import RgbFrame

EVERY = 500
# Frames for one swing of the brightness and of the place; neither divides the clip's own period.
_BRIGHTNESS_PERIOD, _PLACE_PERIOD = 317.0, 211.0
_BRIGHTNESS_SWING, _PLACE_SWING_PX = 0.2, 12.0


class EndlessClip:
    """Implements `VideoSource`: an annotated clip back and forth, with changes.

    Args:
        clip: with masks.
        object_id: whose truth is told.
        frames: how many to show.
        first: which of the endless frames is frame 0 here.
    """

    fps: float | None = None

    def __init__(self, clip: AnnotatedClip, object_id: int, frames: int, first: int = 0) -> None:
        self.name = clip.name
        self._pixels = [clip.frame(at) for at in range(len(clip))]
        self._truth = {at: clip.ids(at) == object_id for at in clip.masks}
        self._frames = frames
        self._first = first

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of every frame."""
        return self._pixels[0].shape[0], self._pixels[0].shape[1]

    def __len__(self) -> int:
        return self._frames

    def __getitem__(self, index: int) -> RgbFrame:
        if not 0 <= index < self._frames:
            raise FrameOutOfRangeError(f"Frame {index} is not in {self.name}.")
        moved = cv2.warpAffine(
            self._pixels[self._place(index)],
            self._motion(index),
            self.size_hw[::-1],
            flags=cv2.INTER_NEAREST,
            borderMode=cv2.BORDER_REFLECT_101,
        )
        gain = 1 + _BRIGHTNESS_SWING * np.sin(2 * np.pi * (self._first + index) / _BRIGHTNESS_PERIOD)
        return np.asarray(np.clip(moved * gain, 0, 255), np.uint8)

    def __iter__(self) -> Iterator[RgbFrame]:
        return (self[index] for index in range(self._frames))

    def close(self) -> None:
        """Nothing is open."""

    def truth(self, index: int) -> BoolMask | None:
        """Return the (H, W) true mask of a frame; None where it is not known."""
        mask = self._truth.get(self._place(index))
        if mask is None:
            return None
        moved = cv2.warpAffine(mask.astype(np.uint8), self._motion(index), self.size_hw[::-1], flags=cv2.INTER_NEAREST)
        return np.asarray(moved > 0)

    def first_shown(self) -> int | None:
        """Return the first frame with a true mask that shows the object; None if there is none."""
        for index in range(self._frames):
            mask = self.truth(index)
            if mask is not None and mask.any():
                return index
        return None

    def _place(self, index: int) -> int:
        turn = len(self._pixels) - 1
        place = (self._first + index) % (2 * turn)
        return min(place, 2 * turn - place)

    def _motion(self, index: int) -> NDArray[np.float32]:
        angle = 2 * np.pi * (self._first + index) / _PLACE_PERIOD
        shift = np.round(_PLACE_SWING_PX * np.array([np.sin(angle), 0.5 * (1 - np.cos(angle))]))
        return np.array([[1, 0, shift[0]], [0, 1, shift[1]]], np.float32)


@dataclass(frozen=True)
class Step:
    """A tracked frame.

    Args:
        frame: 0-based.
        milliseconds: that it took.
        region: J in percent; None on the first true mask's frame and where no object is known to be.
        area_ratio: the mask's area beside the true one; None as `region`.
    """

    frame: int
    milliseconds: float
    region: float | None = None
    area_ratio: float | None = None


@dataclass(frozen=True)
class Row:
    """What was measured over some frames: medians, but for the memory, which is that at their end."""

    frames: int
    resident_mb: int
    milliseconds: float
    region: float
    area_ratio: float


@dataclass(frozen=True)
class Drift:
    """Mean J in percent at both ends of a long video; None where no frame of an end can be judged.

    Args:
        clip: its name.
        object_id: which was tracked.
        frames: of the video.
        first: over its first tenth.
        last: over its last tenth, after the first true mask there.
        fresh: over the same frames, of a session that starts from that mask. What is shown there may be harder than at
            the beginning; `fresh` less `last` is what the frames before cost, a mask from nearby included.
    """

    clip: str
    object_id: int
    frames: int
    first: float | None
    last: float | None
    fresh: float | None


def steps(tam: TrackAnything, video: EndlessClip) -> Iterator[Step]:
    """Track from the first frame that shows the object; nothing if none does."""
    start = video.first_shown()
    if start is None:
        return
    with tam.session(video) as session:
        session.prompt(Prompt(object_id=1, frame=start, mask=video.truth(start)))
        began = time.perf_counter()
        for result in session.propagate(start):
            step = Step(result.frame, (time.perf_counter() - began) * 1e3)
            truth = video.truth(result.frame)
            if truth is not None and truth.any() and result.frame > start:
                answer = result.masks[1]
                ratio = np.count_nonzero(answer) / np.count_nonzero(truth)
                step = replace(step, region=100 * region_similarity(answer, truth), area_ratio=ratio)
            yield step
            began = time.perf_counter()


def run(tam: TrackAnything, video: EndlessClip) -> Iterator[Row]:
    """Track from the first true mask; yield a row for every `EVERY` frames."""
    done: list[Step] = []
    for step in steps(tam, video):
        done.append(step)
        if len(done) == EVERY or step.frame == len(video) - 1:
            regions = [each.region for each in done if each.region is not None]
            ratios = [each.area_ratio for each in done if each.area_ratio is not None]
            times = [each.milliseconds for each in done]
            yield Row(len(done), resident_mb(), *(statistics.median(each) for each in (times, regions, ratios)))
            done = []


def drift(tam: TrackAnything, clip: AnnotatedClip, object_id: int, frames: int) -> Drift:
    """Track an object over some frames, 10 at least, and over their last tenth anew."""
    tenth = frames // 10
    worn = _regions(tam, EndlessClip(clip, object_id, frames))
    fresh = _regions(tam, EndlessClip(clip, object_id, tenth, frames - tenth), frames - tenth)
    return Drift(
        clip.name,
        object_id,
        frames,
        first=_mean([region for frame, region in worn.items() if frame < tenth]),
        last=_mean([worn[frame] for frame in fresh]),
        fresh=_mean(list(fresh.values())),
    )


def print_drift(rows: Sequence[Drift]) -> None:
    """Print the table; the mean counts every object the same and leaves out those without all three figures."""
    print(f"{'drift':<18}{'object':>7}{'frames':>8}{'J, first tenth':>16}{'last':>8}{'fresh start':>13}{'lost':>7}")
    whole = []
    for row in rows:
        print(f"{row.clip:<18}{row.object_id:>7}{row.frames:>8}", end="")
        if row.first is None or row.last is None or row.fresh is None:
            print("   no true mask in the first or the last tenth")
            continue
        whole.append((row.first, row.last, row.fresh, row.fresh - row.last))
        print("{:>16.1f}{:>8.1f}{:>13.1f}{:>+7.1f}".format(*whole[-1]))
    if whole:
        print(
            f"{'mean over objects':<18}{len(whole):>7}{'':>8}"
            + "{:>16.1f}{:>8.1f}{:>13.1f}{:>+7.1f}".format(*np.mean(whole, 0))
        )


def _regions(tam: TrackAnything, video: EndlessClip, first: int = 0) -> dict[int, float]:
    """Return J in percent by frame, counted from `first`, where it is known."""
    return {first + step.frame: step.region for step in steps(tam, video) if step.region is not None}


def _mean(regions: Sequence[float]) -> float | None:
    return statistics.fmean(regions) if regions else None


def main() -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("clip", type=Path, help="a folder of JPEGImages and Annotations")
    parser.add_argument("--object", type=int, default=1)
    parser.add_argument("--frames", type=int, default=5000)
    parser.add_argument("--side", type=int, default=160, help="shorter side of tracked frames, pixels")
    parser.add_argument("--profile", default="compact")
    arguments = parser.parse_args()
    torch.set_num_threads(2)
    tam = TrackAnything.load(arguments.profile, tracker_side=arguments.side)
    (clip,) = find_clips([arguments.clip])
    print(f"{clip.name}, {arguments.profile}, side {arguments.side}, load {os.getloadavg()[0]:.1f}")
    print(f"{'frames':>12}{'resident':>12}{'ms a frame':>12}{'J':>7}{'area / true area':>18}")
    done = 0
    for row in run(tam, EndlessClip(clip, arguments.object, arguments.frames)):
        _show(f"{done}-{done + row.frames - 1}", row)
        done += row.frames
    start = max(0, arguments.frames - EVERY)
    for row in run(tam, EndlessClip(clip, arguments.object, min(EVERY, arguments.frames), start)):
        _show("fresh start", row)
    print(f"load {os.getloadavg()[0]:.1f}")


def _show(name: str, row: Row) -> None:
    figures = f"{row.resident_mb:>9} MB{row.milliseconds:>12.1f}{row.region:>7.1f}{row.area_ratio:>18.3f}"
    print(f"{name:>12}{figures}", flush=True)


if __name__ == "__main__":
    main()
