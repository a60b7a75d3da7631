"""YOLO: a polygon or a box a line, as Ultralytics reads it; dataset.yaml names the classes and the parts.

images/train/NAME.jpg beside labels/train/NAME.txt, "class x y x y .." in fractions of the frame; or, of a box, "class x
y width height", x and y its centre. A line is an object,
as the format has no ids. Every image is by itself, but for our exports, whose attributes.json names the videos: there
VIDEO_00000.jpg is a frame of VIDEO.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.dataset_in.inside import ask_for, folder_of, inside, pictures_in, read_text
from tam_backend.dataset_in.read_videos import (
    EMPTY,
    NO_BOXES,
    ReadBox,
    ReadDataset,
    ReadFrame,
    ReadMask,
    ReadVideo,
    box_within,
)
from tam_backend.dataset_in.told_classes import told_classes
from tam_backend.errors import InvalidInputError
from tam_backend.types import Box, EncodedMask
from tam_backend.video.images import image_size_hw

_YAMLS = ("dataset.yaml", "data.yaml")
_MOST_YAML_BYTES = 1 << 20
_BOX_NUMBERS, _LEAST_NUMBERS, _MOST_NUMBERS = 4, 6, 200_000
_SLACK = 0.01  # so far outside of the frame people's tools write corners


def read_yolo(path: Path) -> ReadDataset:
    """Open a dataset.

    Raises:
        InvalidInputError: there is none, or its YAML names no classes.
        MediaError: its folder is not there, or an image's folder lies outside of it.
    """
    root = folder_of(path)
    found = [root / each for each in _YAMLS if (root / each).is_file()] or sorted(root.glob("*.yaml"))
    ask_for(found, root, "dataset.yaml, images/train/ and labels/train/")
    about = _yaml(inside(root, found[0]))
    classes = _classes(about.get("names"), found[0])
    folders = _folders(root, about)
    ask_for(folders, root, "the folders of images that its YAML names as train, val or test")
    known = told_classes(root)
    left_out: Counter[str] = Counter()

    def videos() -> Iterator[ReadVideo]:
        for folder in folders:
            for name, files in _by_video(pictures_in(root, folder), known).items():
                yield ReadVideo(name, tuple(files), partial(_frames, root, files, classes, left_out))

    return ReadDataset(tuple(classes.values()), videos, left_out)


def _yaml(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - not needed for `--help`

    try:
        read = yaml.safe_load(read_text(path, _MOST_YAML_BYTES))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise InvalidInputError(f"{path} is no YAML.", "Correct it.") from error
    if not isinstance(read, dict):
        raise InvalidInputError(f"{path} says nothing of a dataset.", "It should have train: and names:.")
    return read


def _classes(names: Any, path: Path) -> dict[int, str]:
    listed = dict(enumerate(names)) if isinstance(names, list) else names
    if not isinstance(listed, dict) or not listed:
        raise InvalidInputError(f"{path} names no classes.", "Add names: with a class a line.")
    if not all(type(number) is int and isinstance(name, (str, int)) for number, name in listed.items()):
        raise InvalidInputError(f"{path} has names: that are not number and name.", "Correct it.")
    return {number: str(name) for number, name in listed.items()}


def _folders(root: Path, about: Mapping[str, Any]) -> list[Path]:
    """Return the folders of images, each once."""
    base = Path(str(about.get("path") or "."))
    # A path from another machine: the dataset lies where its YAML does.
    if not (root / base).resolve().is_relative_to(root):
        base = Path()
    found: dict[Path, None] = {}
    for part in ("train", "val", "test"):
        listed = about.get(part) or []
        for each in listed if isinstance(listed, list) else [listed]:
            folder = inside(root, base / str(each))
            if folder.suffix == ".txt":
                raise InvalidInputError(
                    f"{part}: is a list of images, {folder.name}; only folders are read.", "Name a folder of images."
                )
            if folder.is_dir():
                found[folder] = None
    return list(found)


def _by_video(files: Sequence[Path], known: Mapping[str, Any]) -> dict[str, list[Path]]:
    groups: dict[str, list[Path]] = {}
    for file in files:
        name, _, number = file.stem.rpartition("_")
        is_frame = name in known and number.isdecimal()
        groups.setdefault(name if is_frame else file.stem, []).append(file)
    return groups


def _frames(
    root: Path, files: Sequence[Path], classes: Mapping[int, str], left_out: Counter[str]
) -> Iterator[ReadFrame]:
    numbers = count(1)
    for index, file in enumerate(files):
        path = _label_file(root, file)
        if not path.is_file():
            continue
        size_hw = image_size_hw(file)
        shown, boxes = [], []
        for number, line in enumerate(read_text(path).splitlines(), start=1):
            if not line.strip():
                continue
            class_id, values = _line(line, f"Line {number} of {path.name}")
            if class_id not in classes:
                raise InvalidInputError(
                    f"Line {number} of {path.name} has class {class_id}, which the YAML does not name.", "Add it there."
                )
            if len(values) == _BOX_NUMBERS:
                box = _box(values, size_hw)
                left_out[NO_BOXES] += box is None
                boxes += [] if box is None else [ReadBox(next(numbers), box, size_hw, classes[class_id])]
                continue
            mask = _filled(values, size_hw)
            if mask.area:
                shown.append(ReadMask(next(numbers), mask, classes[class_id]))
            else:
                left_out[EMPTY] += 1
        yield ReadFrame(index, tuple(shown), tuple(boxes))


def _box(values: NDArray[np.float64], size_hw: tuple[int, int]) -> Box | None:
    """Return "x y width height" in fractions as (x0, y0, x1, y1) in pixels; None where it has no area."""
    height, width = size_hw
    x, y, w, h = (values * (width, height, width, height)).tolist()
    return box_within((x - w / 2, y - h / 2, x + w / 2, y + h / 2), size_hw)


def _label_file(root: Path, picture: Path) -> Path:
    """Return the text beside a picture: as Ultralytics does, by the last folder in its path that is called images."""
    parts = list(picture.relative_to(root).with_suffix(".txt").parts)
    for place in reversed(range(len(parts) - 1)):
        if parts[place] == "images":
            parts[place] = "labels"
            break
    return inside(root, Path(*parts))


def _line(text: str, name: str) -> tuple[int, NDArray[np.float64]]:
    """Return a line's class, and the numbers behind it."""
    fields = text.split()
    try:
        if len(fields) > _MOST_NUMBERS:
            raise ValueError
        class_id, values = int(fields[0]), np.array([float(each) for each in fields[1:]])
    except ValueError as error:
        raise InvalidInputError(f"{name} is not a class and numbers.", "Correct it.") from error
    if len(values) != _BOX_NUMBERS and (len(values) < _LEAST_NUMBERS or len(values) % 2):
        raise InvalidInputError(f"{name} has {len(values)} numbers: neither box nor polygon.", "Correct it.")
    if not ((values >= -_SLACK) & (values <= 1 + _SLACK)).all():
        raise InvalidInputError(f"{name} has numbers outside of 0 to 1.", "Corners are fractions of the frame.")
    return class_id, np.clip(values, 0, 1)


def _filled(values: NDArray[np.float64], size_hw: tuple[int, int]) -> EncodedMask:
    """Fill a polygon as Ultralytics and supervision do: its corners are pixels, which belong to it."""
    import cv2  # noqa: PLC0415 - not needed for `--help`

    height, width = size_hw
    corners = np.minimum((values.reshape(-1, 2) * (width, height)).astype(np.int32), (width - 1, height - 1))
    filled: NDArray[np.uint8] = np.zeros(size_hw, np.uint8)
    cv2.fillPoly(filled, [corners.astype(np.int32)], (1,))
    return EncodedMask.of(filled)
