"""One video being worked on: its objects, their prompts and keyframes, and what follows from them."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Generator, Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field, replace
from types import TracebackType

import cv2
import numpy as np
import torch

from tam_backend.errors import (
    EmptyVideoError,
    FrameOutOfRangeError,
    InvalidInputError,
    InvalidPromptError,
    PromptOffFrameError,
)
from tam_backend.models.protocols import FrameEmbedding, Models, SegmenterPrompts
from tam_backend.pipeline.fair_lock import FairLock
from tam_backend.pipeline.passes import Workplace
from tam_backend.pipeline.propagation import propagate
from tam_backend.pipeline.scaling import Scaling
from tam_backend.pipeline.stopwatch import Stopwatch
from tam_backend.types import BoolMask, Box, FrameResult, Mask, Point, Prompt, Timing, VideoSource

# Encoded frames kept for further clicks; people click on one frame at a time.
EMBEDDINGS_KEPT = 2
# A mask prompt that is only a hint enters the segmenter as logits of this size: sigmoid(4) = 0.98.
HINT_LOGIT = 4.0


@dataclass(frozen=True, eq=False)
class _Known:
    """All that a human has said of one object on one frame so far."""

    points: tuple[Point, ...] = ()
    box: Box | None = None
    mask: BoolMask | None = None

    @property
    def is_mask_alone(self) -> bool:
        return self.mask is not None and not self.points and self.box is None


@dataclass(eq=False)
class _TrackedObject:
    label: str
    known: dict[int, _Known] = field(default_factory=dict)
    keyframes: dict[int, Mask] = field(default_factory=dict)


class Session:
    """The state of one video: prompts in, masks out. Made by `TrackAnything.session`; used by one thread at a time.

    A frame with a prompt is a keyframe. Prompts for the same object on the same frame add up: points are collected, a
    new box or mask replaces the earlier one.
    """

    def __init__(self, models: Models, lock: FairLock, video: VideoSource) -> None:
        if len(video) == 0:
            raise EmptyVideoError(f"{video.name} has no frame.", "Give a video or a folder with at least one image.")
        self._models = models
        self._lock = lock
        self._video = video
        self._stopwatch = Stopwatch()
        self._objects: dict[int, _TrackedObject] = {}
        self._embeddings: OrderedDict[int, FrameEmbedding] = OrderedDict()

    @property
    def video(self) -> VideoSource:
        """The video of this session."""
        return self._video

    @property
    def labels(self) -> Mapping[int, str]:
        """Object id -> label, in the order of the ids; "" where none was given."""
        return {object_id: self._objects[object_id].label for object_id in sorted(self._objects)}

    @property
    def timing(self) -> Timing:
        """Where the seconds went so far."""
        return self._stopwatch.read()

    def keyframes(self, object_id: int) -> Mapping[int, Mask]:
        """Return frame -> mask of the frames where a human prompted this object.

        Raises:
            InvalidInputError: there is no such object.
        """
        return dict(self._object(object_id).keyframes)

    def prompt(self, prompt: Prompt) -> Mask:
        """Take a human's word on one object and frame, and answer with the mask it makes.

        A mask alone is taken as it is; points and boxes, and a mask beside them as a hint, go to the segmenter.

        Raises:
            FrameOutOfRangeError: the video has no such frame.
            PromptOffFrameError: a point or the whole box lies outside the frame.
            InvalidPromptError: a mask of another size than the frame's, or only negative points.
        """
        self._check(prompt)
        tracked = self._objects.get(prompt.object_id) or _TrackedObject(label="")
        known = _add(tracked.known.get(prompt.frame, _Known()), prompt)
        mask = (
            Mask(known.mask, 1.0)
            if known.is_mask_alone and known.mask is not None
            else self._segment(prompt.frame, known)
        )
        # Stored only now: a prompt that failed leaves no trace.
        self._objects[prompt.object_id] = tracked
        tracked.known[prompt.frame] = known
        tracked.keyframes[prompt.frame] = mask
        if prompt.label is not None:
            tracked.label = prompt.label
        return mask

    def clear(self, object_id: int, frame: int) -> None:
        """Take back all prompts of an object on a frame.

        Raises:
            InvalidInputError: there is no such object, or it has no prompt there.
        """
        tracked = self._object(object_id)
        if frame not in tracked.known:
            raise InvalidInputError(f"Object {object_id} has no prompt on frame {frame}.")
        del tracked.known[frame], tracked.keyframes[frame]

    def remove(self, object_id: int) -> None:
        """Forget an object and all its prompts.

        Raises:
            InvalidInputError: there is no such object.
        """
        self._object(object_id)
        del self._objects[object_id]

    def propagate(self, start: int = 0, stop: int | None = None) -> Iterator[FrameResult]:
        """Track all objects over frames [start, stop), yielding one result per frame as soon as it is known.

        Frames come from the first keyframe to the end, then from the first keyframe back to the start. Closing the
        iterator cancels. The prompts at the time of the call count; later ones need a new call.

        Raises:
            InvalidInputError: nothing was prompted yet.
            FrameOutOfRangeError: the range holds no frame of the video.
        """
        steps = self.propagate_stepwise(start, stop)
        return _results(steps)

    def propagate_stepwise(self, start: int = 0, stop: int | None = None) -> Generator[FrameResult | None, None, None]:
        """Like `propagate`, but yield after every frame that is tracked: None where its result is not known yet.

        For callers that must look at a clock, or at a cancel button, between any two frames.
        """
        frames = len(self._video)
        end = frames if stop is None else min(stop, frames)
        if start < 0 or start >= end:
            raise FrameOutOfRangeError(
                f"Frames {start}:{'' if stop is None else stop} hold no frame of {self._video.name}.",
                f"It has frames 0 to {frames - 1}.",
            )
        keyframes = self._settled_keyframes()
        if not keyframes:
            raise InvalidInputError("There is nothing to propagate.", "Prompt at least one object first.")
        workplace = Workplace(
            models=self._models,
            lock=self._lock,
            video=self._video,
            scaling=Scaling(self._video.size_hw, self._models.tracker_side, self._models.device),
            stopwatch=self._stopwatch,
        )
        return propagate(workplace, keyframes, start, end)

    def close(self) -> None:
        """Forget everything held for the video. The video itself belongs to the caller and stays open."""
        self._embeddings.clear()
        self._objects.clear()

    def __enter__(self) -> Session:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _settled_keyframes(self) -> dict[int, dict[int, Mask]]:
        """Return object id -> frame -> mask, disjoint on each frame where the segmenter made them.

        A mask that a human gave whole keeps every pixel; of the others the better one keeps a disputed pixel.
        """
        settled = {object_id: dict(each.keyframes) for object_id, each in self._objects.items() if each.keyframes}
        for frame in {frame for masks in settled.values() for frame in masks}:
            here = [object_id for object_id, masks in settled.items() if frame in masks]
            given = [each for each in here if self._objects[each].known[frame].is_mask_alone]
            made = sorted((each for each in here if each not in given), key=lambda each: -settled[each][frame].quality)
            taken = np.zeros(self._video.size_hw, dtype=np.bool_)
            for object_id in given:
                taken |= settled[object_id][frame].array
            for object_id in made:
                mask = settled[object_id][frame]
                settled[object_id][frame] = replace(mask, array=mask.array & ~taken)
                taken |= mask.array
        return settled

    def _object(self, object_id: int) -> _TrackedObject:
        if object_id not in self._objects:
            known = ", ".join(map(str, sorted(self._objects))) or "none"
            raise InvalidInputError(f"There is no object {object_id}.", f"Known objects: {known}.")
        return self._objects[object_id]

    def _check(self, prompt: Prompt) -> None:
        frames, (height, width) = len(self._video), self._video.size_hw
        if prompt.frame >= frames:
            raise FrameOutOfRangeError(
                f"Frame {prompt.frame} is not in {self._video.name}.", f"It has frames 0 to {frames - 1}."
            )
        for x, y, _ in prompt.points:
            if not (0 <= x <= width and 0 <= y <= height):
                raise PromptOffFrameError(
                    f"Point ({x:g}, {y:g}) is off the frame of {width}x{height} pixels.",
                    "Points are x, y in pixels of the original frame.",
                )
        if prompt.box is not None:
            x0, y0, x1, y1 = prompt.box
            if x1 <= 0 or y1 <= 0 or x0 >= width or y0 >= height:
                raise PromptOffFrameError(
                    f"Box ({x0:g}, {y0:g}, {x1:g}, {y1:g}) is off the frame of {width}x{height} pixels.",
                    "Boxes are x0, y0, x1, y1 in pixels of the original frame.",
                )
        if prompt.mask is not None and prompt.mask.shape != (height, width):
            raise InvalidPromptError(
                f"The mask is {prompt.mask.shape[1]}x{prompt.mask.shape[0]} pixels, the frame {width}x{height}.",
                "Give masks at the original size of the frame.",
            )

    def _segment(self, frame: int, known: _Known) -> Mask:
        if known.box is None and known.mask is None and not any(point.positive for point in known.points):
            raise InvalidPromptError(
                f"Only negative points were given on frame {frame}.",
                "Add a positive point on the object, a box, or a mask.",
            )
        height, width = self._video.size_hw
        points = tuple(
            # A click on the outermost edge belongs to the last pixel.
            Point(min(point.x, width - 1), min(point.y, height - 1), point.positive)
            for point in known.points
        )
        box = None if known.box is None else _clip(known.box, width, height)
        embedding = self._embedding(frame)
        hint = None
        if known.mask is not None:
            small = cv2.resize(known.mask.astype(np.float32), embedding.input_hw[::-1], interpolation=cv2.INTER_AREA)
            hint = torch.from_numpy((small * 2 - 1) * HINT_LOGIT)
        with self._lock, self._stopwatch.measure("segment"):
            answer = self._models.segmenter.segment(
                embedding, SegmenterPrompts(points=points, box=box, mask_logits=hint)
            )
        return Mask(answer.mask, answer.predicted_iou)

    def _embedding(self, frame: int) -> FrameEmbedding:
        if frame not in self._embeddings:
            with self._stopwatch.measure("decode"):
                pixels = self._video[frame]
            with self._lock, self._stopwatch.measure("segment"):
                self._embeddings[frame] = self._models.segmenter.encode(pixels)
            while len(self._embeddings) > EMBEDDINGS_KEPT:
                self._embeddings.popitem(last=False)
        self._embeddings.move_to_end(frame)
        return self._embeddings[frame]


def _results(steps: Generator[FrameResult | None, None, None]) -> Iterator[FrameResult]:
    with closing(steps):
        yield from (result for result in steps if result is not None)


def _add(known: _Known, prompt: Prompt) -> _Known:
    box = known.box if prompt.box is None else (prompt.box[0], prompt.box[1], prompt.box[2], prompt.box[3])
    points = known.points + tuple(Point(*point) for point in prompt.points)
    if prompt.mask is None:
        return replace(known, points=points, box=box)
    if not prompt.points and prompt.box is None:
        return _Known(mask=prompt.mask)  # a whole mask says all; what was clicked before it is settled
    return _Known(points=points, box=box, mask=prompt.mask)


def _clip(box: Box, width: int, height: int) -> Box:
    x0, y0, x1, y1 = box
    return (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))
