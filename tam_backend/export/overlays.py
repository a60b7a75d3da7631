"""Overlay: an MP4 for each video with its masks drawn on it, to be looked at."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from tam_backend.errors import MediaError
from tam_backend.export.dataset import DatasetVideo, Shown
from tam_backend.export.dataset_folder import StagedVideo, place
from tam_backend.export.dataset_format import DatasetFormat, Whole, Work, place_pictures
from tam_backend.export.frame_files import fitted
from tam_backend.export.overlay_video import OverlayWriter
from tam_backend.types import BoolMask

IGNORED = "doubtful masks, which are not drawn"
UNREADABLE = "frames that cannot be read"
_FILE = "overlay.mp4"
_USUAL_FPS = 24.0  # of images, which have no clock


class Overlays(DatasetFormat):
    """See the module."""

    name = "overlay"
    title = "overlay"

    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Draw every frame; boxes are drawn as what they enclose."""
        labels = {each.object_id: each.category for each in video.objects}
        with OverlayWriter(folder / _FILE, video.size_hw, video.pictures.fps() or _USUAL_FPS) as writer:
            for frame in video.frames():
                try:
                    picture = fitted(video.pictures.picture(frame.index), video.size_hw)
                except MediaError:
                    work.lost[UNREADABLE] += 1
                    continue
                work.lost[IGNORED] += sum(each.ignored for each in frame.shown)
                drawn = {each.object_id: _drawn(each, video.size_hw) for each in frame.shown if not each.ignored}
                writer.write(picture, drawn, labels)

    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Name the videos."""
        for each in videos:
            above = whole.folder / whole.split(each.name) if whole.split_of else whole.folder
            place(each.folder / _FILE, above / f"{each.name}.mp4")
            place_pictures(each, above / "images" / each.name, whole.work.suffix)


def _drawn(shown: Shown, size_hw: tuple[int, int]) -> BoolMask:
    """Return what to draw of an object, (H, W) bool: its mask, or what its box encloses."""
    if shown.runs is not None:
        return fitted(shown.runs.array.view(np.uint8), size_hw).view(np.bool_)
    mask: BoolMask = np.zeros(size_hw, np.bool_)
    if shown.box_xyxy is not None:
        x0, y0, x1, y1 = (max(round(value), 0) for value in shown.box_xyxy)
        mask[y0:y1, x0:x1] = True
    return mask
