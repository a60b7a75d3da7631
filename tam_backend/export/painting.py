"""Masks drawn on frames: for overlay videos, contact sheets and the task's page."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.export.palette import bright_palette
from tam_backend.types import BoolMask, RgbFrame

if TYPE_CHECKING:
    import supervision as sv


def overlay(
    frame: RgbFrame, masks: Mapping[int, BoolMask], labels: Mapping[int, str] | None = None, *, width: int | None = None
) -> RgbFrame:
    """Return a copy of one frame with its masks drawn on it, scaled down to `width` pixels where it is wider.

    Args:
        frame: (H, W, 3) uint8 RGB.
        masks: object id -> (H, W) bool; empty masks are not drawn.
        labels: object id -> text beside the id; without any, nothing is written on the picture.
        width: of the copy; None = as it is.
    """
    height_px, width_px = frame.shape[:2]
    if width is None or width >= width_px:
        return Painter((height_px, width_px), texts=labels is not None).paint(frame, masks, labels or {})
    small_hw = (max(round(height_px * width / width_px), 1), width)
    return Painter(small_hw, texts=labels is not None).paint_scaled(frame, masks, labels or {})


class Painter:
    """Draws masks on frames of one size: translucent fill, outline, and a label where the object is."""

    def __init__(self, size_hw: tuple[int, int], *, texts: bool = True) -> None:
        import supervision as sv  # noqa: PLC0415 - takes a second to import

        self._size_hw = size_hw
        self._texts = texts
        bright = bright_palette()
        colours = sv.ColorPalette([sv.Color(*(int(value) for value in colour)) for colour in bright])
        dark_text = bright @ (0.299, 0.587, 0.114) > 120  # luma of ITU-R BT.601
        text_colours = sv.ColorPalette([sv.Color.BLACK if dark else sv.Color.WHITE for dark in dark_text])
        thickness = max(round(min(size_hw) / 400), 1)
        self._fill = sv.MaskAnnotator(color=colours, opacity=0.45)
        self._outline = sv.PolygonAnnotator(color=colours, thickness=thickness)
        self._label = sv.LabelAnnotator(
            color=colours,
            text_color=text_colours,
            text_scale=max(min(size_hw) / 1000, 0.35),
            text_thickness=max(thickness - 1, 1),
            text_padding=max(min(size_hw) // 120, 2),
            smart_position=True,
        )

    def paint(self, frame: RgbFrame, masks: Mapping[int, BoolMask], labels: Mapping[int, str]) -> RgbFrame:
        """Return a painted copy of a frame of this painter's size."""
        present = {object_id: masks[object_id] for object_id in sorted(masks) if np.any(masks[object_id])}
        # Supervision paints BGR; it only swaps channels of colours, so a BGR copy goes in and comes out.
        picture: NDArray[np.uint8] = np.ascontiguousarray(frame[..., ::-1])
        if present:
            detections = _detections(present)
            picture = self._fill.annotate(picture, detections)
            picture = self._outline.annotate(picture, detections)
            if self._texts:
                texts = [f"{object_id} {labels.get(object_id, '')}".strip() for object_id in present]
                picture = self._label.annotate(picture, detections, labels=texts)
        return np.ascontiguousarray(picture[..., ::-1])

    def paint_scaled(self, frame: RgbFrame, masks: Mapping[int, BoolMask], labels: Mapping[int, str]) -> RgbFrame:
        """Scale a frame and its masks to this painter's size, then paint: lines stay crisp."""
        import cv2  # noqa: PLC0415 - not needed for `--help`

        size_wh = self._size_hw[::-1]
        small = {
            object_id: cv2.resize(mask.astype(np.float32), size_wh, interpolation=cv2.INTER_AREA) >= 0.5
            for object_id, mask in masks.items()
        }
        picture: Any = cv2.resize(frame, size_wh, interpolation=cv2.INTER_AREA)
        return self.paint(picture, small, labels)


def _detections(masks: Mapping[int, BoolMask]) -> sv.Detections:
    import supervision as sv  # noqa: PLC0415 - takes a second to import

    stack = np.stack(list(masks.values())).astype(bool)
    return sv.Detections(xyxy=sv.mask_to_xyxy(stack).astype(float), mask=stack, class_id=np.array(list(masks)))
