"""Masks come back from files, as people save them: palette PNGs, grey ids, colours, alpha, soft and lossy masks.

What a file shows is read off its pixels: a value that fills an area is an object, values that only lie along edges are
the softness of one mask. What is neither is refused, with a sentence: a mask that nobody drew is worse than none.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import InvalidPromptError
from tam_backend.export.index_masks import MAX_OBJECT_ID
from tam_backend.export.palette import davis_palette
from tam_backend.types import BoolMask

# Grey values up to here are ids whatever their pixels look like: no soft mask is that dark all over.
_SMALL_IDS = 32
# More colours than that are a picture of something, not ids.
_MOST_COLOURS = 64
# A half-tone (of 256) is an area of its own where so many of the flat pixels about as bright have it, give or take
# `_SAME_TONE`; the half-tones of a smooth mask run evenly through the ones beside them.
_AREA_SHARE, _SAME_TONE, _LIKE_TONES, _SMALLEST_AREA = 0.8, 2, 12, 9
# How far (of 255) the colours of one lossy mask may lie from each other, and which share of its pixels may not.
_LOSSY_SPREAD, _LOSSY_STRAYS = 64, 0.05


@dataclass(frozen=True, eq=False)
class MaskFile:
    """What a mask file shows.

    Args:
        name: the file's, for messages.
        size_hw: (height, width) in pixels.
        objects: object id -> (H, W) bool, by id; none is empty.
        tells_ids: whether its pixels say which object they are of; else it is one mask, of whatever object is meant.
        indexed: whether it has a palette: an id that is not in it is an object that cannot be seen.
        note: how it was read, where that was a decision; else "".
    """

    name: str
    size_hw: tuple[int, int]
    objects: Mapping[int, BoolMask]
    tells_ids: bool
    indexed: bool = False
    note: str = ""

    def mask_of(self, object_id: int) -> BoolMask:
        """Return one object's mask, (H, W) bool.

        Raises:
            InvalidPromptError: it shows several objects, but not this one.
        """
        if object_id in self.objects:
            return self.objects[object_id]
        if not self.tells_ids and self.objects:
            return next(iter(self.objects.values()))
        if not self.indexed and self.objects:
            held = ", ".join(map(str, self.objects))
            raise InvalidPromptError(f"{self.name} shows no object {object_id}.", f"It shows the objects {held}.")
        return np.zeros(self.size_hw, np.bool_)


def load_mask(path: str | Path, object_id: int) -> BoolMask:
    """Read one object's mask: the pixels of its id where the file tells ids, else the one mask that it shows.

    Returns:
        (H, W) bool at the file's size.

    Raises:
        InvalidPromptError: as `read_mask_file` and `MaskFile.mask_of` say.
    """
    return read_mask_file(path).mask_of(object_id)


def mask_ids(path: str | Path) -> tuple[int, ...]:
    """List the object ids of a mask file; 1 where it shows one mask that could be anybody's.

    Raises:
        InvalidPromptError: as `read_mask_file` says.
    """
    return tuple(read_mask_file(path).objects)


def read_mask_file(path: str | Path) -> MaskFile:
    """Read a mask file of any kind.

    - A palette: the pixels are ids (but for palettes whose black is not their first colour: those go by colours).
    - Grey, 8 or 16 bit: values that fill areas are ids. One value alone is one mask.
    - Colours: one object for each; those of the DAVIS palette have its ids, others are numbered.
    - Alpha: where it varies it tells what is part of the mask, cut at half.
    - Soft masks, whose half-tones lie along edges or run smoothly, are cut at half of their largest value.
    - JPEG is lossy and tells no ids: it is cut at half.

    Raises:
        InvalidPromptError: the file is missing, is no image, has several pages, or is not to be understood as a mask.
    """
    picture = _read(Path(path))
    if picture.indexed:
        return _by_values(picture)
    if picture.alpha is not None:
        return _by_alpha(picture, picture.alpha)
    return _by_colours(picture)


@dataclass(frozen=True, eq=False)
class _Picture:
    """The pixels of a file: (H, W) of indices or grey, or (H, W, 3) RGB.

    Args:
        alpha: (H, W) bool, what is opaque by half or more; None where all is alike.
        has_alpha: whether it has an alpha channel at all; then it is a drawing, and one dark grey is no id.
        lossy: whether neighbouring values mean the same.
    """

    name: str
    pixels: NDArray[Any]
    alpha: BoolMask | None = None
    has_alpha: bool = False
    indexed: bool = False
    lossy: bool = False

    @property
    def size_hw(self) -> tuple[int, int]:
        return self.pixels.shape[0], self.pixels.shape[1]


def _read(path: Path) -> _Picture:
    from PIL import Image, ImageOps, UnidentifiedImageError  # noqa: PLC0415 - not needed for `--help`

    try:
        with Image.open(path) as opened:
            lossy = opened.format in ("JPEG", "MPO")
            pages = 1 if lossy else int(getattr(opened, "n_frames", 1))
            deep = bool(opened.tile) and ";16" in str(opened.tile[0][3]) and opened.mode in ("RGB", "RGBA", "LA")
            image = ImageOps.exif_transpose(opened)
            image.load()
    except FileNotFoundError as error:
        raise InvalidPromptError(f"There is no mask file {path}.", "Check the path.") from error
    except (UnidentifiedImageError, Image.DecompressionBombError, OSError, SyntaxError, ValueError) as error:
        raise InvalidPromptError(f"{path} is no image that can be read as a mask.", "Give a PNG.") from error
    if pages > 1:
        raise InvalidPromptError(
            f"{path} has {pages} pages; it is no mask of one frame.",
            "Save the page that is meant as a file of its own.",
        )
    if image.mode in ("P", "PA") and not _is_dyed(image):
        return _Picture(path.name, np.asarray(image.getchannel(0)), indexed=True)
    if deep:  # Pillow would halve it to 8 bits
        return _split(path.name, _read_deep(path), lossy)
    if image.mode in ("P", "PA", "La", "RGBa"):
        image = image.convert("RGBA")
    elif image.mode in ("CMYK", "YCbCr", "LAB", "HSV", "RGBX"):
        image = image.convert("RGB")
    return _split(path.name, np.asarray(image), lossy)


def _is_dyed(image: Any) -> bool:
    """Whether a palette is only a way to store colours: black, the ground, is in use but is not its first colour."""
    colours = np.array(image.getpalette("RGB"), np.uint8).reshape(-1, 3)
    used = [index for index in np.unique(np.asarray(image.getchannel(0))).tolist() if index < len(colours)]
    if not len(colours) or not colours[0].any() or image.info.get("transparency") == 0:
        return False
    return any(not colours[index].any() for index in used)


def _read_deep(path: Path) -> NDArray[np.uint16]:
    import cv2  # noqa: PLC0415 - not needed for `--help`

    pixels: Any = cv2.imdecode(np.fromfile(path, np.uint8), cv2.IMREAD_UNCHANGED)
    if pixels is None:
        raise InvalidPromptError(f"{path} is no image that can be read as a mask.", "Give a PNG.")
    order = {3: [2, 1, 0], 4: [2, 1, 0, 3]}.get(1 if pixels.ndim == 2 else pixels.shape[2])
    return np.asarray(pixels if order is None else pixels[..., order])


def _split(name: str, pixels: NDArray[Any], lossy: bool) -> _Picture:
    """Part colours from alpha, and take colours that are all grey for grey."""
    alpha = None
    has_alpha = pixels.ndim == 3 and pixels.shape[2] in (2, 4)
    if has_alpha:
        opaque = pixels[..., -1]
        if opaque.min() != opaque.max():
            alpha = np.asarray(opaque > np.iinfo(opaque.dtype).max // 2)
        pixels = pixels[..., :-1]
    if pixels.ndim == 3 and (pixels == pixels[..., :1]).all():
        pixels = pixels[..., 0]
    return _Picture(name, pixels, alpha, has_alpha, lossy=lossy)


def _by_values(picture: _Picture) -> MaskFile:
    """Take every value but 0 for an object's id."""
    ids = [int(value) for value in np.unique(picture.pixels) if value]
    wrong = [value for value in ids if not 1 <= value <= MAX_OBJECT_ID]
    if wrong:
        raise InvalidPromptError(
            f"{picture.name} shows object {wrong[0]}; ids go from 1 to {MAX_OBJECT_ID}.", "Number its objects anew."
        )
    objects = {object_id: np.asarray(picture.pixels == object_id) for object_id in ids}
    return MaskFile(picture.name, picture.size_hw, objects, tells_ids=True, indexed=picture.indexed)


def _one(picture: _Picture, mask: BoolMask, object_id: int = 1, note: str = "") -> MaskFile:
    objects = {object_id: mask} if mask.any() else {}
    return MaskFile(picture.name, picture.size_hw, objects, tells_ids=False, note=note)


def _by_alpha(picture: _Picture, opaque: BoolMask) -> MaskFile:
    """What is opaque is the mask, unless colours in it tell several objects."""
    colours = _codes(picture.pixels)[opaque]
    if len(np.unique(colours)) == 1 or len(np.unique(colours)) > _MOST_COLOURS:
        return _one(picture, opaque)
    pixels = picture.pixels.copy()
    pixels[~opaque] = 0
    return _by_colours(replace(picture, pixels=pixels))


def _by_colours(picture: _Picture) -> MaskFile:
    if picture.pixels.ndim == 2:
        return _by_grey(picture)
    codes = _codes(picture.pixels)
    colours = np.unique(codes[codes > 0])
    davis = {int(code): object_id for object_id, code in enumerate(_codes(davis_palette()[None])[0].tolist())}
    if picture.lossy:
        return _lossy_colours(picture)
    if len(colours) == 1:
        return _one(picture, codes > 0, davis.get(int(colours[0]), 1))
    if set(colours.tolist()) <= davis.keys():
        ids = np.zeros(picture.size_hw, np.uint8)
        for code in colours.tolist():
            ids[codes == code] = davis[code]
        return _by_values(replace(picture, pixels=ids))
    if len(colours) <= _MOST_COLOURS and _fill_areas(codes, colours):
        numbered = ", ".join(f"{number} = #{code:06x}" for number, code in enumerate(colours.tolist(), start=1))
        read = _by_values(replace(picture, pixels=np.searchsorted(colours, codes) + (codes > 0)))
        return replace(read, note=f"The colours of {picture.name} were numbered: {numbered}.")
    brightest = picture.pixels.max(axis=-1)
    if _is_one_hue(picture.pixels, brightest):
        return _by_grey(replace(picture, pixels=brightest))
    raise InvalidPromptError(
        f"{picture.name} has {len(colours)} colours, which do not fill areas; it cannot be read as a mask.",
        "Save it as an indexed PNG, pixel = object id, without smoothed edges.",
    )


def _codes(pixels: NDArray[Any]) -> NDArray[np.int64]:
    """Return one number for each colour, 0 for black; (H, W) of (H, W) or (H, W, 3)."""
    if pixels.ndim == 2:
        return pixels.astype(np.int64)
    red, green, blue = (pixels[..., channel].astype(np.int64) for channel in range(3))
    bits = 16 if pixels.dtype.itemsize > 1 else 8
    return (red << 2 * bits) | (green << bits) | blue


def _by_grey(picture: _Picture) -> MaskFile:
    grey = picture.pixels
    if grey.dtype.kind == "f":
        grey = np.nan_to_num(grey)
        if (grey == grey.round()).all():
            grey = grey.astype(np.int64)
    values = np.unique(grey[grey != 0])
    if not len(values):
        return _one(picture, np.zeros(picture.size_hw, np.bool_))
    if picture.lossy:
        return _soft(picture, grey.astype(np.float32))
    if len(values) == 1:
        value = float(values[0])
        is_id = value == round(value) and 1 <= value <= _SMALL_IDS and not picture.has_alpha and grey.dtype.kind != "b"
        return _one(picture, grey != 0, int(value) if is_id else 1)
    if grey.dtype.kind in "iu":
        are_ids = values[-1] <= _SMALL_IDS or (len(values) <= _MOST_COLOURS and _fill_areas(grey, values))
        if are_ids:
            return _by_values(replace(picture, pixels=grey))
    return _soft(picture, grey.astype(np.float32))


def _soft(picture: _Picture, grey: NDArray[np.float32]) -> MaskFile:
    """Cut one mask at half of its largest value, if it is one."""
    top = float(grey.max())
    if grey.min() < 0 or _has_half_tone_areas(grey / top):
        raise InvalidPromptError(
            f"The grey values of {picture.name} are neither ids nor one soft mask.",
            "Save it as an indexed PNG, pixel = object id, without smoothed edges.",
        )
    kind = "a JPEG, which keeps no exact values" if picture.lossy else "a soft mask"
    return _one(picture, grey >= top / 2, note=f"{picture.name} is {kind}: it was cut at half of its brightest value.")


def _lossy_colours(picture: _Picture) -> MaskFile:
    brightest = picture.pixels.max(axis=-1)
    mask = np.asarray(brightest >= float(brightest.max()) / 2)
    inside = picture.pixels[_flat(brightest.astype(np.float32), _LOSSY_SPREAD / 4) & mask].astype(np.float32)
    if len(inside):
        strays = np.abs(inside - np.median(inside, axis=0)).max(axis=1) > _LOSSY_SPREAD
        if strays.mean() > _LOSSY_STRAYS:
            raise InvalidPromptError(
                f"{picture.name} is a JPEG with several colours; it keeps none of them exactly, so that objects "
                "cannot be told apart.",
                "Save it as an indexed PNG, pixel = object id.",
            )
    return _soft(replace(picture, pixels=brightest), brightest.astype(np.float32))


def _flat(values: NDArray[np.float32], spread: float) -> BoolMask:
    """Return where a pixel and its eight neighbours differ by no more than `spread`."""
    import cv2  # noqa: PLC0415 - not needed for `--help`

    around = np.ones((3, 3), np.uint8)
    return np.asarray(cv2.dilate(values, around) - cv2.erode(values, around) <= spread)


def _fill_areas(values: NDArray[Any], wanted: NDArray[Any]) -> bool:
    """Whether each of these values has a pixel whose eight neighbours have it too."""
    # Numbered first: float32 does not hold every 48-bit colour.
    _, numbered = np.unique(values, return_inverse=True)
    flat = _flat(numbered.reshape(values.shape).astype(np.float32), 0)
    return bool(np.isin(wanted, values[flat]).all())


def _has_half_tone_areas(grey: NDArray[np.float32]) -> bool:
    """Whether a tone between black and white, of `grey` in 0..1, fills an area of its own."""
    tones = (grey[_flat(grey, 2 * _SAME_TONE / 255)] * 255).round().astype(int)
    counts = np.bincount(tones, minlength=256)
    same, alike = (np.convolve(counts, np.ones(2 * reach + 1), "same") for reach in (_SAME_TONE, _LIKE_TONES))
    is_area = (same > _SMALLEST_AREA) & (same >= _AREA_SHARE * alike)
    return bool(is_area[32:224].any())


def _is_one_hue(pixels: NDArray[Any], brightest: NDArray[Any]) -> bool:
    """Whether all colours are one, more or less dark: (H, W, 3) of one object's smoothed edges on black."""
    row, column = np.unravel_index(int(brightest.argmax()), brightest.shape)
    hue = pixels[row, column] / float(brightest.max())
    away = np.abs(pixels - brightest[..., None] * hue).max()
    return bool(away <= 0.02 * float(brightest.max()))
