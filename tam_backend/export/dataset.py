"""What leaves as a dataset: a video, its objects with ids that stay, and what is known of them frame by frame."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Protocol

from tam_backend.types import Box, EncodedMask, RgbFrame

Provenance = Literal["human", "prompt", "started", "propagated", "refined"]
"""Who made a mask: a human drew or changed it; we answered a human's click with it; we answered with it what
Propagate was let begin with, such as a detector's box, or it was that; we tracked or refined it."""

_LONGEST_NAME = 80


@dataclass(frozen=True)
class DatasetObject:
    """One object of a video.

    Args:
        object_id: 1, 2, .. within its video, the same on every frame.
        category: its class, as the dataset calls it.
        labels: all that the annotator gave it, in order: the class comes from the first, others from further tags.
    """

    object_id: int
    category: str
    labels: tuple[str, ...] = ()


@dataclass(frozen=True)
class Shown:
    """One object on one frame: a mask, or where there is none a box.

    Args:
        object_id: whose it is.
        runs: its mask.
        box_xyxy: in pixels of the frame, where there is no mask.
        provenance: who made it.
        quality: 0..1, where the model told it.
        ignored: too doubtful to learn from: formats that have a place for such regions say so, the others leave it out.
        attributes: what a human hung on it: name of the tag -> choices, text, number.
    """

    object_id: int
    runs: EncodedMask | None = None
    box_xyxy: Box | None = None
    provenance: Provenance = "human"
    quality: float | None = None
    ignored: bool = False
    attributes: Mapping[str, Any] = field(default_factory=dict)

    @property
    def bounds(self) -> Box | None:
        """The box around its mask, or its box; None if nothing is to be seen."""
        return self.box_xyxy if self.runs is None else self.runs.box_xyxy


@dataclass(frozen=True)
class LabelledFrame:
    """A frame and the objects on it, by their ids. One without objects shows none of them.

    Args:
        index: of the page that was annotated, from 0; frames that are left out leave gaps.
        shown: in the order of the objects' ids.
    """

    index: int
    shown: tuple[Shown, ...]

    @property
    def size_hw(self) -> tuple[int, int] | None:
        """(height, width) of its masks, which all have one size; None where there is none to tell."""
        return next((each.runs.size_hw for each in self.shown if each.runs is not None), None)

    def masks(self, *, ignored: bool = False) -> dict[int, EncodedMask]:
        """Return object id -> mask of those that are, or are not, ignored."""
        return {each.object_id: each.runs for each in self.shown if each.runs is not None and each.ignored == ignored}


class Pictures(Protocol):
    """The frames' pixels, read when they are asked for."""

    def picture(self, index: int) -> RgbFrame:
        """Return a frame, (H, W, 3) uint8 RGB. Raises MediaError."""

    def file(self, index: int) -> Path | None:
        """Return the image file that is this frame, pixel for pixel; None where there is none, such as in a video."""

    def fps(self) -> float | None:
        """Return the mean frames per second; None without a clock."""


@dataclass(frozen=True, eq=False)
class DatasetVideo:
    """A video as it is exported; a video that was cut into tasks is one again.

    Args:
        name: of its files and folders: letters, digits, dots, dashes; unique in the dataset.
        size_hw: (height, width) in pixels.
        frames: gives the frames in their order, anew with each call; none is kept.
        objects: by their ids.
        tasks: Label Studio's, in the order of the frames.
        pictures: the pixels.
    """

    name: str
    size_hw: tuple[int, int]
    frames: Callable[[], Iterator[LabelledFrame]]
    objects: tuple[DatasetObject, ...]
    tasks: tuple[int, ...]
    pictures: Pictures


def frame_name(index: int) -> str:
    """Return what the files of a frame are called, as DAVIS calls them."""
    return f"{index:05d}"


def safe_name(text: str) -> str:
    """Return a text as part of a file's name on any system: letters, digits, dots and dashes.

    >>> safe_name("my clip (2).mp4"), safe_name("../"), safe_name("кот")
    ('my-clip-2-.mp4', 'video', 'кот')
    """
    composed = unicodedata.normalize("NFC", text)
    kept = "".join(each if each.isalnum() or each in "._" else "-" for each in composed)
    while "--" in kept:
        kept = kept.replace("--", "-")
    return kept.lstrip(".-")[:_LONGEST_NAME] or "video"


class ClassTable:
    """The classes of a dataset and their numbers, in the order in which they were named first.

    Args:
        names: those that are known from the start, such as the labels of the labeling config.
    """

    def __init__(self, names: Sequence[str] = ()) -> None:
        self._numbers: dict[str, int] = {}
        for name in names:
            self.number(name)

    def number(self, name: str) -> int:
        """Return a class's number, from 1; a new one for a new name."""
        return self._numbers.setdefault(name, len(self._numbers) + 1)

    @property
    def names(self) -> tuple[str, ...]:
        """All classes by their numbers."""
        return tuple(self._numbers)
