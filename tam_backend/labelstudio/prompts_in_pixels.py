"""An object's regions -> its prompts in pixels of the frame, one per frame; and masks at the size that is asked for."""

from __future__ import annotations

from collections.abc import Container, Sequence

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import InvalidPromptError, PromptOffFrameError
from tam_backend.labelstudio.config import ControlKind
from tam_backend.labelstudio.objects import TaskObject
from tam_backend.labelstudio.regions import Region
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.types import BoolMask, Box, EncodedMask, LastingId, Prompt

_OFF_FRAME_TOLERANCE = 0.01  # of the frame: what the editor's rounding may put outside


def to_prompts(
    task_object: TaskObject[LastingId],
    size_hw: tuple[int, int],
    *,
    frames: Container[int] | None = None,
    clock: VideoClock | None = None,
) -> list[Prompt]:
    """Return an object's prompts, one per frame, by frame, in pixels of a frame of that size.

    On frames and images: all points, the newest box, and the masks to track from (a human's, or our accepted answer to
    a human's prompt); several masks on one frame are united. Where there are points or a box, any mask of the object on
    that frame goes with them as a hint. An object of which nothing but propagated masks is left speaks through the best
    of them. On a video: the boxes that a human drew.

    Args:
        task_object: as the session is to know it.
        size_hw: (height, width) of the frames as decoded.
        frames: only these (from 0); None = all.
        clock: needed for video boxes: their frames -> the file's.

    Raises:
        PromptOffFrameError: a point lies more than 1 % of the frame outside of it, or a box wholly.
        InvalidPromptError: a box without area.
        PayloadError: a mask that cannot be decoded.
    """
    if any(region.kind is ControlKind.VIDEO_BOX for region in task_object.regions):
        if clock is None:
            raise InvalidPromptError("Boxes on a video cannot be read without the video's frame rate and length.")
        prompts = _video_prompts(task_object, size_hw, clock)
    else:
        prompts = _frame_prompts(task_object, size_hw, frames)
    return [prompt for prompt in prompts if frames is None or prompt.frame in frames]


def with_what_it_adds_to(found: BoolMask, prompt: Prompt) -> BoolMask:
    """Return the mask that a prompt was answered with, with all of the object's mask that the prompt only adds to.

    That is so where all its points are positive and lie outside of that mask: that they speak of its object was
    guessed, and a guess takes nothing away.
    """
    there = prompt.mask
    if there is None or prompt.box is not None:
        return found
    height, width = there.shape
    if any(not positive or there[min(int(y), height - 1), min(int(x), width - 1)] for x, y, positive in prompt.points):
        return found
    both: BoolMask = found | there
    return both


def _frame_prompts(
    task_object: TaskObject[LastingId], size_hw: tuple[int, int], frames: Container[int] | None
) -> list[Prompt]:
    prompts = []
    for frame in sorted({region.frame for region in task_object.regions}):
        if frames is not None and frame not in frames:
            continue
        here = task_object.on_frame(frame)
        points = [_point_xy(region, size_hw) for region in here if region.point is not None]
        boxes = [_box_xyxy(region, size_hw) for region in here if region.box is not None]
        masks = [region for region in here if region.is_keyframe or (region.is_mask and (points or boxes))]
        if points or boxes or masks:
            prompts.append(
                Prompt(
                    task_object.object_id,
                    frame,
                    points,
                    boxes[-1] if boxes else None,
                    _union(masks, size_hw),
                    task_object.label,
                )
            )
    if prompts or frames is not None:
        return prompts
    best = max((r for r in task_object.regions if r.is_mask), key=lambda r: r.score or 0.0)
    mask = _union([best], size_hw)
    return [Prompt(task_object.object_id, best.frame, mask=mask, label=task_object.label)]


def _video_prompts(task_object: TaskObject[LastingId], size_hw: tuple[int, int], clock: VideoClock) -> list[Prompt]:
    keyframes = [(region, keyframe) for region in task_object.regions for keyframe in region.keyframes]
    by_human = [item for item in keyframes if item[1].by_human] or keyframes[:1]
    boxes = {
        clock.index_of_video_frame(keyframe.frame): _clip(keyframe.box.enclosing(size_hw), size_hw, region)
        for region, keyframe in by_human
    }
    return [
        Prompt(task_object.object_id, index, box=box, label=task_object.label) for index, box in sorted(boxes.items())
    ]


def _point_xy(region: Region, size_hw: tuple[int, int]) -> tuple[float, float, bool]:
    point = region.point
    if point is None:
        raise InvalidPromptError(f'Region "{region.region_id}" has no point.')
    if not all(-_OFF_FRAME_TOLERANCE <= value <= 1 + _OFF_FRAME_TOLERANCE for value in (point.x, point.y)):
        raise PromptOffFrameError(
            f'The point "{region.region_id}" lies outside frame {region.frame} '
            f"({100 * point.x:.1f} % of the width, {100 * point.y:.1f} % of the height).",
            "Delete it and click on the image.",
        )
    height, width = size_hw
    x, y = (min(max(v * size, 0.0), size - 1.0) for v, size in ((point.x, width), (point.y, height)))
    return x, y, point.positive


def _box_xyxy(region: Region, size_hw: tuple[int, int]) -> Box:
    if region.box is None:
        raise InvalidPromptError(f'Region "{region.region_id}" has no box.')
    return _clip(region.box.enclosing(size_hw), size_hw, region)


def _clip(box: Box, size_hw: tuple[int, int], region: Region) -> Box:
    """Return the part of a box that lies on the frame: an object that leaves the frame has a box that does."""
    height, width = (float(size) for size in size_hw)
    x0, x1 = (min(max(value, 0.0), width) for value in (box[0], box[2]))
    y0, y1 = (min(max(value, 0.0), height) for value in (box[1], box[3]))
    if box[2] <= 0 or box[3] <= 0 or box[0] >= width or box[1] >= height:
        raise PromptOffFrameError(
            f'The box "{region.region_id}" lies outside the frame.', "Delete it and draw it on the image."
        )
    if x1 <= x0 or y1 <= y0:
        raise InvalidPromptError(f'The box "{region.region_id}" has no area.', "Delete it and draw a larger one.")
    return x0, y0, x1, y1


def _union(regions: Sequence[Region], size_hw: tuple[int, int]) -> BoolMask | EncodedMask | None:
    encoded = [region.encoded_mask for region in regions if region.encoded_mask is not None]
    if len(encoded) == 1 and encoded[0].size_hw == tuple(size_hw):
        return encoded[0]  # as nearly always: nothing has to be decoded
    masks = [resized(mask.array, size_hw) for mask in encoded]
    return np.logical_or.reduce(masks) if masks else None


def resized(mask: BoolMask, size_hw: tuple[int, int]) -> BoolMask:
    """Return a mask at another (height, width), by the nearest pixel: as it was drawn on a scaled copy of the frame."""
    if mask.shape == tuple(size_hw):
        return mask
    rows, columns = (_nearest(new, old) for new, old in zip(size_hw, mask.shape, strict=True))
    return mask[np.ix_(rows, columns)]


def _nearest(new: int, old: int) -> NDArray[np.int64]:
    return ((np.arange(new) + 0.5) * old / new).astype(np.int64)
