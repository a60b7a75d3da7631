"""Masks: one black and white PNG for each object and frame, masks/VIDEO/1-dog/00000.png; what any tool can read.

Where an object is absent there is no file. Objects may overlap. The frames are in images/VIDEO.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tam_backend.export.dataset import DatasetVideo, frame_name, safe_name
from tam_backend.export.dataset_folder import StagedVideo
from tam_backend.export.dataset_format import DatasetFormat, Whole, Work, place_all, place_pictures
from tam_backend.export.flat_masks import BOXES

IGNORED = "doubtful masks, which the format has no place for: they are left out"


class ObjectMasks(DatasetFormat):
    """See the module."""

    name = "masks"
    title = "black and white masks"

    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Write the PNGs, white on black."""
        import cv2  # noqa: PLC0415 - not needed for `--help`

        folders = {
            each.object_id: folder / "masks" / f"{each.object_id}-{safe_name(each.category)}" for each in video.objects
        }
        for each in (folder / "masks", *folders.values()):
            each.mkdir(exist_ok=True)
        for frame in video.frames():
            work.lost[IGNORED] += len(frame.masks(ignored=True))
            work.lost[BOXES] += sum(each.box_xyxy is not None for each in frame.shown)
            for object_id, runs in frame.masks().items():
                white = np.ascontiguousarray(runs.decoded().view(np.uint8)) * np.uint8(255)
                _, encoded = cv2.imencode(".png", white)
                (folders[object_id] / f"{frame_name(frame.index)}.png").write_bytes(encoded.tobytes())

    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Put the folders together."""
        for each in videos:
            above = whole.folder / whole.split(each.name) if whole.split_of else whole.folder
            place_all(each.folder / "masks", above / "masks" / each.name)
            place_pictures(each, above / "images" / each.name, whole.work.suffix)
