"""What the demo shows of its masks: an overlay video and a contact sheet."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import cv2

from demo.annotator import Region
from tam_backend.export import OverlayWriter, contact_sheet
from tam_backend.labelstudio.encoding import decode_bitmask, decode_brush
from tam_backend.types import BoolMask, RgbFrame
from tam_backend.video import open_video

SHEET_FRAMES = (0, 14, 26, 40, 52, 66, 78, 90, 104, 112, 120, 128)
"""Twelve frames over the whole clip, the clicked one among them."""


@dataclass(frozen=True, eq=False)
class Tracked:
    """A region's mask, (H, W) bool, and how far the backend trusts it (0..1)."""

    array: BoolMask
    quality: float

    @classmethod
    def from_region(cls, region: Region) -> Tracked:
        """Read a brush or bitmask region."""
        if region["type"] == "brushlabels":
            size_hw = (region["original_height"], region["original_width"])
            array = decode_brush(region["value"]["rle"], size_hw)
        else:
            array = decode_bitmask(region["value"]["imageDataURL"])
        return cls(array, float(region.get("score") or 0))

    @property
    def share(self) -> float:
        """What part of the frame it covers, 0..1."""
        return float(self.array.mean())


def write_pictures(
    video: Path, masks: Mapping[int, Tracked], label: str, click: tuple[int, tuple[int, int]], out: Path
) -> None:
    """Write `out`/overlay.mp4 and `out`/contact_sheet.png.

    Args:
        video: the clip.
        masks: 0-based frame -> mask.
        label: of the object.
        click: (frame, (x, y) in pixels), marked where it was made.
        out: an existing folder.
    """
    click_frame, click_xy = click
    labels = {1: label}
    chosen: list[tuple[int, RgbFrame, dict[int, BoolMask]]] = []
    with open_video(video) as frames, OverlayWriter(out / "overlay.mp4", frames.size_hw, frames.fps or 24) as overlay:
        for number, frame in enumerate(frames):
            shown = _with_click(frame, click_xy) if number == click_frame else frame
            overlay.write(shown, {1: masks[number].array}, labels)
            if number in SHEET_FRAMES:
                chosen.append((number, shown, {1: masks[number].array}))
    contact_sheet(chosen, out / "contact_sheet.png", labels=labels)


def _with_click(frame: RgbFrame, xy: tuple[int, int]) -> RgbFrame:
    marked = frame.copy()
    cv2.circle(marked, xy, 17, (0, 0, 0), -1, cv2.LINE_AA)
    cv2.circle(marked, xy, 14, (255, 255, 255), -1, cv2.LINE_AA)
    return marked
