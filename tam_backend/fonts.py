"""Text in any script, drawn with Pillow: labels and file names are Unicode, and no single font has all of it.

DejaVu Sans, which comes with matplotlib, has the alphabets (Latin, Greek, Cyrillic, Hebrew, Arabic, Armenian, Georgian
and more). What it lacks is looked for in the fonts of the machine; a character that none has is written as its number,
so that two labels never look alike.
"""

from __future__ import annotations

import importlib.util
import unicodedata
from collections.abc import Iterator
from functools import lru_cache
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from PIL.ImageDraw import ImageDraw
    from PIL.ImageFont import FreeTypeFont

_INVISIBLE = frozenset("\u200b\u200c\u200d\u2060\ufe0e\ufe0f\ufeff")


def draw_text(
    pen: ImageDraw, xy: tuple[float, float], text: str, size_px: float, fill: Any, anchor: str = "lm"
) -> None:
    """Draw one line of text.

    Args:
        pen: of the picture.
        xy: where the anchor comes to lie, in pixels.
        text: any Unicode; what cannot be shown is written as its number.
        size_px: of the font.
        fill: the colour, as Pillow takes it.
        anchor: as Pillow's: l, m or r, then a (top), m (middle) or s (baseline).
    """
    x, y = xy
    x -= {"l": 0.0, "m": 0.5, "r": 1.0}[anchor[0]] * text_width(text, size_px)
    for font, part in _parts(text, size_px):
        pen.text((x, y), part, font=font, fill=fill, anchor=f"l{anchor[1]}")
        x += font.getlength(part)


def text_width(text: str, size_px: float) -> float:
    """Return how wide `draw_text` draws it, in pixels."""
    return sum(font.getlength(part) for font, part in _parts(text, size_px))


def _parts(text: str, size_px: float) -> Iterator[tuple[FreeTypeFont, str]]:
    """Cut a text into pieces that one font has."""
    plain = _dejavu()
    shown = []
    for character in "".join(" " if unicodedata.category(each) == "Cc" else each for each in text):
        path = _font_of(character, size_px)
        shown.append((plain, f"[{ord(character):X}]") if path is None else (path, character))
    for path, pieces in groupby(shown, key=lambda piece: piece[0]):
        yield _font(path, size_px), "".join(piece for _, piece in pieces)


@lru_cache(maxsize=4096)
def _font_of(character: str, size_px: float) -> Path | None:
    """Return a font that has a character, None where there is none."""
    if character in _INVISIBLE or _has(_dejavu(), character):
        return _dejavu()
    for path in _fonts_of_the_machine():
        if _has(path, character) and _loads(path, size_px):
            return path
    return None


@lru_cache(maxsize=1)
def _dejavu() -> Path:
    """Find the file without importing matplotlib, which takes long."""
    spec = importlib.util.find_spec("matplotlib")
    if spec is None or not spec.submodule_search_locations:
        raise ImportError("matplotlib is not installed, which brings the fonts; install tam-backend's dependencies.")
    return Path(next(iter(spec.submodule_search_locations)), "mpl-data", "fonts", "ttf", "DejaVuSans.ttf")


@lru_cache(maxsize=1)
def _fonts_of_the_machine() -> tuple[Path, ...]:
    from matplotlib.font_manager import findSystemFonts  # noqa: PLC0415 - takes long, and is seldom needed

    return tuple(sorted(map(Path, findSystemFonts())))


@lru_cache(maxsize=256)
def _characters(path: Path) -> frozenset[int]:
    from fontTools.ttLib import TTFont, TTLibError  # noqa: PLC0415 - not needed for `--help`

    try:
        with TTFont(path, fontNumber=0, lazy=True) as font:
            return frozenset(font.getBestCmap() or ())
    except (TTLibError, OSError, KeyError, ValueError, AssertionError):
        return frozenset()  # bitmap fonts, and damaged ones


def _has(path: Path, character: str) -> bool:
    return ord(character) in _characters(path)


def _loads(path: Path, size_px: float) -> bool:
    try:
        _font(path, size_px)
    except OSError:
        return False  # fonts of coloured pictures have one size only
    return True


@lru_cache(maxsize=64)
def _font(path: Path, size_px: float) -> FreeTypeFont:
    from PIL import ImageFont  # noqa: PLC0415 - not needed for `--help`

    return ImageFont.truetype(path, size_px)
