"""Masks leave as files, and come back: indexed PNGs, overlay videos and contact sheets.

The DAVIS palette gives every object its colour everywhere.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from fractions import Fraction
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import EmptyVideoError, InvalidInputError, InvalidPromptError
from tam_backend.types import BoolMask, RgbFrame

if TYPE_CHECKING:
    import supervision as sv

MAX_OBJECT_ID = 255
"""An indexed PNG has one byte per pixel."""


def save_index_mask(path: str | Path, masks: Mapping[int, BoolMask]) -> None:
    """Write masks as one indexed palette PNG: pixel = object id, 0 = background, DAVIS palette.

    Args:
        path: the PNG; its folder must exist.
        masks: object id (1 to 255) -> (H, W) bool at the original size; where they overlap the higher id is on top.

    Raises:
        InvalidInputError: an id that does not fit in a byte, no masks, or masks of different sizes.
    """
    from PIL import Image  # noqa: PLC0415 - OpenCV cannot write palette PNGs; not needed for `--help`

    if not masks:
        raise InvalidInputError(f"There are no masks for {Path(path).name}.", "Give an empty mask for absent objects.")
    shapes = {np.shape(mask) for mask in masks.values()}
    if len(shapes) > 1:
        raise InvalidInputError(f"The masks for {Path(path).name} differ in size: {sorted(shapes)}.", "")
    pixels: NDArray[np.uint8] = np.zeros(shapes.pop(), np.uint8)
    for object_id in sorted(masks):
        if not 1 <= object_id <= MAX_OBJECT_ID:
            raise InvalidInputError(
                f"Object id {object_id} does not fit into an indexed PNG.", f"Use ids from 1 to {MAX_OBJECT_ID}."
            )
        pixels[np.asarray(masks[object_id], bool)] = object_id
    image = Image.fromarray(pixels)
    image.putpalette(_davis_palette().tobytes())
    image.save(path, format="PNG")


def load_mask(path: str | Path, object_id: int) -> BoolMask:
    """Read one object's mask: the pixels equal to its id in an indexed (palette) file, else the non-zero pixels.

    Returns:
        (H, W) bool at the file's size. Fully transparent pixels do not count, except in indexed files, where only the
        id counts, whatever the palette shows for it.

    Raises:
        InvalidPromptError: the file is missing or is no image.
    """
    pixels, indexed = _read_mask_file(Path(path))
    mask: BoolMask = pixels == object_id if indexed else pixels != 0
    return mask


def mask_ids(path: str | Path) -> tuple[int, ...]:
    """List the object ids of a mask file: those in an indexed file, else 1 if there is any non-zero pixel.

    Raises:
        InvalidPromptError: the file is missing or is no image.
    """
    pixels, indexed = _read_mask_file(Path(path))
    ids = tuple(int(value) for value in np.unique(pixels) if value)
    return ids if indexed else ids and (1,)


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
        return _Painter((height_px, width_px), texts=labels is not None).paint(frame, masks, labels or {})
    small_hw = (max(round(height_px * width / width_px), 1), width)
    return _Painter(small_hw, texts=labels is not None).paint_scaled(frame, masks, labels or {})


def object_colour(object_id: int) -> str:
    """Return the colour that an object's masks are drawn with, as #rrggbb."""
    colours = _bright_palette()
    red, green, blue = colours[object_id % len(colours)].tolist()
    return f"#{red:02x}{green:02x}{blue:02x}"


class OverlayWriter:
    """Write frames with coloured masks, outlines and labels as an H.264 MP4 that browsers play.

    A size that is odd is padded by one pixel, as yuv420p needs even ones. If the block is left by an error, the
    unfinished file is removed.

    Args:
        path: the MP4; its folder must exist.
        size_hw: (height, width) of every frame.
        fps: frames per second.

    Raises:
        EmptyVideoError: the block ended without a frame.

    >>> with OverlayWriter("overlay.mp4", video.size_hw, video.fps or 24) as writer:
    ...     writer.write(video[0], result.masks, {1: "dog"})
    """

    def __init__(self, path: str | Path, size_hw: tuple[int, int], fps: float) -> None:
        import av  # noqa: PLC0415 - not needed for `--help`

        if not (math.isfinite(fps) and fps > 0):
            raise InvalidInputError(f"A video cannot have {fps} frames per second.", "Give a number above 0.")
        self._path = Path(path)
        self._size_hw = size_hw
        self._painter = _Painter(size_hw)
        self._frames = 0
        self._container = av.open(str(path), "w", format="mp4", options={"movflags": "faststart"})
        # 1001 keeps the rates of television (30000/1001) exact.
        self._stream = self._container.add_stream("libx264", rate=Fraction(fps).limit_denominator(1001))
        self._stream.height, self._stream.width = (side + side % 2 for side in size_hw)
        self._stream.pix_fmt = "yuv420p"
        self._stream.options = {"crf": "20", "preset": "veryfast"}

    def write(self, frame: RgbFrame, masks: Mapping[int, BoolMask], labels: Mapping[int, str] | None = None) -> None:
        """Draw one frame and append it.

        Args:
            frame: (H, W, 3) uint8 RGB; it is not changed.
            masks: object id -> (H, W) bool; empty masks are not drawn.
            labels: object id -> text beside the id.

        Raises:
            InvalidInputError: the frame is not of the writer's size.
        """
        import av  # noqa: PLC0415 - see __init__

        if frame.shape[:2] != self._size_hw:
            raise InvalidInputError(f"The frame is of shape {frame.shape}, the video {self._size_hw}.", "")
        height, width = self._size_hw
        drawn = self._painter.paint(frame, masks, labels or {})
        even = np.pad(drawn, ((0, height % 2), (0, width % 2), (0, 0)), mode="edge")
        self._container.mux(self._stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        self._frames += 1

    def __enter__(self) -> OverlayWriter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        complete = error is None and self._frames > 0
        if complete:
            self._container.mux(self._stream.encode(None))
        self._container.close()
        if not complete:
            self._path.unlink(missing_ok=True)
        if error is None and not complete:
            raise EmptyVideoError(f"No frame was written to {self._path.name}.", "Write at least one.")


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
    painter: _Painter | None = None
    stride = 1
    for position, (number, frame, masks) in enumerate(frames_with_masks):
        if position % stride:
            continue
        # So many more than needed keep the choice below even (to 1/8 of its step) after the list was thinned.
        if len(kept) == 8 * count:
            kept = kept[::2]
            stride *= 2
        small_hw = (max(round(frame.shape[0] * width / frame.shape[1]), 1), width)
        painter = painter or _Painter(small_hw)
        kept.append((number, painter.paint_scaled(frame, masks, labels)))
    chosen = np.linspace(0, len(kept) - 1, min(count, len(kept))).round().astype(int)
    return [kept[place] for place in chosen.tolist()]


class _Painter:
    """Draws masks on frames of one size: translucent fill, outline, and a label where the object is."""

    def __init__(self, size_hw: tuple[int, int], *, texts: bool = True) -> None:
        import supervision as sv  # noqa: PLC0415 - takes a second to import

        self._size_hw = size_hw
        self._texts = texts
        bright = _bright_palette()
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


def _bright_palette() -> NDArray[np.int64]:
    """Return DAVIS's colours, brightened to read on film; the factor keeps 64, 128 and 192 apart."""
    dark = _davis_palette().astype(np.int64)
    return np.minimum(dark * 3 // 2 + 30 * (dark > 0), 255)


def _davis_palette() -> NDArray[np.uint8]:
    """Return the (256, 3) uint8 RGB colour map of PASCAL VOC, which DAVIS uses.

    Bit 3k + c of an id is bit 7 - k of channel c (the colour map of the VOC development kit, 2012).
    """
    ids = np.arange(256)[:, None]
    channels = np.arange(3)
    colours = np.zeros((256, 3), np.uint8)
    for k in range(3):
        colours |= ((ids >> (3 * k + channels) & 1) << (7 - k)).astype(np.uint8)
    return colours


def _read_mask_file(path: Path) -> tuple[NDArray[Any], bool]:
    """Return (H, W) pixels, and whether they are the indices of a palette."""
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - not needed for `--help`

    try:
        with Image.open(path) as image:
            if image.mode == "P":
                return np.asarray(image), True
            pixels = np.asarray(image)
            has_alpha = image.mode in ("LA", "RGBA")
    except FileNotFoundError as error:
        raise InvalidPromptError(f"There is no mask file {path}.", "Check the path.") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InvalidPromptError(f"{path} is no image that can be read as a mask.", "Give a PNG.") from error
    if pixels.ndim == 3:
        colour, alpha = (pixels[..., :-1], pixels[..., -1]) if has_alpha else (pixels, np.ones(pixels.shape[:2]))
        return colour.any(axis=-1) & (alpha > 0), False
    return pixels, False
