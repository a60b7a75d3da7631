"""What is kept of a labeled video while the networks learn: its labeled frames and a few between them, small."""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from tam_backend.adaptation.labeled import IdMask, LabeledVideo
from tam_backend.adaptation.outcome import AdaptationLimits
from tam_backend.errors import TamError
from tam_backend.types import RgbFrame

SmallIds = NDArray[np.uint8]

SHORTER_SIDE = 320
"""Of kept frames, pixels at most: somewhat more than a lesson's window shows."""
# Between labeled frames so far apart as a shot may be long, so many others are kept, to be tracked through.
_BETWEEN, _FARTHEST = 2, 60
_MOST_OBJECTS = 200


@dataclass(frozen=True, eq=False)
class KeptVideo:
    """Frames of a video in memory.

    Args:
        name: of the video.
        frames: frame index, ascending -> (h, w, 3) uint8.
        ids: frame index, ascending -> (h, w) uint8, of the labeled ones.
    """

    name: str
    frames: Mapping[int, RgbFrame]
    ids: Mapping[int, SmallIds]

    def digest(self) -> str:
        """Return what tells these labels from others."""
        hashed = hashlib.sha256(self.name.encode("utf-8", "replace"))
        for at, ids in self.ids.items():
            hashed.update(f"{at} {ids.shape}".encode())
            hashed.update(ids.tobytes())
        return hashed.hexdigest()


def keep(labeled: LabeledVideo, memory_bytes: int, notes: list[str]) -> KeptVideo:
    """Read a labeled video, as many of its labeled frames as the memory holds, evenly spread.

    A frame that cannot be read, or whose mask is not of its size, is left out.

    Args:
        labeled: the video.
        memory_bytes: for what is kept of it.
        notes: gets a sentence on what was left out, if anything was.
    """
    height, width = labeled.video.size_hw
    small_hw = _small_hw((height, width))
    affordable = memory_bytes // _bytes_a_frame(small_hw)
    frames: dict[int, RgbFrame] = {}
    ids: dict[int, SmallIds] = {}
    left_out: list[str] = []
    numbers: dict[int, int] = {}
    for at in evenly(sorted(labeled.masks), affordable):
        try:
            frame, mask = labeled.video[at], labeled.masks[at]
        except TamError as error:
            left_out.append(f"frame {at}: {error.message}")
            continue
        if mask.shape != (height, width) or frame.shape[:2] != (height, width):
            left_out.append(f"frame {at}: its mask is {mask.shape[-1]}x{mask.shape[0]}, not {width}x{height}")
            continue
        frames[at], ids[at] = _shrunk(frame, small_hw), _numbered(mask, small_hw, numbers)
    for at in _between(list(ids)):
        with suppress(TamError):  # nothing is asked of it
            frames[at] = _shrunk(labeled.video[at], small_hw)
    if left_out:
        notes.append(f"{labeled.name}: {len(left_out)} labeled frames were left out ({left_out[0].rstrip('.')}).")
    return KeptVideo(labeled.name, dict(sorted(frames.items())), ids)


def newest(videos: Sequence[LabeledVideo], limits: AdaptationLimits, notes: list[str]) -> list[LabeledVideo]:
    """Return the last of the videos, as many as there is time for and as memory holds with two labeled frames each.

    Args:
        videos: those of older tasks first.
        limits: of time and memory.
        notes: gets a sentence on the others, if there are any.
    """
    taken: list[LabeledVideo] = []
    largest = 0
    for each in reversed(videos):
        largest = max(largest, 2 * _bytes_a_frame(_small_hw(each.video.size_hw)))
        if len(taken) == limits.most_videos or (len(taken) + 1) * largest > limits.memory_bytes:
            break
        taken.append(each)
    if len(taken) < len(videos):
        notes.append(older_left_out(len(videos) - len(taken), len(taken)))
    return taken[::-1]


def older_left_out(left_out: int, taken: int) -> str:
    """Return what is said where there are more videos than there is time or memory for."""
    return (
        f"Only the videos of the newest tasks are taken, {taken} of them; there is no room for {left_out} older ones."
    )


def _small_hw(size_hw: tuple[int, int]) -> tuple[int, int]:
    """Return the size of kept frames."""
    height, width = size_hw
    scale = min(1.0, SHORTER_SIDE / min(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _bytes_a_frame(small_hw: tuple[int, int]) -> int:
    """Return what a labeled frame takes, with its mask and the frames to the next one."""
    return small_hw[0] * small_hw[1] * (3 * (1 + _BETWEEN) + 1)


def evenly(frames: Sequence[int], most: int) -> list[int]:
    """Return all of them, or `most` of them, evenly spread, the first and the last among them."""
    if len(frames) <= most:
        return list(frames)
    return [frames[round(at)] for at in np.linspace(0, len(frames) - 1, most)]


def _between(labeled: Sequence[int]) -> list[int]:
    """Return frames to track through from one labeled frame to the next.

    >>> _between([0, 9, 10, 400])
    [3, 6]
    """
    found = []
    for start, stop in itertools.pairwise(labeled):
        if stop - start <= _FARTHEST:
            steps = min(_BETWEEN + 1, stop - start)
            found += [start + (stop - start) * step // steps for step in range(1, steps)]
    return found


def _shrunk(frame: RgbFrame, small_hw: tuple[int, int]) -> RgbFrame:
    return np.asarray(cv2.resize(frame, small_hw[::-1], interpolation=cv2.INTER_AREA), np.uint8)


def _numbered(mask: IdMask, small_hw: tuple[int, int], numbers: dict[int, int]) -> SmallIds:
    """Return the mask, small, with the video's objects numbered from 1 in the order in which they are met."""
    for one in np.unique(mask):
        if one and len(numbers) < _MOST_OBJECTS:
            numbers.setdefault(int(one), len(numbers) + 1)
    renumbered = np.zeros(mask.shape, np.uint8)
    for one, number in numbers.items():
        renumbered[mask == one] = number
    return np.asarray(cv2.resize(renumbered, small_hw[::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
