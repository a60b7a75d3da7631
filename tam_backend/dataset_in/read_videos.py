"""What a dataset on disk gives: videos, their frames as files, and the masks on each frame.

What lies on disk was written by others: readers check everything that they take, and name what they refuse.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tam_backend.types import Box, EncodedMask


@dataclass(frozen=True)
class ReadMask:
    """An object on a frame.

    Args:
        object_id: the dataset's, the same on every frame of the video.
        mask: not empty, of the frame's size.
        label: its class; "" where the dataset names none.
        quality: 0..1, where the dataset tells it.
    """

    object_id: int
    mask: EncodedMask
    label: str = ""
    quality: float | None = None


@dataclass(frozen=True)
class ReadBox:
    """An object on a frame of which the dataset tells no more than a box.

    Args:
        object_id, label, quality: see `ReadMask`.
        box_xyxy: in pixels, within the frame; it has an area.
        size_hw: (height, width) of the frame.
    """

    object_id: int
    box_xyxy: Box
    size_hw: tuple[int, int]
    label: str = ""
    quality: float | None = None


@dataclass(frozen=True)
class ReadFrame:
    """A frame that was annotated, and what is on it; on one without masks and boxes there is no object.

    Args:
        index: its place among the video's files, from 0.
        masks: at most one an object, in the order of the objects' ids.
        boxes: of objects without a mask there.
    """

    index: int
    masks: tuple[ReadMask, ...]
    boxes: tuple[ReadBox, ...] = ()


@dataclass(frozen=True, eq=False)
class ReadVideo:
    """A video of a dataset.

    Args:
        name: as the dataset calls it.
        files: its frames' pictures, in their order.
        frames: yields those that were annotated, by their index, anew with each call; none is kept. It raises
            MediaError or InvalidInputError where a file is not what the format wants.
    """

    name: str
    files: tuple[Path, ...]
    frames: Callable[[], Iterator[ReadFrame]]


@dataclass(frozen=True, eq=False)
class ReadDataset:
    """A dataset.

    Args:
        classes: all that its masks may have; "" among them where some may have none.
        videos: yields them one by one, anew with each call.
        left_out: what is not taken -> how often; grows while frames are read.
    """

    classes: tuple[str, ...]
    videos: Callable[[], Iterator[ReadVideo]]
    left_out: Counter[str] = field(default_factory=Counter)


_BOX_NUMBERS = 4

MOST_OBJECT_ID = 10**12
"""Ids are below it: they become part of names in Label Studio, which have room for no more."""

IGNORED = "regions that are marked as doubtful (void, crowd, not judged)"
BOXES = "boxes without a mask"
NO_BOXES = "boxes without an area on their frame"
EMPTY = "masks without a pixel"


def box_of(bbox: Sequence[float], size_hw: tuple[int, int]) -> Box | None:
    """Return what lies on the frame of what COCO calls a bbox: x, y, width and height in pixels; None if it is none."""
    if len(bbox) != _BOX_NUMBERS:
        return None
    x, y, width, height = bbox
    return box_within((x, y, x + width, y + height), size_hw)


def box_within(box: Box, size_hw: tuple[int, int]) -> Box | None:
    """Return the part of a box, (x0, y0, x1, y1) in pixels, that lies on its frame; None where it has no area."""
    height, width = (float(side) for side in size_hw)
    x0, x1 = (min(max(value, 0.0), width) for value in (box[0], box[2]))
    y0, y1 = (min(max(value, 0.0), height) for value in (box[1], box[3]))
    return (x0, y0, x1, y1) if x1 > x0 and y1 > y0 else None
