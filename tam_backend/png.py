"""PNGs of masks, quickly: rows without an object are packed once and then copied.

OpenCV and Pillow take two to three times as long, as they go over the whole frame each time; the files here are also
smaller.
"""

from __future__ import annotations

import struct
import zlib
from functools import lru_cache
from typing import Any

import numpy as np
from numpy.typing import NDArray

GREY, PALETTE = 0, 3
"""Colour types: pixels are shades, or places in a palette."""

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_FROM_ABOVE = 2  # the filter of lines that are told by what they differ from the one above
_ADLER = 65521
_STREAM = b"\x78\x01"
_END_OF_STREAM = b"\x03\x00"  # an empty last block


def mask_png(rows: NDArray[Any], top: int, height: int, palette: bytes | None = None) -> bytes:
    """Return a PNG of a frame whose pixels are 0 but for some rows.

    Args:
        rows: (h, W) uint8 or uint16: these rows; h may be 0.
        top: the first one's place in the frame.
        height: of the frame.
        palette: 256 times red, green and blue, of which pixels are places; None: they are shades of grey.
    """
    depth, width = rows.dtype.itemsize, rows.shape[1]
    shades = rows.astype(f">u{depth}", copy=False).view(np.uint8)
    line_bytes = 1 + width * depth
    lines: NDArray[np.uint8] = np.empty((len(rows), line_bytes), np.uint8)
    lines[:, 0] = _FROM_ABOVE
    lines[:1, 1:] = shades[:1]  # above it is nothing
    np.subtract(shades[1:], shades[:-1], out=lines[1:, 1:])
    below = height - top - len(rows)
    packer = _packer()
    shown = packer.compress(lines.data) + packer.flush(zlib.Z_FULL_FLUSH)
    parts = (_STREAM, _empty_lines(top, line_bytes), shown, _empty_lines(below, line_bytes), _END_OF_STREAM)
    check = zlib.adler32(lines.data, _after_zeros(1, top * line_bytes))
    check = _after_zeros(check, below * line_bytes)
    packed = b"".join((*parts, struct.pack(">I", check)))
    if palette is None:
        return png((height, width), 8 * depth, GREY, packed)
    return png((height, width), 8 * depth, PALETTE, packed, (b"PLTE", palette))


def png(size_hw: tuple[int, int], bits: int, colour_type: int, packed: bytes, *before: tuple[bytes, bytes]) -> bytes:
    """Return the bytes of a PNG.

    Args:
        size_hw: (height, width).
        bits: of a pixel.
        colour_type: `GREY` or `PALETTE`.
        packed: the lines, each after its filter, as zlib packs them.
        before: (kind, content) of the chunks before them.
    """
    head = struct.pack(">IIBBBBB", size_hw[1], size_hw[0], bits, colour_type, 0, 0, 0)
    chunks = [(b"IHDR", head), *before, (b"IDAT", packed), (b"IEND", b"")]
    return _SIGNATURE + b"".join(_chunk(kind, content) for kind, content in chunks)


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def _packer() -> zlib._Compress:
    """Return what packs a part of a stream; after a full flush any other part may follow.

    With more memory than level 6 it takes twice as long.
    """
    return zlib.compressobj(1, zlib.DEFLATED, -zlib.MAX_WBITS, 6, zlib.Z_RLE)


@lru_cache(maxsize=4096)
def _empty_lines(count: int, line_bytes: int) -> bytes:
    """Return lines of zeros, their filter 0 (none) included, as a part of a stream."""
    packer = _packer()
    return packer.compress(bytes(count * line_bytes)) + packer.flush(zlib.Z_FULL_FLUSH)


def _after_zeros(check: int, count: int) -> int:
    """Return Adler-32 after so many bytes of 0 more: of its two sums the first stays, and is added to the second."""
    first, second = check & 0xFFFF, check >> 16
    return (second + count * first) % _ADLER << 16 | first
