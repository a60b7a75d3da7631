"""Images of several pages as videos: a microscope's TIFF stack, an animated WebP, PNG or AVIF."""

from __future__ import annotations

import operator
import threading
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tam_backend.errors import MediaNotFoundError, MediaTooLargeError, UnreadableMediaError
from tam_backend.types import RgbFrame, Timeline
from tam_backend.video.base import FrameSource
from tam_backend.video.depth import as_8_bit, white_of, white_of_all
from tam_backend.video.limits import check_index, check_pixel_count

# Cameras put a preview of the same picture behind it.
_PREVIEWS_BEHIND = frozenset({"MPO"})
# TIFF 6.0, tag 254 (NewSubfileType): bit 0 = a smaller version of another page, bit 2 = a mask for another page.
_SUBFILE_TYPE, _NO_PAGE = 254, 0b101
# What browsers show a page for that states no time, or hardly any (WebP, GIF and PNG alike).
_SHORTEST_S, _USUAL_S = 0.011, 0.1


def pages_of(path: Path) -> tuple[int, ...]:
    """Return the numbers of an image's pages, for `Image.seek`; one page for ordinary images.

    Raises:
        MediaNotFoundError: it does not exist.
        MediaTooLargeError: it is a decompression bomb.
        UnreadableMediaError: it is no image.
    """
    try:
        with Image.open(path) as image:
            count = 1 if image.format in _PREVIEWS_BEHIND else int(getattr(image, "n_frames", 1))
            pages: tuple[int, ...] = tuple(range(count))
            if image.format == "PNG" and image.info.get("default_image") and count > 1:
                return pages[1:]  # the first is for those who know no animation
            if image.format == "TIFF" and count > 1:
                return tuple(page for page in pages if _is_whole_page(image, page)) or (0,)
            return pages
    except FileNotFoundError as error:
        raise MediaNotFoundError(f"{path} does not exist.", "Check the path.") from error
    except Image.DecompressionBombError as error:
        raise MediaTooLargeError(f"{path.name}: {error}", "Scale it down first.") from error
    except (OSError, SyntaxError, ValueError, KeyError) as error:
        raise UnreadableMediaError(
            f"{path.name} is no image that can be decoded.", "Check that it opens in a viewer."
        ) from error


def _is_whole_page(image: Any, page: int) -> bool:
    image.seek(page)
    return not image.tag_v2.get(_SUBFILE_TYPE, 0) & _NO_PAGE


def pixels_of(image: Any) -> NDArray[Any]:
    """Return a Pillow image's pixels, of any depth where it is grey: (H, W), or (H, W, 3) RGB."""
    return np.array(image if image.mode in ("I", "F") or image.mode.startswith("I;16") else image.convert("RGB"))


class PagedImage(FrameSource):
    """An image of several pages as a `VideoSource`: frame i is its i-th page. Pages are decoded when they are read.

    Going back in an animation decodes it from its start.

    Args:
        path: the file.
        pages: of `pages_of`.

    Raises:
        MediaTooLargeError: pages larger than `limits.MAX_PIXELS`.
        UnreadableMediaError: it cannot be decoded.
    """

    def __init__(self, path: Path, pages: tuple[int, ...]) -> None:
        self._path = path
        self._pages = pages
        self._lock = threading.Lock()
        self._image: Any = None
        first = self._read(0)
        super().__init__(path.name, (first.shape[0], first.shape[1]))

    def __repr__(self) -> str:
        return f"<PagedImage {self._path.name!r} {len(self)} pages {self._size_hw[1]}x{self._size_hw[0]}>"

    @property
    def fps(self) -> float | None:
        """Mean pages per second of an animation; None for a stack of pages."""
        durations = self._durations_s
        return None if durations is None else len(durations) / sum(durations)

    @property
    def timeline(self) -> Timeline | None:
        """When each page of an animation is shown, the first time round; None for a stack of pages."""
        durations = self._durations_s
        if durations is None:
            return None
        ends_s = np.cumsum(durations)
        return Timeline(np.concatenate(([0.0], ends_s[:-1])), float(ends_s[-1]))

    def __len__(self) -> int:
        return len(self._pages)

    def __getitem__(self, index: int) -> RgbFrame:
        """Return page `index` (0-based): (H, W, 3) uint8 RGB, contiguous, the caller's own.

        Raises:
            FrameOutOfRangeError: there is no such page.
            UnreadableMediaError: the page is damaged, or of another size than the first.
        """
        index = operator.index(index)
        check_index(self._path.name, index, len(self))
        pixels = self._read(index)
        if pixels.shape[:2] != self._size_hw:
            raise UnreadableMediaError(
                f"Page {index} of {self.name} is {pixels.shape[1]} x {pixels.shape[0]} pixels, but its first is "
                f"{self._size_hw[1]} x {self._size_hw[0]}.",
                "All pages must have the same size.",
            )
        grey = pixels if pixels.ndim == 3 else np.repeat(pixels[..., None], 3, axis=-1)
        if grey.dtype == np.uint8:
            return np.ascontiguousarray(grey)
        return np.ascontiguousarray(as_8_bit(grey, max(self._white, white_of(pixels))))

    def close(self) -> None:
        """Give back the file handle; calling it twice is harmless."""
        with self._lock:
            self._close()

    @cached_property
    def _white(self) -> float:
        return white_of_all(self._read, len(self))

    @cached_property
    def _durations_s(self) -> list[float] | None:
        """How long each page is shown, as browsers do; None where no page has a time (TIFF)."""
        durations = []
        for index in range(len(self)):
            with self._lock:
                image = self._at(index)
                image.load()  # WebP knows the time only then
                durations.append(image.info.get("duration"))
        if all(each is None for each in durations):
            return None
        seconds = [float(each or 0) / 1000 for each in durations]
        return [each if each >= _SHORTEST_S else _USUAL_S for each in seconds]

    def _read(self, index: int) -> Any:
        """Return (H, W) or (H, W, 3) of any depth."""
        with self._lock:
            try:
                return pixels_of(self._at(index))
            except (OSError, EOFError, SyntaxError, ValueError, IndexError, KeyError) as error:
                self._close()
                raise UnreadableMediaError(
                    f"Page {index} of {self._path.name} is damaged and cannot be decoded.", "Leave that page out."
                ) from error

    def _at(self, index: int) -> Any:
        if self._image is not None and self._pages[index] < self._image.tell():
            self._close()  # Pillow loses its place in some animations when it goes back by itself
        if self._image is None:
            self._image = Image.open(self._path)
            check_pixel_count(self._path.name, *self._image.size)
        self._image.seek(self._pages[index])
        return self._image

    def _close(self) -> None:
        if self._image is not None:
            self._image.close()
            self._image = None
