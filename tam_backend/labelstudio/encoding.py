"""Masks as Label Studio writes them: the run lengths of a brush, the PNG of a bitmask.

Brush: the format of `@thi.ng/rle-pack`, which the editor and `label_studio_sdk.converter.brush` use. Most significant
bit first: 32 bits count of values, 5 bits word size - 1, four times 4 bits length size - 1; then the runs: 1 bit
"repeated", 2 bits which length size, the length - 1, and one word (repeated) or as many words as the length (not
repeated). The values are the image's RGBA bytes, row by row; alpha above 0 is the mask.
"""

from __future__ import annotations

import base64
import binascii
import struct
import warnings
import zlib
from collections.abc import Sequence
from io import BytesIO
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import PayloadError
from tam_backend.png import PALETTE, png
from tam_backend.types import BoolMask

MAX_PIXELS = 1 << 26
"""The largest frame a mask is decoded for: 8192 x 8192, twice an 8K frame."""

MAX_RUNS = 2_000_000
"""The most runs of a brush mask: noise at 1080p has half as many, and they take two or three seconds to read."""

MAX_BITMASK_BYTES = 32 << 20
"""The largest PNG of a bitmask."""

_CHANNELS = 4
_WORD_BITS = 8
_LENGTH_BITS = (3, 4, 8, 16)  # the SDK's and the editor's
_HEADER_BITS = 32 + 5 + 4 * len(_LENGTH_BITS)
_LONGEST_RUN = 1 << _LENGTH_BITS[-1]
_LONGEST_STEP = 3 + 16 + _WORD_BITS  # bits of a run of one value
_BLOCK_BYTES = 1 << 12
_DATA_URL = "data:image/png;base64,"
_ON_REMEDY = "Delete that region and draw it again."


def encode_brush(mask: BoolMask) -> list[int]:
    """Return an (H, W) mask as the run lengths of a brush region; the same bytes as the SDK's `mask2rle(mask * 255)`.

    >>> decode_brush(encode_brush(np.eye(3, dtype=bool)), (3, 3)).astype(int).tolist()
    [[1, 0, 0], [0, 1, 0], [0, 0, 1]]
    """
    flat = np.asarray(mask, dtype=bool).ravel()
    if flat.size == 0:
        raise PayloadError("A mask without pixels cannot be written.", "")
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(starts, append=flat.size) * _CHANNELS
    # A run longer than the longest length is split; like the SDK's, its rest is written with the longest length too.
    pieces = -(-lengths // _LONGEST_RUN)
    values = np.repeat(flat[starts], pieces).astype(np.uint64) * np.uint64(255)
    long = np.repeat(pieces > 1, pieces)
    counts = np.full(long.size, _LONGEST_RUN, dtype=np.int64)
    last = np.cumsum(pieces) - 1
    counts[last] = lengths - (pieces - 1) * _LONGEST_RUN

    which = np.searchsorted([1 << bits for bits in _LENGTH_BITS[:-1]], counts)
    which[long] = len(_LENGTH_BITS) - 1
    length_bits = np.asarray(_LENGTH_BITS, dtype=np.uint64)[which]
    codes = (np.uint64(1) << np.uint64(2)) | which.astype(np.uint64)
    codes = (codes << length_bits) | (counts - 1).astype(np.uint64)
    codes = (codes << np.uint64(_WORD_BITS)) | values
    header = (flat.size * _CHANNELS) << 5 | (_WORD_BITS - 1)
    for bits in _LENGTH_BITS:
        header = header << 4 | (bits - 1)
    # The header is 53 bits; cut in two, so that every code fits the 32 bits that _pack writes at once.
    codes = np.concatenate((np.array([header >> 21, header & 0x1FFFFF], dtype=np.uint64), codes))
    widths = np.concatenate((np.array([32, 21]), 3 + length_bits.astype(np.int64) + _WORD_BITS))
    packed: list[int] = _pack(codes, widths).tolist()
    return packed


def _pack(codes: NDArray[np.uint64], widths: NDArray[np.int64]) -> NDArray[np.uint8]:
    """Write codes of up to 32 bits each one after the other; 1 to 8 zero bits close the last byte, as in the SDK."""
    ends = np.cumsum(widths)
    first_bytes = (ends - widths) >> 3
    size = int(ends[-1] // 8) + 1
    # Every code lies in 5 bytes from its first one on. Codes share bytes but no bits, so adding them is exact.
    windows = codes << (40 - ((ends - widths) & 7) - widths).astype(np.uint64)
    total = np.zeros(size + 4)
    for place in range(5):
        part = (windows >> np.uint64(8 * (4 - place))) & np.uint64(0xFF)
        total += np.bincount(first_bytes + place, weights=part, minlength=size + 4)
    return total[:size].astype(np.uint8)


def decode_brush(rle: Sequence[int], hw: tuple[int, int]) -> BoolMask:
    """Return the run lengths of a brush region as an (H, W) mask: alpha above 0.

    Args:
        rle: bytes as integers; an empty list is an empty mask (a region whose strokes are not yet part of it).
        hw: the region's (original_height, original_width).

    Raises:
        PayloadError: not bytes, truncated, of another size, or too large.
    """
    in_mask, pixels = _pixel_runs(rle, hw)
    return np.repeat(in_mask, pixels).reshape(checked_size(hw))


def brush_spans(rle: Sequence[int], hw: tuple[int, int]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return where a brush mask begins and ends, pixel by pixel, row after row: N first pixels, N behind the last.

    Args and raises: as `decode_brush`.
    """
    in_mask, pixels = _pixel_runs(rle, hw)
    ends = np.cumsum(pixels)
    shown = in_mask & (pixels > 0)
    return (ends - pixels)[shown], ends[shown]


def _pixel_runs(rle: Sequence[int], hw: tuple[int, int]) -> tuple[NDArray[np.bool_], NDArray[np.int64]]:
    """Return of each run of a brush region whether it is mask, and how many pixels it has."""
    height, width = checked_size(hw)
    if not isinstance(rle, (list, tuple)):
        raise PayloadError("The brush mask is not a list of bytes.", _ON_REMEDY)
    try:
        data = bytes(rle)
    except (TypeError, ValueError) as error:
        raise PayloadError("The brush mask is not a list of bytes (0..255).", _ON_REMEDY) from error
    if not data:
        return np.zeros(1, np.bool_), np.array([height * width])
    values, lengths = _read_runs(data, height * width * _CHANNELS, (height, width))
    # The alpha of pixel p is value 4 p + 3, so e // 4 alphas lie before value e.
    return values > 0, np.diff(np.cumsum(lengths) // _CHANNELS, prepend=0)


def _read_runs(data: bytes, count: int, hw: tuple[int, int]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the values and the lengths of all runs; a run of unlike values as as many runs of length 1."""
    total_bits = len(data) * 8
    if total_bits < _HEADER_BITS:
        raise _truncated()
    header = int.from_bytes(data[:7], "big") >> (56 - _HEADER_BITS)
    word_bits = (header >> 16 & 0x1F) + 1
    sizes = [(header >> shift & 0xF) + 1 for shift in (12, 8, 4, 0)]
    if header >> 21 != count:
        raise PayloadError(
            f"The brush mask holds {header >> 21} values; a frame of {hw[1]}x{hw[0]} has {count}.", _ON_REMEDY
        )
    if word_bits != _WORD_BITS:
        raise PayloadError(f"The brush mask has words of {word_bits} bits; Label Studio writes {_WORD_BITS}.", "")

    padded = np.frombuffer(data + bytes(8), np.uint8)
    starts: list[NDArray[np.int64]] = []  # of the runs, in bits
    done, position, found = 0, _HEADER_BITS, 0
    while done < count:
        if position + 3 > total_bits:
            raise _truncated()
        if found > MAX_RUNS:
            raise _too_many_runs()
        block = _steps(padded, position, sizes)
        at = _chain(block, position)
        reached = done + np.cumsum(block.lengths[at], dtype=np.int64)
        # What stands behind the last run is none.
        at = at[: np.searchsorted(reached, count) + 1]
        done = int(reached[len(at) - 1])
        starts.append(block.first + at)
        steps = block.nexts[at] - at
        found += len(at) + int(block.lengths[at][steps > _LONGEST_STEP].sum())
        position = block.first + int(block.nexts[at[-1]])
        if starts[-1][-1] + 3 > total_bits:
            raise _truncated()
    if done > count:
        raise PayloadError("The brush mask has a run that goes past the frame's end.", _ON_REMEDY)
    if position > total_bits:
        raise _truncated()
    return _values_of_runs(padded, np.concatenate(starts), sizes)


class _Steps(NamedTuple):
    """Of each bit from `first` on: of a run that begins there, its values, and how far from `first` the next one is."""

    first: int
    lengths: NDArray[np.int32]
    nexts: NDArray[np.int32]


def _steps(data: NDArray[np.uint8], position: int, sizes: Sequence[int]) -> _Steps:
    """Work a block of bits out at once, which takes less than to look at the few runs in it one by one."""
    first = position >> 3
    last = min(first + _BLOCK_BYTES, len(data) - 8)
    windows = (_four_bytes(data, np.arange(first, last))[:, None] << np.arange(8, dtype=np.uint32)).ravel()
    is_repeated, length_bits, lengths = _heads(windows, sizes)
    steps = length_bits + np.int32(3) + np.where(is_repeated, np.int32(1), lengths) * np.int32(_WORD_BITS)
    nexts = (steps + np.arange(len(steps), dtype=np.int32)).astype(np.int32, copy=False)
    return _Steps(8 * first, lengths, nexts)


def _chain(block: _Steps, position: int) -> NDArray[np.int64]:
    """Return where in a block, from its first bit, runs begin if one begins at `position`."""
    nexts, size = block.nexts.data, len(block.nexts)
    places: list[int] = []
    place = position - block.first
    while place < size:
        places.append(place)
        place = nexts[place]
    return np.array(places, np.int64)


def _four_bytes(data: NDArray[np.uint8], at: NDArray[np.int64]) -> NDArray[np.uint32]:
    """Return 32 bits from some bytes on: a head of 3 bits and a length of 16 lie in them from any bit of the first."""
    wide = data[at].astype(np.uint32)
    for place in range(1, 4):
        wide = (wide << np.uint32(8)) | data[at + place]
    return wide


def _heads(
    windows: NDArray[np.uint32], sizes: Sequence[int]
) -> tuple[NDArray[np.bool_], NDArray[np.int32], NDArray[np.int32]]:
    """Return what the heads of runs say that begin with these bits: "repeated", bits of the length, and the length."""
    length_bits = np.asarray(sizes, np.int32)[windows >> np.uint32(29) & np.uint32(3)]
    lengths = (windows & np.uint32(0x1FFFFFFF)) >> (29 - length_bits).astype(np.uint32)
    return windows >= np.uint32(1 << 31), length_bits, lengths.astype(np.int32) + np.int32(1)


def _values_of_runs(
    data: NDArray[np.uint8], starts: NDArray[np.int64], sizes: Sequence[int]
) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return the values and lengths of the runs that begin at some bits; see `_read_runs`."""
    windows = _four_bytes(data, starts >> 3) << (starts & 7).astype(np.uint32)
    is_repeated, length_bits, lengths = _heads(windows, sizes)
    words = np.where(is_repeated, 1, lengths)
    within = np.arange(words.sum()) - np.repeat(np.cumsum(words) - words, words)
    bits = np.repeat(starts + 3 + length_bits, words) + _WORD_BITS * within
    pair = (data[bits >> 3].astype(np.int64) << 8) | data[(bits >> 3) + 1]
    values = (pair >> (8 - (bits & 7))) & 0xFF
    return values.astype(np.uint8), np.repeat(np.where(is_repeated, lengths, 1).astype(np.int64), words)


def _truncated() -> PayloadError:
    return PayloadError("The brush mask ends before the frame does.", _ON_REMEDY)


def _too_many_runs() -> PayloadError:
    return PayloadError(f"The brush mask has more than {MAX_RUNS} runs.", "Draw a mask that is less ragged.")


def encode_bitmask(mask: BoolMask) -> str:
    """Return an (H, W) mask as the data URL of a bitmask region: a PNG of 1 bit per pixel, black where the mask is.

    The two palette entries are both black; the first is transparent (tRNS). That is a third of the size of RGBA.
    """
    array = np.asarray(mask, dtype=bool)
    height, width = array.shape
    if array.size == 0:
        raise PayloadError("A mask without pixels cannot be written.", "")
    rows = np.packbits(array, axis=1)
    lines = np.zeros((height, rows.shape[1] + 1), dtype=np.uint8)  # each line starts with its filter: 0, none
    lines[:, 1:] = rows
    colours = ((b"PLTE", bytes(6)), (b"tRNS", b"\x00\xff"))
    picture = png((height, width), 1, PALETTE, zlib.compress(lines.tobytes(), 6), *colours)
    return _DATA_URL + base64.b64encode(picture).decode("ascii")


def decode_bitmask(url: Any) -> BoolMask:
    """Return the PNG data URL of a bitmask region as a mask of the PNG's own size: alpha above 0.

    A PNG without alpha is opaque, so all of it is mask, as in the editor.

    Raises:
        PayloadError: no PNG data URL, damaged, or too large.
    """
    from PIL import Image, UnidentifiedImageError  # noqa: PLC0415 - slow to import, and a brush page never needs it

    remedy = _ON_REMEDY
    if not isinstance(url, str) or not url.startswith(_DATA_URL):
        raise PayloadError('The bitmask is no "data:image/png;base64," address.', remedy)
    if len(url) > MAX_BITMASK_BYTES * 4 // 3 + len(_DATA_URL):
        raise PayloadError(f"The bitmask's PNG is over {MAX_BITMASK_BYTES >> 20} MB.", remedy)
    try:
        data = base64.b64decode(url[len(_DATA_URL) :], validate=True)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # checked_size has its own limit
            with Image.open(BytesIO(data), formats=("PNG",)) as image:
                width, height = image.size
                checked_size((height, width))  # before a pixel is decompressed
                alpha = image.convert("RGBA").getchannel("A")
    except PayloadError:
        raise
    # Pillow raises SyntaxError on damaged PNG chunks.
    except (binascii.Error, UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError) as error:
        raise PayloadError(f"The bitmask's PNG cannot be read ({error}).", remedy) from error
    except (ValueError, EOFError, struct.error, zlib.error) as error:
        raise PayloadError(f"The bitmask's PNG is damaged ({error}).", remedy) from error
    return np.asarray(alpha) > 0


def checked_size(hw: tuple[Any, Any]) -> tuple[int, int]:
    """Return (height, width) if they are whole numbers from 1 up of a frame that can be.

    Raises:
        PayloadError: they are not.
    """
    height, width = hw
    for name, value in (("height", height), ("width", width)):
        if isinstance(value, bool) or not isinstance(value, (int, float)) or not 1 <= value <= MAX_PIXELS:
            raise PayloadError(f"The mask's {name} {value!r} is not a number of pixels.", _ON_REMEDY)
        if value != int(value):
            raise PayloadError(f"The mask's {name} {value!r} is not a whole number.", _ON_REMEDY)
    if height * width > MAX_PIXELS:
        raise PayloadError(f"A mask of {width}x{height} is too large ({MAX_PIXELS} pixels are allowed).", "")
    return int(height), int(width)
