"""DAVIS and YouTube-VOS: an indexed PNG per frame, pixel = object id.

Annotations/480p/VIDEO/00000.png beside JPEGImages/480p/VIDEO/00000.jpg; YouTube-VOS has no folder for the size. Of
several sizes the full one is read. Frames without a PNG (of DAVIS's test sets all but the first) are not annotated.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path

import numpy as np

from tam_backend.dataset_in.inside import ask_for, check_size, folder_of, folders_in, pictures_in, refuse_missing
from tam_backend.dataset_in.mask_pictures import VOID, read_ids
from tam_backend.dataset_in.read_videos import IGNORED, ReadDataset, ReadFrame, ReadMask, ReadVideo
from tam_backend.dataset_in.told_classes import told_classes
from tam_backend.types import EncodedMask

MASKS, PICTURES = "Annotations", "JPEGImages"
_SIZES = ("Full-Resolution", "1080p", "480p")  # the better one first


def read_davis(path: Path) -> ReadDataset:
    """Open a dataset.

    Raises:
        InvalidInputError: there is none.
        MediaError: its folder is not there.
    """
    root = folder_of(path)
    size = _size(root / MASKS)
    folders = folders_in(root / MASKS / size)
    ask_for(folders, root, f"{MASKS}/480p/VIDEO/00000.png and {PICTURES}/480p/VIDEO/00000.jpg")
    told = told_classes(root)
    left_out: Counter[str] = Counter()

    def videos() -> Iterator[ReadVideo]:
        for folder in folders:
            files = tuple(pictures_in(root, root / PICTURES / size / folder.name))
            masks = {each.stem: each for each in pictures_in(root, folder)}
            yield ReadVideo(folder.name, files, partial(_frames, files, masks, told.get(folder.name, {}), left_out))

    names = {name for folder in folders for name in told.get(folder.name, {}).values()}
    without = {""} if any(folder.name not in told for folder in folders) else set()
    return ReadDataset(tuple(sorted(names | without)), videos, left_out)


def _size(masks: Path) -> str:
    """Return the folder between that of all masks and those of the videos; "" where there is none."""
    folders = [each.name for each in folders_in(masks)]
    known = next((each for each in _SIZES if each in folders), None)
    if known is not None:
        return known
    of_sizes = [name for name in folders if folders_in(masks / name)]
    return of_sizes[0] if of_sizes else ""


def _frames(
    files: tuple[Path, ...], masks: Mapping[str, Path], classes: Mapping[int, str], left_out: Counter[str]
) -> Iterator[ReadFrame]:
    there = {each.stem for each in files}
    without = [each for stem, each in masks.items() if stem not in there]
    if without:
        refuse_missing(
            f"{without[0].parent.name} has masks without a picture in {PICTURES}", [each.name for each in without]
        )
    for index, file in enumerate(files):
        if file.stem not in masks:
            continue
        ids = read_ids(masks[file.stem])
        check_size(f"{file.parent.name}/{masks[file.stem].name}", (ids.shape[0], ids.shape[1]), file)
        there = np.unique(ids[ids > 0]).tolist()
        left_out[IGNORED] += VOID in there
        yield ReadFrame(
            index,
            tuple(ReadMask(each, EncodedMask.of(ids == each), classes.get(each, "")) for each in there if each != VOID),
        )
