"""Clips with true masks on disk: one folder per clip, or data sets in DAVIS layout."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image

# Folders of frames and of masks, by their names in DAVIS and in other data sets.
LAYOUTS = (("JPEGImages", "Annotations"), ("frames", "masks"))


@dataclass(frozen=True)
class AnnotatedClip:
    """A folder of frames and the masks that humans drew on some of them.

    Args:
        name: for tables.
        frames: image files in time.
        masks: frame index -> mask file; pixel values are object ids.
    """

    name: str
    frames: tuple[Path, ...]
    masks: dict[int, Path]

    def __len__(self) -> int:
        return len(self.frames)

    @cached_property
    def size_hw(self) -> tuple[int, int]:
        """(height, width) of the frames."""
        with Image.open(self.frames[0]) as image:
            return image.height, image.width

    @cached_property
    def ids_at(self) -> dict[int, frozenset[int]]:
        """Frame index -> the objects drawn there."""
        return {at: frozenset(int(i) for i in np.unique(self.ids(at)) if i) for at in sorted(self.masks)}

    def frame(self, index: int) -> NDArray[np.uint8]:
        """Return (H, W, 3) uint8 RGB."""
        with Image.open(self.frames[index]) as image:
            return np.asarray(image.convert("RGB"))

    def ids(self, index: int) -> NDArray[np.uint8]:
        """Return the (H, W) object ids of an annotated frame, at the size of the frames."""
        with Image.open(self.masks[index]) as image:
            ids = np.asarray(image if image.mode in ("P", "L") else image.convert("L"))
        height, width = self.size_hw
        if ids.shape != (height, width):
            # Some published masks are a pixel narrower than their frames.
            ids = cv2.resize(ids, (width, height), interpolation=cv2.INTER_NEAREST)
        return ids

    @property
    def starts(self) -> dict[int, int]:
        """Object id -> the frame where it is first drawn."""
        first: dict[int, int] = {}
        for at, ids in self.ids_at.items():
            for object_id in ids:
                first.setdefault(object_id, at)
        return dict(sorted(first.items()))

    def judged(self, object_id: int) -> list[int]:
        """Return the frames that an answer is judged on: after the object's first, without the clip's last.

        An annotation of new objects alone does not speak for the older ones; any other one does, and an object that
        it does not show is absent.
        """
        start = self.starts[object_id]
        known: set[int] = set()
        frames = []
        for at, ids in self.ids_at.items():
            speaks_for_all = not ids or bool(ids & known)
            if at > start and at < len(self) - 1 and (object_id in ids or speaks_for_all):
                frames.append(at)
            known |= ids
        return frames


def find_clips(folders: Sequence[Path]) -> list[AnnotatedClip]:
    """Return all clips in some folders.

    A folder may be a clip (JPEGImages/*.jpg, Annotations/*.png, or frames and masks), a folder of such clips, or a
    data set in DAVIS layout (JPEGImages/CLIP/*.jpg or JPEGImages/480p/CLIP/*.jpg, and Annotations likewise).

    Raises:
        FileNotFoundError: a folder holds no clip.
    """
    clips = []
    for folder in folders:
        found = list(_clips_in(folder))
        if not found:
            layouts = " or ".join(f"{frames} with images and {masks} with masks" for frames, masks in LAYOUTS)
            raise FileNotFoundError(f"{folder} holds no clip: no {layouts}.")
        clips += found
    return clips


def _clips_in(folder: Path) -> Iterator[AnnotatedClip]:
    layout = _layout(folder)
    if layout is None:
        for child in sorted(p for p in folder.iterdir() if p.is_dir()) if folder.is_dir() else ():
            if _layout(child) is not None:
                yield from _clips_in(child)
        return
    all_frames, all_masks = layout
    for frames_dir in sorted({file.parent for file in all_frames.rglob("*.jpg")}):
        masks_dir = all_masks / frames_dir.relative_to(all_frames)
        name = folder.resolve().name if frames_dir == all_frames else frames_dir.name
        frames = tuple(sorted(frames_dir.glob("*.jpg"), key=_number))
        index_of = {_number(file): index for index, file in enumerate(frames)}
        masks = {index_of[_number(m)]: m for m in sorted(masks_dir.glob("*.png")) if _number(m) in index_of}
        if masks:
            yield AnnotatedClip(name, frames, masks)


def _layout(folder: Path) -> tuple[Path, Path] | None:
    """Return the folders of frames and of masks in a folder; None if it has none."""
    for frames, masks in LAYOUTS:
        if (folder / frames).is_dir():
            return folder / frames, folder / masks
    return None


def _number(file: Path) -> int:
    digits = re.findall(r"\d+", file.stem)
    return int(digits[-1]) if digits else 0
