"""The files of a dataset: only such as lie in its folder, and texts and JSON of a size that can be held."""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from tam_backend.errors import InvalidInputError, MediaForbiddenError, MediaNotFoundError, MediaTooLargeError
from tam_backend.video.images import image_size_hw, images_in

MAX_JSON_BYTES = 1 << 30
"""COCO's own training set of 118,000 images is half as large; JSON is held whole while it is read."""

MAX_TEXT_BYTES = 1 << 28

_NAMED = 3


def folder_of(path: Path) -> Path:
    """Return a dataset's folder without links and dots.

    Raises:
        MediaNotFoundError: there is no such folder.
    """
    folder = path.expanduser().resolve()
    if not folder.is_dir():
        raise MediaNotFoundError(f"There is no folder {path}.", "Name the folder of a dataset.")
    return folder


def inside(root: Path, place: str | Path) -> Path:
    """Return a place in a dataset.

    Args:
        root: of `folder_of`.
        place: relative to it, as a file of the dataset says.

    Raises:
        MediaForbiddenError: it lies outside, by its name or by a link.
    """
    try:
        found = (root / place).resolve()
        if found.is_relative_to(root):
            return found
    except (OSError, ValueError, RuntimeError):  # a NUL in it, or a ring of links
        pass
    raise MediaForbiddenError(
        f"{str(place)!r} is not in the dataset {root}.", "Copy what it stands for into the dataset's folder."
    )


def folders_in(folder: Path) -> list[Path]:
    """List the folders of a folder by name, without hidden ones; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(each for each in folder.iterdir() if each.is_dir() and not each.name.startswith("."))


def pictures_in(root: Path, folder: Path) -> list[Path]:
    """List the pictures of a folder of a dataset in natural order; none where there is no such folder.

    Raises:
        MediaForbiddenError: one of them lies outside of the dataset.
    """
    return [inside(root, each) for each in images_in(folder)] if folder.is_dir() else []


def number_of(path: Path) -> int | None:
    """Return a frame's number, which its file is named by; None without one.

    >>> number_of(Path("000012.jpg")), number_of(Path("clip.jpg"))
    (12, None)
    """
    is_number = path.stem.isascii() and path.stem.isdecimal() and len(path.stem) <= _LONGEST_NUMBER
    return int(path.stem) if is_number else None


_LONGEST_NUMBER = 12


def refuse_missing(what: str, missing: Sequence[object]) -> None:
    """Name what is not there.

    Raises:
        MediaNotFoundError: something is missing.
    """
    if missing:
        named = ", ".join(map(str, missing[:_NAMED])) + (" .." if missing[_NAMED:] else "")
        raise MediaNotFoundError(
            f"{what}: {named} ({len(missing)} missing).",
            "Bring the frames along: of our own exports they are with --frames jpg or png.",
        )


def check_size(name: str, size_hw: tuple[int, int], picture: Path) -> None:
    """Refuse a mask of another size than its frame.

    Raises:
        InvalidInputError: it has another one.
        MediaError: the frame is no picture, or too large.
    """
    expected = image_size_hw(picture)
    if size_hw != expected:
        raise InvalidInputError(
            f"{name} is {size_hw[1]} x {size_hw[0]} pixels, but its frame {picture.name} is "
            f"{expected[1]} x {expected[0]}.",
            "Masks must have the size of their frames.",
        )


def read_text(path: Path, limit: int = MAX_TEXT_BYTES) -> str:
    """Read a text file.

    Raises:
        MediaNotFoundError, MediaTooLargeError
        InvalidInputError: it is no text.
    """
    try:
        size = path.stat().st_size
        if size > limit:
            raise MediaTooLargeError(f"{path} has {size >> 20} MB; the limit is {limit >> 20}.", "Cut it into parts.")
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise MediaNotFoundError(f"{path} is not there, or cannot be read.", "Check the dataset.") from error
    except UnicodeDecodeError as error:
        raise InvalidInputError(f"{path} is no text in UTF-8.", "Save it as UTF-8.") from error


def read_json(path: Path) -> Any:
    """Read a JSON file. Raises as `read_text` does; InvalidInputError also where it is no JSON."""
    try:
        return json.loads(read_text(path, MAX_JSON_BYTES))
    except (ValueError, RecursionError) as error:
        if isinstance(error, InvalidInputError):
            raise
        raise InvalidInputError(f"{path} is no JSON.", "Check that it is the dataset's file.") from error


def ask_for(found: Iterable[object], root: Path, layout: str) -> None:
    """Refuse a folder in which there is nothing of a format.

    Raises:
        InvalidInputError: nothing was found.
    """
    if not any(True for _ in found):
        raise InvalidInputError(f"{root} holds no dataset of this format.", f"It should hold {layout}.")
