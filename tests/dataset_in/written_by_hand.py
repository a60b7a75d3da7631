"""Files of datasets as their publishers lay them out, written by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

from tam_backend.dataset_in.read_videos import ReadDataset

SIZE_HW = (24, 32)


def square(left: int, top: int = 4, side: int = 6) -> NDArray[np.bool_]:
    """A mask of the frame's size with a square in it."""
    mask = np.zeros(SIZE_HW, bool)
    mask[top : top + side, left : left + side] = True
    return mask


def picture(path: Path, size_hw: tuple[int, int] = SIZE_HW) -> Path:
    """Write a grey frame."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.full((*size_hw, 3), 90, np.uint8))
    return path


def indexed(path: Path, ids: NDArray[Any]) -> Path:
    """Write a PNG with a palette, pixel = id."""
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(ids.astype(np.uint8))
    image.putpalette([value for number in range(256) for value in (number, 255 - number, 40)])
    image.save(path)
    return path


def grey(path: Path, pixels: NDArray[Any]) -> Path:
    """Write a grey PNG."""
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), pixels)
    return path


def text(path: Path, content: str) -> Path:
    """Write a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content)
    return path


def as_json(path: Path, content: Any) -> Path:
    """Write JSON."""
    return text(path, json.dumps(content))


def found(dataset: ReadDataset) -> dict[tuple[str, int, int], tuple[str, NDArray[np.bool_]]]:
    """(video, frame, object id) -> (class, mask) of all that a dataset shows."""
    return {
        (video.name, frame.index, each.object_id): (each.label, each.mask.array)
        for video in dataset.videos()
        for frame in video.frames()
        for each in frame.masks
    }


def boxes_in(dataset: ReadDataset) -> dict[tuple[str, int, int], tuple[str, tuple[float, ...]]]:
    """(video, frame, object id) -> (class, x0, y0, x1, y1 to the hundredth of a pixel) of what is only a box."""
    return {
        (video.name, frame.index, each.object_id): (each.label, tuple(round(side, 2) for side in each.box_xyxy))
        for video in dataset.videos()
        for frame in video.frames()
        for each in frame.boxes
    }


def assert_shows(dataset: ReadDataset, expected: dict[tuple[str, int, int], tuple[str, NDArray[np.bool_]]]) -> None:
    """Compare pixel by pixel."""
    shown = found(dataset)
    assert shown.keys() == expected.keys()
    for place, (label, mask) in expected.items():
        assert shown[place][0] == label, place
        assert np.array_equal(shown[place][1], mask), place
