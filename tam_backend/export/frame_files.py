"""The frames of a dataset as files: linked where they are files already, else written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from tam_backend.errors import MediaError
from tam_backend.export.dataset import DatasetVideo, frame_name

_FORMATS = {"jpg": "JPEG", "png": "PNG"}
_PLAIN_MODES = frozenset({"RGB", "L"})
_JPEG_QUALITY = 95


def write_frames(video: DatasetVideo, folder: Path, kind: Literal["jpg", "png"]) -> dict[int, MediaError]:
    """Write a video's frames as FOLDER/00000.jpg.

    A frame that is such a file already is linked: both names then are one file on the disk. Across disks it is copied.

    Args:
        video: whose.
        folder: an empty one.
        kind: the suffix.

    Returns:
        The frames that cannot be had, and why.
    """
    gone: dict[int, MediaError] = {}
    for frame in video.frames():
        size_hw = frame.size_hw or video.size_hw
        target = folder / f"{frame_name(frame.index)}.{kind}"
        try:
            file = video.pictures.file(frame.index)
            if file is not None and _is_plain(file, kind, size_hw):
                _link(file, target)
            else:
                _write(fitted(video.pictures.picture(frame.index), size_hw), target)
        except MediaError as error:
            gone[frame.index] = error
    return gone


def fitted(picture: NDArray[np.uint8], size_hw: tuple[int, int]) -> NDArray[np.uint8]:
    """Return a picture in the size of its masks: some sources scale the frames of a list to the size of the first."""
    if picture.shape[:2] == size_hw:
        return picture
    import cv2  # noqa: PLC0415 - not needed for `--help`

    scaled: Any = cv2.resize(picture, size_hw[::-1], interpolation=cv2.INTER_NEAREST_EXACT)
    return np.asarray(scaled, np.uint8)


def _is_plain(file: Path, kind: str, size_hw: tuple[int, int]) -> bool:
    """Whether every reader sees in this file what we see: the format, the size, nothing turned, nothing deep."""
    from PIL import ExifTags, Image  # noqa: PLC0415 - the same

    try:
        with Image.open(file) as image:
            upright = Image.Image.getexif(image).get(ExifTags.Base.Orientation, 1) == 1
            plain = image.mode in _PLAIN_MODES and getattr(image, "n_frames", 1) == 1
            return image.format == _FORMATS[kind] and upright and plain and image.size == size_hw[::-1]
    except (OSError, SyntaxError, ValueError):
        return False  # reading it will say what is wrong with it


def _link(file: Path, target: Path) -> None:
    try:
        target.hardlink_to(file.resolve())
    except OSError:  # another disk, or one that has no links
        shutil.copyfile(file, target)


def _write(picture: NDArray[np.uint8], target: Path) -> None:
    import cv2  # noqa: PLC0415 - not needed for `--help`

    quality = [cv2.IMWRITE_JPEG_QUALITY, _JPEG_QUALITY] if target.suffix == ".jpg" else []
    _, encoded = cv2.imencode(target.suffix, np.ascontiguousarray(picture[..., ::-1]), quality)
    target.write_bytes(encoded.tobytes())
