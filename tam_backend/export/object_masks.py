"""Masks: one black and white PNG for each object and frame, masks/VIDEO/1-dog/00000.png; what any tool can read.

Where an object is absent there is no file. Objects may overlap. The frames are in images/VIDEO.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from tam_backend.export.dataset import DatasetVideo, frame_name, safe_name
from tam_backend.export.dataset_folder import StagedVideo
from tam_backend.export.dataset_format import DatasetFormat, Whole, Work, place_all, place_pictures
from tam_backend.export.flat_masks import BOXES
from tam_backend.png import mask_png
from tam_backend.types import EncodedMask

IGNORED = "doubtful masks, which the format has no place for: they are left out"


class ObjectMasks(DatasetFormat):
    """See the module."""

    name = "masks"
    title = "black and white masks"

    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Write the PNGs, white on black."""
        folders = {
            each.object_id: folder / "masks" / f"{each.object_id}-{safe_name(each.category)}" for each in video.objects
        }
        for each in (folder / "masks", *folders.values()):
            each.mkdir(exist_ok=True)
        for frame in video.frames():
            work.lost[IGNORED] += len(frame.masks(ignored=True))
            work.lost[BOXES] += sum(each.box_xyxy is not None for each in frame.shown)
            for object_id, mask in frame.masks().items():
                (folders[object_id] / f"{frame_name(frame.index)}.png").write_bytes(_white_on_black(mask))

    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Put the folders together."""
        for each in videos:
            above = whole.folder / whole.split(each.name) if whole.split_of else whole.folder
            place_all(each.folder / "masks", above / "masks" / each.name)
            place_pictures(each, above / "images" / each.name, whole.work.suffix)


def _white_on_black(mask: EncodedMask) -> bytes:
    crop, (top, left) = mask.crop()
    height, width = mask.size_hw
    rows: NDArray[np.uint8] = np.zeros((len(crop), width), np.uint8)
    rows[:, left : left + crop.shape[1]] = crop.view(np.uint8) * np.uint8(255)
    return mask_png(rows, top, height)
