"""YOLO segmentation: a line of text for each object, class and polygon; dataset.yaml names the classes and splits.

images/train/VIDEO_00000.jpg, labels/train/VIDEO_00000.txt, dataset.yaml, as Ultralytics reads them. A polygon has one
part and no hole, so parts and holes are joined by lines of one pixel. Object ids have no place.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from tam_backend.export.dataset import DatasetVideo, LabelledFrame, Shown, frame_name
from tam_backend.export.dataset_folder import StagedVideo, place
from tam_backend.export.dataset_format import DatasetFormat, Whole, Work, place_pictures
from tam_backend.export.outlines import one_polygon

TOLERANCE_IOU = 0.98
"""A polygon that is filled again overlaps with its mask so far; those that do not are counted in the summary."""

IGNORED = "doubtful masks, which the format has no place for: they are left out"
FAR_APART = f"masks in parts so small and far apart that their polygon overlaps with them by less than {TOLERANCE_IOU}"

# Of a pixel: readers round a corner to whole pixels, or cut it off; either way this is the pixel that was meant.
_INSIDE = 0.25


class Yolo(DatasetFormat):
    """See the module."""

    name = "yolo"
    title = "YOLO"

    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Write a text for every frame, an empty one where no object is: that is how YOLO learns what is none."""
        (folder / "labels").mkdir()
        classes = {each.object_id: work.classes.number(each.category) - 1 for each in video.objects}
        for frame in video.frames():
            size_hw = frame.size_hw or video.size_hw
            work.lost[IGNORED] += sum(each.ignored for each in frame.shown)
            lines = [
                f"{classes[each.object_id]} {numbers}\n"
                for each in frame.shown
                if not each.ignored and (numbers := _numbers(each, frame, size_hw, work))
            ]
            path = folder / "labels" / f"{_file_name(video.name, frame.index)}.txt"
            path.write_text("".join(lines), encoding="ascii")

    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Put the folders together, and name the classes."""
        splits = whole.splits(videos)
        for split, part in splits.items():
            for each in part:
                for path in sorted((each.folder / "labels").iterdir()):
                    place(path, whole.folder / "labels" / split / path.name)
                folder = whole.folder / "images" / split
                place_pictures(each, folder, whole.work.suffix, partial(_file_name, each.name))
        lines = ["path: ."]
        # Ultralytics asks for both of these.
        lines += [f"{split}: images/{split if split in splits else 'train'}" for split in ("train", "val")]
        lines += ["test: images/test"] if "test" in splits else []
        # JSON texts are YAML texts too, whatever characters they hold.
        lines += ["names:", *(f"  {at}: {json.dumps(each)}" for at, each in enumerate(whole.work.classes.names))]
        (whole.folder / "dataset.yaml").write_text("\n".join([*lines, ""]), encoding="utf-8")


def _file_name(video: str, index: int) -> str:
    return f"{video}_{frame_name(index)}"


def _numbers(shown: Shown, frame: LabelledFrame, size_hw: tuple[int, int], work: Work) -> str:
    """Return what stands behind the class, in fractions of the frame; "" where nothing is to be seen."""
    height, width = size_hw
    if shown.runs is not None:
        corners, overlap = one_polygon(shown.runs)
        if overlap < TOLERANCE_IOU:
            work.lost[FAR_APART] += 1
        return _written((corners + _INSIDE) / (width, height))
    if shown.box_xyxy is None:
        return ""
    x0, y0, x1, y1 = shown.box_xyxy
    box = np.array([[x0, y0], [x1, y0], [x1, y1], [x0, y1]]) / (width, height)
    if frame.size_hw is not None:  # readers take all lines of a text for polygons if one is
        return _written(box)
    return _written(np.array([(box[0] + box[2]) / 2, box[2] - box[0]]))


def _written(corners: NDArray[Any]) -> str:
    numbers = np.clip(corners, 0, 1).ravel().tolist()
    return " ".join(["%.6f"] * len(numbers)) % tuple(numbers)  # at once: a polygon has a thousand
