"""A contact sheet: how the masks follow the objects, at a glance."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from tam_backend.errors import EmptyVideoError
from tam_backend.export.painting import Painter
from tam_backend.types import BoolMask, RgbFrame


def contact_sheet(
    frames_with_masks: Iterable[tuple[int, RgbFrame, Mapping[int, BoolMask]]],
    path: str | Path,
    columns: int = 4,
    *,
    rows: int = 3,
    thumbnail_width: int = 400,
    labels: Mapping[int, str] | None = None,
) -> None:
    """Write a PNG that shows at a glance how the masks follow the objects: evenly chosen frames in a grid.

    The frames are taken from the iterable one by one; only thumbnails are kept.

    Args:
        frames_with_masks: (0-based frame number, (H, W, 3) uint8 RGB, object id -> (H, W) bool) in order.
        path: the PNG.
        columns: pictures in a row.
        rows: at most so many rows.
        thumbnail_width: of each picture, in pixels.
        labels: object id -> text beside the id.

    Raises:
        EmptyVideoError: there are no frames.
    """
    from PIL import Image, ImageDraw, ImageFont  # noqa: PLC0415 - not needed for `--help`

    thumbnails = _evenly(frames_with_masks, columns * rows, thumbnail_width, labels or {})
    if not thumbnails:
        raise EmptyVideoError(f"There are no frames for {Path(path).name}.", "Give at least one.")
    columns = min(columns, len(thumbnails))
    height, width = thumbnails[0][1].shape[:2]
    gap, caption = max(width // 50, 4), max(width // 12, 14)
    cell_h, cell_w = height + caption + gap, width + gap
    sheet = Image.new("RGB", (columns * cell_w + gap, math.ceil(len(thumbnails) / columns) * cell_h + gap), _PAPER)
    pen = ImageDraw.Draw(sheet)
    font = ImageFont.load_default(caption * 0.62)
    for place, (number, picture) in enumerate(thumbnails):
        row, column = divmod(place, columns)
        x, y = gap + column * cell_w, gap + row * cell_h
        sheet.paste(Image.fromarray(picture), (x, y))
        pen.text((x, y + height + caption / 2), f"frame {number}", fill=_INK, font=font, anchor="lm")
    sheet.save(path, format="PNG")


_PAPER = (24, 26, 30)
_INK = (225, 228, 232)


def _evenly(
    frames_with_masks: Iterable[tuple[int, RgbFrame, Mapping[int, BoolMask]]],
    count: int,
    width: int,
    labels: Mapping[int, str],
) -> list[tuple[int, RgbFrame]]:
    """Choose `count` frames, spread evenly, without knowing how many will come; the first is among them."""
    kept: list[tuple[int, RgbFrame]] = []
    painter: Painter | None = None
    stride = 1
    for position, (number, frame, masks) in enumerate(frames_with_masks):
        if position % stride:
            continue
        # So many more than needed keep the choice below even (to 1/8 of its step) after the list was thinned.
        if len(kept) == 8 * count:
            kept = kept[::2]
            stride *= 2
        small_hw = (max(round(frame.shape[0] * width / frame.shape[1]), 1), width)
        painter = painter or Painter(small_hw)
        kept.append((number, painter.paint_scaled(frame, masks, labels)))
    chosen = np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int)
    return [kept[place] for place in chosen.tolist()]
