"""Datasets read back as their own ecosystems read them; none of it is our code."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from tam_backend.types import BoolMask

Masks = dict[tuple[str, int, int], BoolMask]
"""(video, frame, object id) -> mask."""


def davis(root: Path, split: str = "train", size: str = "Full-Resolution") -> tuple[Masks, dict[str, int]]:
    """Read as the DAVIS 2017 evaluation does: the sequences of a set, their PNGs by name, 255 is void.

    Returns:
        The masks, and sequence -> how many frames it has.
    """
    masks: Masks = {}
    lengths = {}
    for sequence in (root / "ImageSets" / "2017" / f"{split}.txt").read_text().split():
        files = sorted((root / "Annotations" / size / sequence).glob("*.png"))
        lengths[sequence] = len(files)
        for file in files:
            with Image.open(file) as image:
                assert image.mode == "P"
                pixels = np.array(image)
            pixels[pixels == 255] = 0
            for object_id in np.unique(pixels[pixels > 0]).tolist():
                masks[sequence, int(file.stem), object_id] = pixels == object_id
    return masks, lengths


def coco(path: Path) -> tuple[Masks, COCO]:
    """Read with pycocotools; crowds and boxes are left out."""
    read = COCO(str(path))
    videos = {each["id"]: each["name"] for each in read.dataset["videos"]}
    masks = {}
    for each in read.loadAnns(read.getAnnIds(iscrowd=False)):
        if each["segmentation"]:
            image = read.imgs[each["image_id"]]
            key = videos[image["video_id"]], image["frame_id"], each["object_id"]
            masks[key] = read.annToMask(each).astype(bool)
    return masks, read


def youtube_vis(path: Path) -> list[dict[str, Any]]:
    """Read as the YouTube-VIS API does; each track gets "masks", a mask or None for each frame, and "file_names"."""
    read = json.loads(path.read_text())
    videos = {each["id"]: each for each in read["videos"]}
    for track in read["annotations"]:
        video = videos[track["video_id"]]
        assert len(track["segmentations"]) == len(track["bboxes"]) == len(track["areas"]) == video["length"]
        track["file_names"] = video["file_names"]
        track["masks"] = [
            None if runs is None else coco_mask.decode(runs).astype(bool) for runs in track["segmentations"]
        ]
    return list(read["annotations"])


@dataclass(frozen=True)
class MotsLine:
    """A line of gt.txt."""

    frame: int
    track: int
    class_id: int
    mask: BoolMask


def mots(sequence: Path) -> list[MotsLine]:
    """Read gt.txt by MOTSChallenge's published rules, and the PNGs beside it, which must say the same.

    The rules: "time_frame id class_id img_height img_width rle" a line; id // 1000 is the class; an id occurs once on a
    frame; no pixel belongs to two objects; id 10000 of class 10 is an ignore region.
    """
    lines = []
    taken: dict[int, Any] = {}
    for text in (sequence / "gt" / "gt.txt").read_text().splitlines():
        frame, track, class_id, height, width, runs = text.split(" ")
        mask = coco_mask.decode({"size": [int(height), int(width)], "counts": runs.encode()}).astype(bool)
        assert int(track) // 1000 == int(class_id)
        ids = taken.setdefault(int(frame), np.zeros(mask.shape, np.int64))
        assert int(track) not in np.unique(ids)
        assert not (ids[mask] > 0).any(), "objects overlap"
        ids[mask] = int(track)
        lines.append(MotsLine(int(frame), int(track), int(class_id), mask))
    for file in sorted((sequence / "instances").glob("*.png")):
        with Image.open(file) as image:
            pixels = np.array(image).astype(np.int64)
        assert np.array_equal(pixels, taken.get(int(file.stem), np.zeros_like(pixels)))
    return lines


def object_masks(root: Path) -> Masks:
    """Read one PNG per object and frame."""
    masks: Masks = {}
    for file in sorted(root.glob("*/*/*.png")):
        with Image.open(file) as image:
            pixels = np.array(image)
        assert set(np.unique(pixels).tolist()) <= {0, 255}
        masks[file.parent.parent.name, int(file.stem), int(file.parent.name.split("-")[0])] = pixels > 0
    return masks
