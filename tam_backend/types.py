"""Plain data that crosses the floors: prompts go in, masks come out.

Everywhere in the package frames are RGB, ``uint8``, shaped (H, W, 3); masks are ``bool``, shaped (H, W), at the
original size of the frame; coordinates are (x, y) in pixels of the original frame with the origin at its top left
corner; frame indices are 0-based.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple, NewType, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from tam_backend.errors import InvalidInputError, InvalidPromptError
from tam_backend.run_lengths import code_of, code_of_crop, crop_of, mask_of

BoolMask = NDArray[np.bool_]
RgbFrame = NDArray[np.uint8]
Box = tuple[float, float, float, float]

Source = Literal["prompt", "propagated", "refined"]

DrawnOrder = NewType("DrawnOrder", int)
"""The place of an object among those of its task, in the order of drawing, from 1: in one reading of the task only. The
next reading may give the number to another object."""

LastingId = NewType("LastingId", int)
"""The number under which a task's object is kept, from 1; never given to another one. A session of the task knows it by
this. (The public API knows plain `int` ids: whoever uses it chooses them.)"""


class Point(NamedTuple):
    """A click: (x, y) in pixels of the original frame; positive = on the object, negative = not on it."""

    x: float
    y: float
    positive: bool = True


MOST_OUTLINE_PX = 2_000_000
"""No longer outlines are filled: pycocotools takes some 40 bytes for each pixel of them, and if it does not get these
the process ends. That is more than a hundred times around a 4K frame."""


@dataclass(frozen=True, slots=True)
class EncodedMask:
    """A mask kept small: a few hundred bytes, whatever its size. Two are equal where their masks are.

    NumPy takes it as its (H, W) bool array.

    Args:
        counts: COCO's compressed run-length code; a mask has just one.
        size_hw: (H, W).

    >>> EncodedMask.of(np.eye(3, dtype=bool)) == EncodedMask.of(np.diag([7, 8, 9]))
    True
    """

    counts: bytes
    size_hw: tuple[int, int]

    @classmethod
    def of(cls, mask: NDArray[Any]) -> EncodedMask:
        """Encode an (H, W) mask; non-zero = object."""
        is_object = mask if mask.dtype == np.bool_ else mask != 0
        return cls(code_of(is_object), (mask.shape[0], mask.shape[1]))

    @classmethod
    def of_crop(cls, crop: BoolMask, corner_yx: tuple[int, int], size_hw: tuple[int, int]) -> EncodedMask:
        """Encode a part of a frame outside of which there is no mask.

        Args:
            crop: (h, w) bool.
            corner_yx: where its upper left pixel lies in the frame.
            size_hw: of the frame.
        """
        return cls(code_of_crop(crop, corner_yx, size_hw), size_hw)

    @classmethod
    def of_polygon(cls, corners_xy: Sequence[tuple[float, float]], size_hw: tuple[int, int]) -> EncodedMask:
        """Fill a polygon; corners in pixels, three at least. Raises as `of_polygons`."""
        return cls.of_polygons([np.asarray(corners_xy, np.float64)], size_hw)

    @classmethod
    def of_polygons(cls, polygons: Sequence[NDArray[np.float64]], size_hw: tuple[int, int]) -> EncodedMask:
        """Fill polygons as pycocotools does, and join them.

        Args:
            polygons: one at least; (N, 2) corners (x, y) in pixels each, N >= 3.
            size_hw: (height, width) of the frame.

        Raises:
            InvalidInputError: their outlines together are longer than `MOST_OUTLINE_PX`.
        """
        # An edge takes one pixel at least, so that this bounds the corners too.
        edges = (np.abs(np.roll(corners, -1, axis=0) - corners).max(axis=1) for corners in polygons)
        if sum(float(np.maximum(each, 1).sum()) for each in edges) > MOST_OUTLINE_PX:
            raise InvalidInputError(f"Its outline is more ragged than {MOST_OUTLINE_PX:,} pixels of edges.")
        codes = coco.frPyObjects([corners.ravel().tolist() for corners in polygons], *size_hw)
        return cls(bytes(coco.merge(codes, intersect=False)["counts"]), size_hw)

    @classmethod
    def union(cls, several: Sequence[EncodedMask]) -> EncodedMask:
        """Join masks of one size; nothing is decoded."""
        if len(several) == 1:
            return several[0]
        joined = coco.merge([each._code for each in several], intersect=False)
        return cls(bytes(joined["counts"]), several[0].size_hw)

    @property
    def array(self) -> BoolMask:
        """The (H, W) mask, bit for bit as it was; decoded anew each time, so ask once."""
        return mask_of(self.counts, self.size_hw)

    def crop(self) -> tuple[BoolMask, tuple[int, int]]:
        """Return the part of the mask with something in it, (h, w) bool, and its upper left pixel (y, x)."""
        return crop_of(self.counts, self.size_hw)

    @property
    def box_xyxy(self) -> Box | None:
        """The box around it, (x0, y0, x1, y1) in pixels, x1 and y1 exclusive; None if it is empty."""
        x, y, width, height = coco.toBbox(self._code).tolist()
        return (x, y, x + width, y + height) if width and height else None

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.asarray(self.array, dtype=dtype)

    @property
    def area(self) -> int:
        """How many pixels the mask covers; nothing is decoded."""
        return int(coco.area(self._code))

    def overlaps(self, other: EncodedMask) -> bool:
        """Whether both cover some pixel; nothing is decoded. The masks are of one size."""
        return int(coco.area(coco.merge([self._code, other._code], intersect=True))) > 0

    def iou(self, other: EncodedMask) -> float:
        """Return 0..1, the intersection over union; nothing is decoded. The masks are of one size."""
        return float(coco.iou([self._code], [other._code], [0])[0, 0])

    @property
    def _code(self) -> dict[str, Any]:
        return {"size": list(self.size_hw), "counts": self.counts}


@dataclass(frozen=True, eq=False, init=False)
class Prompt:
    """What a human says about one object on one frame: points, a box, a mask, or several of them.

    Args:
        object_id: the object, 1 or above; an id never used before starts a new object.
        frame: 0-based index of the frame.
        points: (x, y, positive) each, in pixels of the original frame.
        box: (x0, y0, x1, y1) in pixels of the original frame.
        mask: (H, W); non-zero = object. A mask alone is taken as it is; with points or a box it is a hint. It is kept
            encoded, so that hundreds of prompts fit into memory.
        label: the object's label; None leaves the label as it was.

    Raises:
        InvalidPromptError: no content, a coordinate that is no number, or an empty box or mask shape.

    >>> Prompt(object_id=1, frame=0, points=[(10, 20, True)]).points
    (Point(x=10.0, y=20.0, positive=True),)
    """

    object_id: int
    frame: int
    points: tuple[Point, ...]
    box: Box | None
    encoded_mask: EncodedMask | None
    label: str | None

    def __init__(
        self,
        object_id: int,
        frame: int,
        points: Sequence[tuple[float, float, bool]] = (),
        box: Sequence[float] | None = None,
        mask: NDArray[Any] | EncodedMask | None = None,
        label: str | None = None,
    ) -> None:
        if isinstance(object_id, bool) or not isinstance(object_id, (int, np.integer)) or object_id < 1:
            raise InvalidPromptError(f"Object id {object_id!r} is not a whole number from 1 up.")
        if isinstance(frame, bool) or not isinstance(frame, (int, np.integer)) or frame < 0:
            raise InvalidPromptError(f"Frame {frame!r} is not a whole number from 0 up.")
        values = {
            "object_id": object_id,
            "frame": frame,
            "points": tuple(_point(point) for point in points),
            "box": None if box is None else _box(box),
            "encoded_mask": None if mask is None else _encoded(mask),
            "label": label,
        }
        for name, value in values.items():
            object.__setattr__(self, name, value)
        if not self.points and self.box is None and self.encoded_mask is None:
            raise InvalidPromptError(
                f"The prompt for object {object_id} on frame {frame} is empty.",
                "Give at least one point, a box or a mask.",
            )

    @property
    def mask(self) -> BoolMask | None:
        """The (H, W) mask, decoded anew each time."""
        return None if self.encoded_mask is None else self.encoded_mask.array


def _point(values: Sequence[float]) -> Point:
    if len(values) not in (2, 3):
        raise InvalidPromptError(f"Point {values!r} is not (x, y, positive).")
    x, y = _number(values[0]), _number(values[1])
    return Point(x, y, bool(values[2]) if len(values) == 3 else True)


def _box(values: Sequence[float]) -> Box:
    if len(values) != 4:
        raise InvalidPromptError(f"Box {values!r} is not (x0, y0, x1, y1).")
    x0, y0, x1, y1 = (_number(value) for value in values)
    x0, x1 = sorted((x0, x1))
    y0, y1 = sorted((y0, y1))
    if x1 <= x0 or y1 <= y0:
        raise InvalidPromptError(f"Box {tuple(values)!r} has no area.", "Draw it with some width and height.")
    return (x0, y0, x1, y1)


def _encoded(mask: NDArray[Any] | EncodedMask) -> EncodedMask:
    if isinstance(mask, EncodedMask):
        return mask
    array = np.asarray(mask)
    if array.ndim != 2:
        raise InvalidPromptError(f"A mask prompt must be (height, width), not of shape {array.shape}.")
    return EncodedMask.of(array)


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        raise InvalidPromptError(f"Coordinate {value!r} is not a number.")
    number = float(value)
    if not math.isfinite(number):
        raise InvalidPromptError(f"Coordinate {value!r} is not a finite number.")
    return number


@dataclass(frozen=True, eq=False)
class Mask:
    """A mask and how far it is to be trusted. NumPy takes it as its (H, W) bool array.

    Args:
        array: (H, W) bool at the original size of the frame.
        quality: 0..1, an estimate of the mask's IoU with the truth.
    """

    array: BoolMask
    quality: float

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self.array, dtype=dtype, copy=copy)

    @property
    def shape(self) -> tuple[int, int]:
        """(H, W) of the frame."""
        return self.array.shape[0], self.array.shape[1]

    @property
    def area(self) -> int:
        """How many pixels the mask covers."""
        return int(np.count_nonzero(self.array))


@dataclass(frozen=True, eq=False)
class FrameResult:
    """All objects on one frame. An absent object has an empty mask, not a missing key.

    Args:
        frame: 0-based index.
        masks: object id -> (H, W) bool mask at the original size.
        quality: object id -> 0..1; of a mask, an estimate of its IoU with the truth; of an absent object's empty mask,
            how confident we are that it is absent.
        source: object id -> where the mask comes from: a human's prompt, propagation, or refinement.
    """

    frame: int
    masks: Mapping[int, BoolMask]
    quality: Mapping[int, float]
    source: Mapping[int, Source] = field(default_factory=dict)


@dataclass(frozen=True)
class Timing:
    """Where the seconds of a session went (wall clock)."""

    total_s: float = 0.0
    segment_s: float = 0.0
    track_s: float = 0.0
    decode_s: float = 0.0


# Containers that count in milliseconds (Matroska) round the times of a steady rate by so much.
_ROUNDING_S = 0.00101


@dataclass(frozen=True, eq=False)
class Timeline:
    """When a player shows each frame of a video; before the first one's time it shows the first.

    Args:
        starts_s: (frames,) float64, ascending, from 0 up: the seconds at which each frame appears.
        end_s: when the last one ends.
    """

    starts_s: NDArray[np.float64]
    end_s: float

    @property
    def is_steady(self) -> bool:
        """Whether frame i appears i frames after the first, as near as a container can tell."""
        starts = self.starts_s
        if len(starts) < 3:
            return True
        evenly = np.linspace(starts[0], starts[-1], len(starts))
        return bool(np.abs(starts - evenly).max() <= _ROUNDING_S)

    @property
    def begins_at_zero(self) -> bool:
        """Whether the first frame appears when the player begins."""
        return bool(self.starts_s[0] <= _ROUNDING_S)

    def frame_at(self, time_s: float) -> int:
        """Return the frame (0-based) that is shown at a time; ends are clamped."""
        return max(int(np.searchsorted(self.starts_s, time_s, side="right")) - 1, 0)

    def sampled(self, fps: float) -> list[int]:
        """Return the frames (0-based) that lie nearest to every 1 / fps seconds from the first one on, each once.

        >>> Timeline(np.array([0, 0.1, 0.2, 0.3, 1.3, 2.3]), 3.3).sampled(2)
        [0, 3, 4, 5]
        """
        elapsed = self.starts_s - self.starts_s[0]
        halfway = (elapsed[:-1] + elapsed[1:]) / 2
        # Frame i is nearest from halfway[i - 1] up to, but not including, halfway[i].
        first = np.ceil(np.concatenate(([0.0], halfway)) * fps - 1e-9)
        beyond = np.concatenate((halfway, [np.nextafter(elapsed[-1], np.inf)])) * fps - 1e-9
        beyond[-1] += 2e-9
        return [int(frame) for frame in np.flatnonzero(first < beyond)]


@runtime_checkable
class VideoSource(Protocol):
    """Frame-exact random access to a video, a folder of images or a list of frame URLs."""

    @property
    def name(self) -> str:
        """What to call it in messages: the file's or the folder's name."""

    @property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of every frame, after rotation."""

    @property
    def fps(self) -> float | None:
        """Mean frames per second; None where there is no clock (images)."""

    def __len__(self) -> int: ...

    def __getitem__(self, index: int) -> RgbFrame:
        """Return frame `index` (0-based). Raises FrameOutOfRangeError, UnreadableMediaError."""

    def __iter__(self) -> Iterator[RgbFrame]: ...

    def close(self) -> None:
        """Give back the file handles; calling it twice is harmless."""


def timeline_of(video: VideoSource) -> Timeline | None:
    """Return when each frame is shown; None where nothing tells. A `VideoSource` need not have a `timeline`."""
    timeline = getattr(video, "timeline", None)
    return timeline if isinstance(timeline, Timeline) else None
