"""Photographs and films with masks, as folders of images/*.jpg or frames/*.jpg beside masks/*.png with object ids."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from training.segments import AnnotatedImage, Segment, describe, read_photograph

# Kept for validation: never trained on from run g5 on (before that, g4 had seen them).
HELD_OUT_FILMS = frozenset({"davis_tennis", "ytvos_003234408d"})
# Ids from here on are grounds, crowds and what nobody decided about (../shared/data/README.md).
_FIRST_STUFF_ID = 200
# In these sets an id is a part; all parts together are one thing.
_SETS_OF_PARTS = frozenset({"ccp251"})


@dataclass(frozen=True, eq=False)
class Film:
    """A real video with masks.

    Args:
        name: of its folder.
        frames: (T, H, W, 3) uint8 RGB.
        labels: (T, H, W) uint8 object ids, 0 = background.
    """

    name: str
    frames: NDArray[np.uint8]
    labels: NDArray[np.uint8]

    def __len__(self) -> int:
        return len(self.frames)


def load_photographs(root: Path) -> list[AnnotatedImage]:
    """Read every set of photographs under a folder: SET/images/NAME.jpg and SET/masks/NAME.png, (H, W) uint8 ids.

    Every instance is a segment, and counts as a whole thing; parts (garments) count as parts beside their whole.

    Raises:
        FileNotFoundError: the folder has no set, or a photograph no mask.
        ValueError: a file is no image.
    """
    sets = sorted(folder.parent for folder in root.glob("*/images"))
    if not sets:
        raise FileNotFoundError(f"{root} holds no photographs: no SET/images with SET/masks.")
    return [_annotated(file, folder.name in _SETS_OF_PARTS) for folder in sets for file in _jpegs(folder / "images")]


def load_films(root: Path, without: frozenset[str] = frozenset()) -> list[Film]:
    """Read the videos under a folder: NAME/frames/*.jpg and NAME/masks/*.png of the same stems, all of one size.

    Args:
        root: the folder.
        without: names that are left out.

    Raises:
        FileNotFoundError: there is none, or a frame has no mask.
        ValueError: a file is no image.
    """
    folders = sorted(folder.parent for folder in root.glob("*/frames"))
    if not folders:
        raise FileNotFoundError(f"{root} holds no videos: no NAME/frames with NAME/masks.")
    return [_film(folder) for folder in folders if folder.name not in without]


def film_stills(films: Sequence[Film]) -> list[AnnotatedImage]:
    """Return every frame of the films as a photograph whose objects are whole things."""
    return [
        _with_segments(f"{film.name}/{index}", film.frames[index], film.labels[index], parts=False)
        for film in films
        for index in range(len(film))
    ]


def read_ids(file: Path) -> NDArray[np.uint8]:
    """Return (H, W) uint8: the object ids of a mask file, 0 where they stand for no single thing.

    Raises:
        FileNotFoundError: it is not there, or no image.
    """
    ids = cv2.imread(str(file), cv2.IMREAD_UNCHANGED)
    if ids is None or ids.ndim != 2 or ids.dtype != np.uint8:
        raise FileNotFoundError(f"{file} is missing, or no picture of one byte a pixel.")
    return np.where(ids < _FIRST_STUFF_ID, ids, 0).astype(np.uint8)


def _film(folder: Path) -> Film:
    files = _jpegs(folder / "frames")
    labels = [read_ids(folder / "masks" / f"{file.stem}.png") for file in files]
    return Film(folder.name, np.stack([read_photograph(file) for file in files]), np.stack(labels))


def _annotated(file: Path, parts: bool) -> AnnotatedImage:
    ids = read_ids(file.parent.with_name("masks") / f"{file.stem}.png")
    image = read_photograph(file)
    if ids.shape != image.shape[:2]:
        ids = np.asarray(cv2.resize(ids, image.shape[1::-1], interpolation=cv2.INTER_NEAREST), np.uint8)
    return _with_segments(str(file), image, ids, parts)


def _with_segments(name: str, image: NDArray[np.uint8], ids: NDArray[np.uint8], parts: bool) -> AnnotatedImage:
    return AnnotatedImage(name, image, (ids,), tuple(_segments(ids, parts)))


def _segments(ids: NDArray[np.uint8], parts: bool) -> Iterator[Segment]:
    found = tuple(int(i) for i in np.unique(ids) if i)
    for one in found:
        yield replace(describe((ids,), 0, (one,)), taught=not parts)
    if parts and found:
        yield replace(describe((ids,), 0, found), taught=True)


def _jpegs(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.jpg"))
