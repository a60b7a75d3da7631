"""Folders and lists of still images as videos."""

from __future__ import annotations

import operator
import re
from collections import Counter
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import ExifTags, Image, ImageOps, UnidentifiedImageError

from tam_backend.errors import (
    EmptyVideoError,
    MediaError,
    MediaForbiddenError,
    MediaNotFoundError,
    MediaTooLargeError,
    UnreadableMediaError,
)
from tam_backend.types import RgbFrame
from tam_backend.video.base import FrameSource
from tam_backend.video.depth import as_8_bit, white_of, white_of_all
from tam_backend.video.limits import check_index, check_pixel_count
from tam_backend.video.paged import pages_of, pixels_of

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".bmp", ".webp", ".tif", ".tiff", ".avif"})

_OPENCV_COLOURS = (np.uint8, np.uint16, np.float32)


def natural_key(path: Path) -> tuple[list[tuple[int, int | str]], str]:
    """Sort key that puts "frame_2" before "frame_10"."""
    parts = re.split(r"(\d+)", path.name.casefold())
    return [(0, int(part)) if part.isdecimal() else (1, part) for part in parts if part], path.name


def images_in(folder: Path) -> list[Path]:
    """List the images of a folder in natural order; other files and hidden ones are left out."""
    return sorted(
        (
            path
            for path in folder.iterdir()
            if path.suffix.lower() in IMAGE_SUFFIXES and not path.name.startswith(".") and path.is_file()
        ),
        key=natural_key,
    )


def image_size_hw(path: Path) -> tuple[int, int]:
    """Read (height, width) from an image's header, as it is to be looked at (EXIF orientation applied).

    Raises:
        MediaNotFoundError, MediaForbiddenError, UnreadableMediaError, MediaTooLargeError
    """
    return _header(path).size_hw


def read_image(path: Path) -> RgbFrame:
    """Decode an image file: (H, W, 3) uint8 RGB, EXIF orientation applied, deep pixels scaled down, alpha dropped.

    Raises:
        MediaNotFoundError, MediaForbiddenError, MediaTooLargeError
        UnreadableMediaError: it cannot be decoded, or has several pages.
    """
    pixels = _decoded(path)
    return np.ascontiguousarray(as_8_bit(pixels, white_of(pixels)))


def _decoded(path: Path) -> NDArray[Any]:
    """Return the upright picture, (H, W, 3) RGB of any depth."""
    turn = _header(path).turn
    pages = len(pages_of(path))
    if pages > 1:
        raise UnreadableMediaError(
            f"{path.name} has {pages} pages; it is not one frame.",
            "Open it by itself, as a video, or save its pages as files of their own.",
        )
    flags = cv2.IMREAD_COLOR | cv2.IMREAD_ANYDEPTH | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        bgr: Any = cv2.imdecode(np.fromfile(path, np.uint8), flags)
    except (cv2.error, OSError) as error:
        raise _unreadable(path) from error
    return _decoded_by_pillow(path) if bgr is None else _upright(_rgb(bgr), turn)


def _rgb(bgr: NDArray[Any]) -> NDArray[Any]:
    """Turn the channels around; OpenCV does it in a fifth of NumPy's time, for these kinds of numbers."""
    return cv2.cvtColor(bgr, cv2.COLOR_BGR2RGB) if bgr.dtype in _OPENCV_COLOURS else bgr[..., ::-1]


def _decoded_by_pillow(path: Path) -> NDArray[Any]:
    """Decode what OpenCV does not, such as fractions in a TIFF."""
    try:
        with Image.open(path) as image:
            pixels = pixels_of(ImageOps.exif_transpose(image))
    except (OSError, SyntaxError, ValueError, KeyError) as error:
        raise _unreadable(path) from error
    return pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)


class ImageSequence(FrameSource):
    """Image files as a `VideoSource`: frame i is the i-th file. Only headers are read when it is opened.

    Its size is the one that most of them have. One that is damaged, or of another size, keeps its number, and reading
    it raises.

    Args:
        paths: the files, in the order of their frames.
        name: what to call it in messages.

    Raises:
        EmptyVideoError: no files.
        MediaNotFoundError: a file is missing.
        MediaError: none of the files can be read.
    """

    def __init__(self, paths: Sequence[Path], name: str) -> None:
        if not paths:
            raise EmptyVideoError(f"There are no images in {name}.", f"Known are {', '.join(sorted(IMAGE_SUFFIXES))}.")
        self._paths = tuple(paths)
        sizes = _readable_sizes(self._paths)
        size_hw = Counter(sizes.values()).most_common(1)[0][0]
        self._typical = next(path for path, size in sizes.items() if size == size_hw)
        super().__init__(name, size_hw)

    def __repr__(self) -> str:
        return f"<ImageSequence {self._name!r} {len(self)} frames {self._size_hw[1]}x{self._size_hw[0]}>"

    def __len__(self) -> int:
        return len(self._paths)

    def __getitem__(self, index: int) -> RgbFrame:
        """Return frame `index` (0-based): (H, W, 3) uint8 RGB, contiguous, the caller's own.

        Raises:
            FrameOutOfRangeError: there is no such frame.
            MediaNotFoundError, UnreadableMediaError: the file is gone, damaged, or of another size by now.
        """
        index = operator.index(index)
        check_index(self._name, index, len(self))
        pixels = _decoded(self._paths[index])
        self._check_size(self._paths[index], (pixels.shape[0], pixels.shape[1]))
        if pixels.dtype == np.uint8:
            return np.ascontiguousarray(pixels)
        return np.ascontiguousarray(as_8_bit(pixels, max(self._white, white_of(pixels))))

    def file_of(self, index: int) -> Path | None:
        """Return the file of a frame."""
        check_index(self._name, index, len(self))
        return self._paths[index]

    def close(self) -> None:
        """Nothing is held open."""

    @cached_property
    def _white(self) -> float:
        return white_of_all(lambda index: _decoded(self._paths[index]), len(self))

    def _check_size(self, path: Path, size_hw: tuple[int, int]) -> None:
        if size_hw != self._size_hw:
            raise UnreadableMediaError(
                f"{path.name} is {size_hw[1]} x {size_hw[0]} pixels, but {self._typical.name} is "
                f"{self._size_hw[1]} x {self._size_hw[0]}.",
                "All images of one video must have the same size.",
            )


def _readable_sizes(paths: Sequence[Path]) -> dict[Path, tuple[int, int]]:
    """Return path -> (height, width), without the images that are damaged."""
    sizes: dict[Path, tuple[int, int]] = {}
    damage: MediaError | None = None
    for path in paths:
        try:
            sizes[path] = image_size_hw(path)
        except (UnreadableMediaError, MediaTooLargeError) as error:  # noqa: PERF203 - the others are frames all the same
            damage = damage or error
    if not sizes and damage is not None:
        raise damage
    return sizes


class _Turn(NamedTuple):
    """How a stored picture becomes upright: the transposition first."""

    transpose: bool = False
    mirror_x: bool = False
    mirror_y: bool = False


# EXIF 2.32, tag 0x0112.
_TURNS = {
    1: _Turn(),
    2: _Turn(mirror_x=True),
    3: _Turn(mirror_x=True, mirror_y=True),
    4: _Turn(mirror_y=True),
    5: _Turn(transpose=True),
    6: _Turn(transpose=True, mirror_x=True),
    7: _Turn(transpose=True, mirror_x=True, mirror_y=True),
    8: _Turn(transpose=True, mirror_y=True),
}


def _upright(rgb: NDArray[Any], turn: _Turn) -> NDArray[Any]:
    if turn.transpose:
        rgb = rgb.transpose(1, 0, 2)
    if turn.mirror_x:
        rgb = rgb[:, ::-1]
    return rgb[::-1] if turn.mirror_y else rgb


class _Header(NamedTuple):
    size_hw: tuple[int, int]
    """As it is to be looked at."""
    turn: _Turn
    """What is left to do after OpenCV's decoder."""


def _header(path: Path) -> _Header:
    try:
        with Image.open(path) as image:
            is_tiff = image.format == "TIFF"
            # Pillow gives the size of a TIFF turned already, or not, depending on its release; the tags are plain.
            width, height = (image.tag_v2[256], image.tag_v2[257]) if is_tiff else image.size  # type: ignore[attr-defined]
            # Not image.getexif(): that of PNG files decodes the picture first.
            orientation = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1)
    except FileNotFoundError as error:
        raise MediaNotFoundError(f"{path} does not exist.", "Check the path.") from error
    except PermissionError as error:
        raise MediaForbiddenError(f"{path} may not be read.", "Check the file's permissions.") from error
    except Image.DecompressionBombError as error:
        raise MediaTooLargeError(f"{path.name}: {error}", "Scale it down first.") from error
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, KeyError) as error:
        raise _unreadable(path) from error
    check_pixel_count(path.name, width, height)
    turn = _TURNS.get(orientation, _TURNS[1])
    size_hw = (width, height) if turn.transpose else (height, width)
    # OpenCV's TIFF decoder turns the picture whatever it is told.
    return _Header(size_hw, _Turn() if is_tiff else turn)


def _unreadable(path: Path) -> UnreadableMediaError:
    return UnreadableMediaError(f"{path.name} is no image that can be decoded.", "Check that it opens in a viewer.")
