"""Masks drawn on frames: for overlay videos, contact sheets and the task's page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.export.palette import bright_palette
from tam_backend.fonts import draw_text, text_width
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
        self._colours = bright
        thickness = max(round(min(size_hw) / 400), 1)
        self._fill = sv.MaskAnnotator(color=colours, opacity=0.45)
        self._outline = sv.PolygonAnnotator(color=colours, thickness=thickness)
        self._text_px = max(min(size_hw) / 32, 11.0)
        self._padding = max(min(size_hw) // 120, 2)

    def paint(self, frame: RgbFrame, masks: Mapping[int, BoolMask], labels: Mapping[int, str]) -> RgbFrame:
        """Return a painted copy of a frame of this painter's size."""
        present = {object_id: masks[object_id] for object_id in sorted(masks) if np.any(masks[object_id])}
        # Supervision paints BGR; it only swaps channels of colours, so a BGR copy goes in and comes out.
        picture: NDArray[np.uint8] = np.ascontiguousarray(frame[..., ::-1])
        if present:
            detections = _detections(present)
            picture = self._fill.annotate(picture, detections)
            picture = self._outline.annotate(picture, detections)
        painted = np.ascontiguousarray(picture[..., ::-1])
        if not (present and self._texts):
            return painted
        corners = detections.xyxy[:, :2].tolist()
        texts = [f"{object_id} {labels.get(object_id, '')}".strip() for object_id in present]
        return self._written(painted, list(zip(present, texts, corners, strict=True)))

    def _written(self, picture: RgbFrame, labels: Sequence[tuple[int, str, Sequence[float]]]) -> RgbFrame:
        """Write (object id, text, (x, y) of its upper left corner) each above its object, none over another."""
        from PIL import Image, ImageDraw  # noqa: PLC0415 - not needed for `--help`

        image = Image.fromarray(picture)
        pen = ImageDraw.Draw(image)
        taken: list[tuple[float, float, float, float]] = []
        height = round(self._text_px * 1.2) + 2 * self._padding
        for object_id, text, (left, top) in labels:
            width = text_width(text, self._text_px) + 2 * self._padding
            x = min(max(left, 0.0), max(self._size_hw[1] - width, 0.0))
            box = _free_place(x, min(max(top - height, 0.0), float(self._size_hw[0] - height)), width, height, taken)
            taken.append(box)
            colour = self._colours[object_id % len(self._colours)]
            dark_text = colour @ (0.299, 0.587, 0.114) > 120  # luma of ITU-R BT.601
            pen.rectangle(box, fill=tuple(colour.tolist()))
            place = (box[0] + self._padding, (box[1] + box[3]) / 2)
            draw_text(pen, place, text, self._text_px, (0, 0, 0) if dark_text else (255, 255, 255))
        return np.array(image)

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


def _free_place(
    x: float, y: float, width: float, height: float, taken: Sequence[tuple[float, float, float, float]]
) -> tuple[float, float, float, float]:
    """Return (x0, y0, x1, y1) of a box at (x, y), moved down past those that are in its way."""
    for x0, y0, x1, y1 in sorted(taken, key=lambda box: box[1]):
        if x < x1 and x0 < x + width and y < y1 and y0 < y + height:
            y = y1 + 1
    return x, y, x + width, y + height


def _detections(masks: Mapping[int, BoolMask]) -> sv.Detections:
    import supervision as sv  # noqa: PLC0415 - takes a second to import

    stack = np.stack(list(masks.values())).astype(bool)
    return sv.Detections(xyxy=sv.mask_to_xyxy(stack).astype(float), mask=stack, class_id=np.array(list(masks)))
