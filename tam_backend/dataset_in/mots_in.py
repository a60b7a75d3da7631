"""MOTS: text with run lengths, as MOTSChallenge and KITTI MOTS publish it.

train/VIDEO/gt/gt.txt beside train/VIDEO/img1/000001.jpg; or instances_txt/0000.txt beside image_02/0000/000000.png.
"frame id class height width rle" a line; the frame is the number in its picture's name. Class 10 is not judged. What
has only a box may stand in gt/boxes.txt, as in MOTChallenge: "frame,id,left,top,width,height,1,class,1".
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

from tam_backend.dataset_in.checked_runs import from_code
from tam_backend.dataset_in.inside import (
    ask_for,
    check_size,
    folder_of,
    folders_in,
    inside,
    number_of,
    pictures_in,
    read_text,
    refuse_missing,
)
from tam_backend.dataset_in.read_videos import (
    EMPTY,
    IGNORED,
    MOST_OBJECT_ID,
    NO_BOXES,
    ReadBox,
    ReadDataset,
    ReadFrame,
    ReadMask,
    ReadVideo,
    box_within,
)
from tam_backend.errors import InvalidInputError
from tam_backend.types import Box, EncodedMask
from tam_backend.video.images import image_size_hw

OFFICIAL = {1: "car", 2: "pedestrian"}
IGNORED_CLASS = 10
_IDS_OF_A_CLASS = 1000


@dataclass(frozen=True)
class _Sequence:
    """Where a video's lines and pictures are."""

    name: str
    text: Path
    pictures: Path


@dataclass(frozen=True)
class _BoxLine:
    """A line of boxes.txt; `number` is its own, from 1."""

    number: int
    object_id: int
    class_id: int
    box_xyxy: Box

    def of(self, known: Collection[int]) -> _BoxLine:
        """Return it with the id that its object has among the masks, where it is one of theirs: class * 1000 + id."""
        theirs = self.class_id * _IDS_OF_A_CLASS + self.object_id
        return replace(self, object_id=theirs) if theirs in known else self


@dataclass(frozen=True)
class _Line:
    """A line of the text; `number` is its own, from 1."""

    number: int
    object_id: int
    class_id: int
    size_hw: tuple[int, int]
    code: str


def read_mots(path: Path) -> ReadDataset:
    """Open a dataset.

    Raises:
        InvalidInputError: there is none, or classes.txt is not "number name" a line.
        MediaError: its folder is not there.
    """
    root = folder_of(path)
    found = [*_challenge(root), *_kitti(root)]
    ask_for(found, root, "train/VIDEO/gt/gt.txt and train/VIDEO/img1/000001.jpg")
    classes = _classes(root)
    left_out: Counter[str] = Counter()

    def videos() -> Iterator[ReadVideo]:
        for each in found:
            files = tuple(pictures_in(root, each.pictures))
            yield ReadVideo(each.name, files, partial(_frames, root, files, classes, each, left_out))

    return ReadDataset(tuple(name for number, name in classes.items() if number != IGNORED_CLASS), videos, left_out)


def _challenge(root: Path) -> list[_Sequence]:
    near = [root, *folders_in(root)]
    folders = {each: None for parent in near for each in (parent, *folders_in(parent))}
    return [_Sequence(each.name, each / "gt" / "gt.txt", each / "img1") for each in folders if _has_truth(each)]


def _has_truth(folder: Path) -> bool:
    return (folder / "gt" / "gt.txt").is_file()


def _kitti(root: Path) -> list[_Sequence]:
    texts = sorted((root / "instances_txt").glob("*.txt"))
    pictures = next((each for each in (root / "image_02", root / "training" / "image_02") if each.is_dir()), root)
    return [_Sequence(each.stem, each, pictures / each.stem) for each in texts]


def _classes(root: Path) -> dict[int, str]:
    """Return number -> name: of classes.txt, which our exports have, or the official ones."""
    path = inside(root, "classes.txt")
    if not path.is_file():
        return OFFICIAL
    try:
        pairs = [line.split(" ", 1) for line in read_text(path).splitlines() if line.strip()]
        return {int(number): name for number, name in pairs}
    except ValueError as error:
        raise InvalidInputError(f"{path} is not a number and a name a line.", "Correct it.") from error


def _lines(path: Path) -> dict[int, list[_Line]]:
    """Return frame -> its lines; a mask stays as the text has it."""
    found: dict[int, list[_Line]] = {}
    for number, text in enumerate(read_text(path).splitlines(), start=1):
        if not text.strip():
            continue
        fields = text.split()
        try:
            frame, object_id, class_id, height, width = (int(each) for each in fields[:-1])
        except ValueError as error:
            raise InvalidInputError(
                f'Line {number} of {path} is not "frame id class height width rle".', "Correct it."
            ) from error
        if min(object_id, height, width) < 1 or object_id >= MOST_OBJECT_ID:
            raise InvalidInputError(f"Line {number} of {path} has an id or a size out of range.", "Correct it.")
        found.setdefault(frame, []).append(_Line(number, object_id, class_id, (height, width), fields[-1]))
    return found


def _boxes(path: Path) -> dict[int, list[_BoxLine]]:
    """Return frame -> its boxes, as they stand there; none without the file."""
    found: dict[int, list[_BoxLine]] = {}
    for number, text in enumerate(read_text(path).splitlines() if path.is_file() else (), start=1):
        if not text.strip():
            continue
        try:
            frame, object_id, *place, _, class_id, _ = (float(each) for each in text.split(","))
            x, y, width, height = place
            line = _BoxLine(number, int(object_id), int(class_id), (x, y, x + width, y + height))
            there = found.setdefault(int(frame), [])
        except (ValueError, OverflowError) as error:
            said = '"frame,id,left,top,width,height,1,class,1"'
            raise InvalidInputError(f"Line {number} of {path} is not {said}.", "Correct it.") from error
        if not (1 <= line.object_id < MOST_OBJECT_ID and all(map(math.isfinite, line.box_xyxy))):
            raise InvalidInputError(f"Line {number} of {path} has an id or a box out of range.", "Correct it.")
        there.append(line)
    return found


def _frames(
    root: Path, files: Sequence[Path], classes: Mapping[int, str], where: _Sequence, left_out: Counter[str]
) -> Iterator[ReadFrame]:
    lines = _lines(inside(root, where.text))
    numbers = [number_of(file) for file in files]
    known = {line.object_id for there in lines.values() for line in there}
    boxed = _boxes(inside(root, where.text.with_name("boxes.txt")))
    refuse_missing(f"{where.name} has masks of frames without a picture", sorted({*lines, *boxed} - set(numbers)))
    for index, (file, frame) in enumerate(zip(files, numbers, strict=True)):
        by_object: dict[int, ReadMask] = {}
        for line in lines.get(frame, ()) if frame is not None else ():
            if line.class_id == IGNORED_CLASS:
                left_out[IGNORED] += 1
                continue
            name = f"line {line.number} of {where.name}/{where.text.name}"
            label = _label(line.class_id, classes, name)
            check_size(name, line.size_hw, file)
            mask = from_code(line.code, line.size_hw, name)
            if not mask.area:
                left_out[EMPTY] += 1
                continue
            if line.object_id in by_object:
                mask = EncodedMask.union([by_object[line.object_id].mask, mask])
            by_object[line.object_id] = ReadMask(line.object_id, mask, label)
        there = [line.of(known) for line in boxed.get(frame, ())] if frame is not None else []
        boxes = _boxes_of(there, file, classes, where.name, left_out)
        yield ReadFrame(
            index,
            tuple(by_object[each] for each in sorted(by_object)),
            tuple(each for each in boxes if each.object_id not in by_object),
        )


def _boxes_of(
    lines: Sequence[_BoxLine], file: Path, classes: Mapping[int, str], video: str, left_out: Counter[str]
) -> list[ReadBox]:
    found = {}
    for line in lines:
        label = _label(line.class_id, classes, f"line {line.number} of {video}/boxes.txt")
        size_hw = image_size_hw(file)
        box = box_within(line.box_xyxy, size_hw)
        if box is None:
            left_out[NO_BOXES] += 1
        else:
            found[line.object_id] = ReadBox(line.object_id, box, size_hw, label)
    return [found[each] for each in sorted(found)]


def _label(class_id: int, classes: Mapping[int, str], name: str) -> str:
    if class_id not in classes:
        raise InvalidInputError(
            f"Class {class_id} in {name} has no name.", "Add a classes.txt: number and name a line."
        )
    return classes[class_id]
