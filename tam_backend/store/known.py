"""What a human has said of one object on one frame: how prompts add up, and which ones a video can take."""

from __future__ import annotations

from dataclasses import dataclass, replace

from tam_backend.errors import FrameOutOfRangeError, InvalidPromptError, PromptOffFrameError
from tam_backend.types import Box, EncodedMask, Point, Prompt, VideoSource


@dataclass(frozen=True, eq=False)
class Known:
    """All that was said so far.

    Args:
        points: clicks.
        box: the last box.
        mask: the last mask; a hint where there are points or a box too.
        hint: what was tracked there when the first click came; goes to the segmenter with the clicks.
    """

    points: tuple[Point, ...] = ()
    box: Box | None = None
    mask: EncodedMask | None = None
    hint: EncodedMask | None = None

    @property
    def is_mask_alone(self) -> bool:
        """Whether a mask says it all."""
        return self.mask is not None and not self.points and self.box is None

    def says_the_same(self, other: Known) -> bool:
        """Tell whether a human said the same; what was tracked there does not count."""
        return (self.points, self.box, self.mask) == (other.points, other.box, other.mask)

    def plus(self, prompt: Prompt) -> Known:
        """Return what is known with one more prompt: points add up, a new box or mask replaces the earlier one."""
        box = self.box if prompt.box is None else prompt.box
        points = self.points + prompt.points
        if prompt.encoded_mask is None:
            return replace(self, points=points, box=box)
        if not prompt.points and prompt.box is None:
            return Known(mask=prompt.encoded_mask)  # a whole mask says all; what was clicked before it is settled
        return Known(points=points, box=box, mask=prompt.encoded_mask)

    def within(self, size_hw: tuple[int, int]) -> tuple[tuple[Point, ...], Box | None]:
        """Return points and box, moved onto a frame of (height, width)."""
        height, width = size_hw
        points = tuple(
            # A click on the outermost edge belongs to the last pixel.
            Point(min(point.x, width - 1), min(point.y, height - 1), point.positive)
            for point in self.points
        )
        if self.box is None:
            return points, None
        x0, y0, x1, y1 = self.box
        return points, (max(x0, 0.0), max(y0, 0.0), min(x1, float(width)), min(y1, float(height)))


def check_prompt(prompt: Prompt, video: VideoSource) -> None:
    """Refuse a prompt that the video cannot take.

    Raises:
        FrameOutOfRangeError: the video has no such frame.
        PromptOffFrameError: a point or the whole box lies outside the frame.
        InvalidPromptError: a mask of another size than the frame's.
    """
    height, width = video.size_hw
    check_frame(prompt.frame, video)
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
    if prompt.encoded_mask is not None:
        check_size(prompt.encoded_mask.size_hw, video)


def check_frame(frame: int, video: VideoSource) -> None:
    """Raise FrameOutOfRangeError where the video has no such frame."""
    if not 0 <= frame < len(video):
        raise FrameOutOfRangeError(f"Frame {frame} is not in {video.name}.", f"It has frames 0 to {len(video) - 1}.")


def check_size(shape: tuple[int, ...], video: VideoSource) -> None:
    """Raise InvalidPromptError where a mask of this shape, (H, W), does not fit the frames."""
    height, width = video.size_hw
    if shape != (height, width):
        size = "x".join(map(str, reversed(shape)))
        raise InvalidPromptError(
            f"The mask is {size} pixels, the frame {width}x{height}.",
            "Give masks at the original size of the frame.",
        )
