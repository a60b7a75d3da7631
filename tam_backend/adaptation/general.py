"""The packaged clips: two to be practised beside a project's videos against forgetting, two to measure harm on.

Made by `python -m training.general_clips` from videos whose licences let them be passed on (docs/adaptation.md).
"""

from __future__ import annotations

import zipfile
from collections.abc import Sequence
from pathlib import Path

import cv2
import numpy as np

from tam_backend.adaptation.labeled import IdMask, LabeledVideo
from tam_backend.types import RgbFrame
from tam_backend.video.base import FrameSource
from tam_backend.video.limits import check_index

PACKED = Path(__file__).with_name("general_clips.zip")
PRACTISED, MEASURED = ("box", "opossum2"), ("cup", "opossum")


def general_clips(names: Sequence[str]) -> list[LabeledVideo]:
    """Return packaged clips with their masks, decoded (a few MB each)."""
    with zipfile.ZipFile(PACKED) as packed:
        return [_clip(packed, name) for name in names]


class _PackedClip(FrameSource):
    def __init__(self, name: str, frames: Sequence[RgbFrame]) -> None:
        super().__init__(name, (frames[0].shape[0], frames[0].shape[1]))
        self._frames = frames

    def __len__(self) -> int:
        return len(self._frames)

    def __getitem__(self, index: int) -> RgbFrame:
        check_index(self.name, index, len(self))
        return self._frames[index]

    def close(self) -> None:
        """Nothing is held open."""


def _clip(packed: zipfile.ZipFile, name: str) -> LabeledVideo:
    frames: list[RgbFrame] = []
    masks: dict[int, IdMask] = {}
    for file in sorted(each for each in packed.namelist() if each.startswith(f"{name}/")):
        data = np.frombuffer(packed.read(file), np.uint8)
        if file.endswith(".jpg"):
            bgr = np.asarray(cv2.imdecode(data, cv2.IMREAD_COLOR), np.uint8)
            frames.append(np.ascontiguousarray(bgr[..., ::-1]))
        else:
            masks[int(Path(file).stem)] = np.asarray(cv2.imdecode(data, cv2.IMREAD_UNCHANGED), np.uint8)
    return LabeledVideo(name, _PackedClip(name, frames), masks)
