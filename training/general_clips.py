"""Make the clips that the package ships: `python -m training.general_clips CLIPS`.

CLIPS is what `training.validation_clips` wrote. Only of videos that may be passed on: box and cup come from OpenCV's
samples (Apache-2.0), both opossums from Label Studio (Apache-2.0); the masks are this project's own polygons.
"""

from __future__ import annotations

import argparse
import itertools
import zipfile
from pathlib import Path

import cv2
import numpy as np

from benchmarks.clips import AnnotatedClip, find_clips
from tam_backend.adaptation.general import MEASURED, PACKED, PRACTISED

_SHORTER_SIDE, _JPEG_QUALITY = 288, 85
# From one mask to the next: as many frames as tell how the thing moved.
_BETWEEN = 3
# The same bytes every time.
_DATE = (2026, 1, 1, 0, 0, 0)


def pack(clips: list[AnnotatedClip], target: Path) -> None:
    """Write frames and masks, small, one folder a clip."""
    with zipfile.ZipFile(target, "w") as packed:
        for clip in clips:
            height, width = clip.size_hw
            scale = _SHORTER_SIDE / min(height, width)
            size_wh = round(width * scale), round(height * scale)
            for number, at in enumerate(_chosen(sorted(clip.masks))):
                frame = cv2.resize(clip.frame(at), size_wh, interpolation=cv2.INTER_AREA)[..., ::-1]
                jpeg = cv2.imencode(".jpg", frame, [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY])[1]
                packed.writestr(zipfile.ZipInfo(f"{clip.name}/{number:05d}.jpg", _DATE), jpeg.tobytes())
                if at in clip.masks:
                    ids = cv2.resize(clip.ids(at), size_wh, interpolation=cv2.INTER_NEAREST)
                    png = cv2.imencode(".png", ids, [cv2.IMWRITE_PNG_COMPRESSION, 9])[1]
                    packed.writestr(zipfile.ZipInfo(f"{clip.name}/{number:05d}.png", _DATE), png.tobytes())


def _chosen(masks: list[int]) -> list[int]:
    """Return the frames with masks, and some from each one to the next."""
    pairs = itertools.pairwise(masks)
    between = (np.linspace(start, stop, _BETWEEN + 2).round().astype(int).tolist() for start, stop in pairs)
    return sorted({at for each in between for at in each})


def main() -> None:
    """Write the packaged file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("clips", type=Path)
    parser.add_argument("--out", type=Path, default=PACKED)
    options = parser.parse_args()
    wanted = (*PRACTISED, *MEASURED)
    pack(
        sorted((clip for clip in find_clips([options.clips]) if clip.name in wanted), key=lambda clip: clip.name),
        options.out,
    )
    print(f"{options.out}: {options.out.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
