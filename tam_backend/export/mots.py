"""MOTS: multi-object tracking and segmentation, as MOTSChallenge publishes it.

train/VIDEO/gt/gt.txt: "frame id class height width rle" a line, id = class * 1000 + object, frames from 1, run lengths
of pycocotools; train/VIDEO/instances/000001.png: 16 bit, pixel = that id; img1/000001.jpg and seqinfo.ini beside them.
By its rules no pixel belongs to two objects. Class 10 with id 10000 is a region that is not judged. Boxes without masks
are in gt/boxes.txt, as MOTChallenge has them: frame, id, left, top, width, height, 1, class, 1.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import InvalidInputError, MediaError
from tam_backend.export.coco import box_xywh
from tam_backend.export.dataset import DatasetVideo, LabelledFrame
from tam_backend.export.dataset_folder import StagedVideo
from tam_backend.export.dataset_format import DatasetFormat, Whole, Work, place_all, place_pictures
from tam_backend.export.flat_masks import BOXES, IGNORED_ID, FlatMasks, flattened
from tam_backend.png import mask_png
from tam_backend.types import EncodedMask

IGNORED_CLASS = 10
_OBJECTS_PER_CLASS = 1000
_MOST_OBJECTS = IGNORED_ID - 1
_OFFICIAL = {"car": 1, "pedestrian": 2, "person": 2}
_USUAL_FPS = 25.0


class Mots(DatasetFormat):
    """See the module."""

    name = "mots"
    title = "MOTS"

    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Write the lines and the PNGs."""
        if any(each.object_id > _MOST_OBJECTS for each in video.objects):
            raise InvalidInputError(
                f"{video.name} has {len(video.objects)} objects; here a MOTS sequence holds {_MOST_OBJECTS}.",
                "Export it as COCO.",
            )
        sequence = folder / "sequence"
        for name in ("gt", "instances"):
            (sequence / name).mkdir(parents=True)
        classes = {each.object_id: class_number(each.category, work) for each in video.objects}
        ids: NDArray[np.uint16] = np.zeros(IGNORED_ID + 1, np.uint16)
        ids[IGNORED_ID] = IGNORED_CLASS * _OBJECTS_PER_CLASS
        for object_id, number in classes.items():
            ids[object_id] = number * _OBJECTS_PER_CLASS + object_id
        boxes: list[str] = []
        length = 0
        with (sequence / "gt" / "gt.txt").open("w", encoding="ascii") as lines:
            for frame in video.frames():
                flat = flattened(frame, video.size_hw, work.lost)
                height, width = flat.size_hw
                for value, runs in _seen(frame, flat).items():
                    number = classes.get(value, IGNORED_CLASS)
                    lines.write(
                        f"{frame.index + 1} {ids[value]} {number} {height} {width} {runs.counts.decode('ascii')}\n"
                    )
                for each in frame.shown:
                    if each.runs is None:
                        box = ",".join(f"{side:g}" for side in box_xywh(each))
                        boxes.append(f"{frame.index + 1},{each.object_id},{box},1,{classes[each.object_id]},1\n")
                picture = sequence / "instances" / f"{_frame_name(frame.index)}.png"
                picture.write_bytes(_picture(flat, ids))
                length += 1
        del work.lost[BOXES]  # they have a file of their own
        if boxes:
            (sequence / "gt" / "boxes.txt").write_text("".join(boxes), encoding="ascii")
        height, width = video.size_hw
        about = {
            "name": video.name,
            "imDir": "img1",
            "frameRate": f"{_fps(video):g}",
            "seqLength": str(length),
            "imWidth": str(width),
            "imHeight": str(height),
            "imExt": f".{work.suffix}",
        }
        lines_of_about = "".join(f"{key}={value}\n" for key, value in about.items())
        (sequence / "seqinfo.ini").write_text(f"[Sequence]\n{lines_of_about}", encoding="utf-8")

    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Put the sequences together, and name the classes."""
        for each in videos:
            folder = whole.folder / whole.split(each.name) / each.name
            place_all(each.folder / "sequence", folder)
            place_pictures(each, folder / "img1", whole.work.suffix, _frame_name)
        numbers = sorted((class_number(name, whole.work), name) for name in whole.work.classes.names)
        numbers.append((IGNORED_CLASS, "not judged"))
        classes = "".join(f"{number} {name}\n" for number, name in numbers)
        (whole.folder / "classes.txt").write_text(classes, encoding="utf-8")


def class_number(name: str, work: Work) -> int:
    """Return a class's number: MOTSChallenge's for cars and pedestrians, others from 3 up, without the one ignored."""
    official = _OFFICIAL.get(name.casefold())
    if official is not None:
        return official
    number = work.classes.number(name) + max(_OFFICIAL.values())
    return number if number < IGNORED_CLASS else number + 1


def _seen(frame: LabelledFrame, flat: FlatMasks) -> dict[int, EncodedMask]:
    """Return value -> what is to be seen of it in the picture."""
    if not flat.overlap:
        return frame.masks()
    boxes = {value: box for value, mask in frame.masks().items() if (box := mask.box_xyxy) is not None}
    if any(each.ignored for each in frame.shown):
        boxes[IGNORED_ID] = (0, flat.top, flat.size_hw[1], flat.top + len(flat.rows))
    seen = {}
    for value, box in sorted(boxes.items()):
        left, top, right, bottom = map(int, box)
        crop = flat.rows[top - flat.top : bottom - flat.top, left:right] == value
        if crop.any():
            seen[value] = EncodedMask.of_crop(crop, (top, left), flat.size_hw)
    return seen


def _picture(flat: FlatMasks, ids: NDArray[np.uint16]) -> bytes:
    import cv2  # noqa: PLC0415 - not needed for `--help`

    # NumPy takes ten times as long, OpenCV does not take nothing.
    pixels = np.asarray(cv2.LUT(flat.rows, ids), np.uint16) if flat.rows.size else flat.rows.astype(np.uint16)
    return mask_png(pixels, flat.top, flat.size_hw[0])


def _fps(video: DatasetVideo) -> float:
    try:
        return video.pictures.fps() or _USUAL_FPS
    except MediaError:  # the masks can be had without the frames
        return _USUAL_FPS


def _frame_name(index: int) -> str:
    return f"{index + 1:06d}"
