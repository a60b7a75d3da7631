"""Masks: one black and white PNG for each object and frame.

masks/VIDEO/1-dog/00000.png beside images/VIDEO/00000.jpg, also inside train/, val/ and test/. The number before the
dash is the object, what follows is its class. A frame that no object has a PNG of shows none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path

from tam_backend.dataset_in.inside import ask_for, check_size, folder_of, folders_in, pictures_in, refuse_missing
from tam_backend.dataset_in.mask_pictures import read_black_and_white
from tam_backend.dataset_in.read_videos import ReadDataset, ReadFrame, ReadMask, ReadVideo
from tam_backend.dataset_in.told_classes import told_classes
from tam_backend.errors import InvalidInputError
from tam_backend.types import EncodedMask

MASKS, PICTURES = "masks", "images"
_OBJECT = re.compile(r"([0-9]{1,9})(?:-(.*))?", re.ASCII)


def read_masks(path: Path) -> ReadDataset:
    """Open a dataset.

    Raises:
        InvalidInputError: there is none, or a folder's name tells no object.
        MediaError: its folder is not there.
    """
    root = folder_of(path)
    parts = [each for each in (root, *folders_in(root)) if (each / MASKS).is_dir()]
    found = [(part, folder) for part in parts for folder in folders_in(part / MASKS)]
    ask_for(found, root, f"{MASKS}/VIDEO/1-dog/00000.png and {PICTURES}/VIDEO/00000.jpg")
    told = told_classes(root)
    objects = {folder: _objects(folder, told.get(folder.name, {})) for _, folder in found}

    def videos() -> Iterator[ReadVideo]:
        for part, folder in found:
            files = tuple(pictures_in(root, part / PICTURES / folder.name))
            masks = {
                each: {path.stem: path for path in pictures_in(root, folder / each)} for each, *_ in objects[folder]
            }
            yield ReadVideo(folder.name, files, partial(_frames, folder.name, files, objects[folder], masks))

    classes = {label for those in objects.values() for _, _, label in those}
    return ReadDataset(tuple(sorted(classes)), videos)


def _objects(folder: Path, classes: Mapping[int, str]) -> list[tuple[str, int, str]]:
    """Return (folder's name, object id, class) of a video's objects, by their ids."""
    found: dict[int, tuple[str, int, str]] = {}
    for each in folders_in(folder):
        match = _OBJECT.fullmatch(each.name)
        if match is None:
            raise InvalidInputError(f"The folder {each} tells no object.", "Name it like 1-dog: id, dash, class.")
        number = int(match[1])
        if number in found:
            raise InvalidInputError(f"{folder.name} has two folders of object {number}.", "Give one another id.")
        found[number] = (each.name, number, classes.get(number, match[2] or ""))
    return [found[number] for number in sorted(found)]


def _frames(
    video: str, files: Sequence[Path], objects: Sequence[tuple[str, int, str]], masks: Mapping[str, Mapping[str, Path]]
) -> Iterator[ReadFrame]:
    stems = {each.stem for each in files}
    refuse_missing(
        f"{video} has masks without a picture in {PICTURES}",
        [f"{name}/{stem}.png" for name, there in masks.items() for stem in there if stem not in stems],
    )
    for index, file in enumerate(files):
        shown = []
        for name, number, label in objects:
            path = masks[name].get(file.stem)
            if path is None:
                continue
            mask = read_black_and_white(path)
            check_size(f"{name}/{path.name}", (mask.shape[0], mask.shape[1]), file)
            if mask.any():
                shown.append(ReadMask(number, EncodedMask.of(mask), label))
        yield ReadFrame(index, tuple(shown))
