"""What every video source refuses: frames outside the video, and frames too large to decode."""

from __future__ import annotations

from tam_backend.errors import FrameOutOfRangeError, MediaTooLargeError

MAX_PIXELS = 1 << 26
"""8192 x 8192: twice an 8K frame, 200 MB as RGB. Anything larger is taken for a decompression bomb."""


def check_index(name: str, index: int, length: int) -> None:
    """Raise FrameOutOfRangeError unless 0 <= index < length."""
    if not 0 <= index < length:
        raise FrameOutOfRangeError(
            f"{name} has no frame {index}.", f"Its {length} frame(s) are numbered 0 to {length - 1}."
        )


def check_pixel_count(name: str, width: int, height: int) -> None:
    """Raise MediaTooLargeError for frames of more than `MAX_PIXELS`, before anything is decoded."""
    if width * height > MAX_PIXELS:
        raise MediaTooLargeError(
            f"{name} is {width} x {height} pixels; the limit is {MAX_PIXELS // 10**6} megapixels per frame.",
            "Scale it down first.",
        )
