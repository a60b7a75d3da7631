"""COCO instances: plain, where every image is by itself, or with videos, as our exports and others' have them.

annotations/*.json with the images in images/, in a folder that is named like the part (train2017/), or beside it.
Images with `video_id` are frames of a video, in the order of `frame_id`; `object_id` or `track_id` of annotations tells
which are of one object. Segmentations are polygons or run lengths; what has only a `bbox` is a box. The file is held
whole, once; its masks stay as they are.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import count
from pathlib import Path
from typing import Any

from tam_backend.dataset_in.checked_runs import from_segmentation, numbers
from tam_backend.dataset_in.inside import ask_for, check_size, folder_of, inside, read_json, refuse_missing
from tam_backend.dataset_in.json_files import dataset_of
from tam_backend.dataset_in.read_videos import (
    EMPTY,
    IGNORED,
    MOST_OBJECT_ID,
    NO_BOXES,
    ReadBox,
    ReadDataset,
    ReadFrame,
    ReadMask,
    ReadVideo,
    box_of,
)
from tam_backend.errors import InvalidInputError
from tam_backend.types import Box, EncodedMask

_LAYOUT = "annotations/instances_train.json and images/"
_OBJECT_KEYS = ("object_id", "track_id", "instance_id")
_FRAME_KEYS = ("frame_id", "frame_index")
_PART = re.compile(r"[^_]*_?(.*)")  # instances_train2017 -> train2017


@dataclass(frozen=True)
class _Image:
    """An image of the file, its picture, and the annotations on it as the file has them.

    `video` is None for one that is by itself; `frame` orders those of a video.
    """

    path: Path
    size_hw: tuple[int, int]
    video: int | None
    frame: int
    annotations: list[Mapping[str, Any]] = field(default_factory=list)


def read_coco(path: Path) -> ReadDataset:
    """Open a dataset: a folder, or one of the JSON files in it.

    Raises:
        InvalidInputError: there is none, or the file is not as COCO says.
        MediaError: it is not there, or too large.
    """
    if path.suffix.lower() == ".json":
        file = path.expanduser().resolve()
        root = folder_of(file.parent.parent if file.parent.name == "annotations" else file.parent)
        files = [file]
    else:
        root = folder_of(path)
        # COCO's own folder also has captions and keypoints of the same images.
        places = ("annotations/instances*.json", "annotations/*.json", "*.json")
        files = next((found for each in places if (found := sorted(root.glob(each)))), [])
    ask_for(files, root, _LAYOUT)
    left_out: Counter[str] = Counter()
    return dataset_of(files, lambda file: _File(root, inside(root, file), left_out), left_out)


class _File:
    """One JSON file.

    Attributes:
        categories: id -> name.
    """

    def __init__(self, root: Path, path: Path, left_out: Counter[str]) -> None:
        self._root = root
        self._path = path
        self._left_out = left_out
        read = read_json(path)
        if not isinstance(read, dict) or not all(_is_list(read.get(key)) for key in ("images", "categories")):
            raise self._error("has no lists of images and categories")
        self._read: dict[str, Any] = read
        self.categories = {self._integer(each, "id"): self._text(each, "name") for each in read["categories"]}

    def videos(self) -> Iterator[ReadVideo]:
        """Yield its videos; an image without one is a video of one frame."""
        names = {self._integer(each, "id"): each.get("name") for each in self._list("videos")}
        images = self._images()
        self._sort_annotations(images)
        groups: dict[tuple[str, int], list[_Image]] = {}
        for number, image in images.items():
            key = ("image", number) if image.video is None else ("video", image.video)
            groups.setdefault(key, []).append(image)
        for (kind, number), frames in groups.items():
            frames.sort(key=lambda image: image.frame)
            name = str(names.get(number) or f"video-{number}") if kind == "video" else frames[0].path.stem
            yield ReadVideo(name, tuple(image.path for image in frames), partial(self._frames, frames))

    def _images(self) -> dict[int, _Image]:
        folders = self._folders()
        found: dict[int, _Image] = {}
        for place, each in enumerate(self._read["images"]):
            name = self._text(each, "file_name")
            paths = [inside(self._root, folder / name) for folder in folders]
            path = next((path for path in paths if path.is_file()), paths[0])
            frame = next((self._integer(each, key) for key in _FRAME_KEYS if each.get(key) is not None), place)
            number, size_hw = self._integer(each, "id"), (self._integer(each, "height"), self._integer(each, "width"))
            if number in found:
                raise self._error(f"has two images with the id {number}")
            if min(size_hw) < 1:
                raise self._error(f"has an image of {size_hw[1]} x {size_hw[0]} pixels")
            video = None if each.get("video_id") is None else self._integer(each, "video_id")
            found[number] = _Image(path, size_hw, video, frame)
        return found

    def _folders(self) -> list[Path]:
        """Return where images may be, relative to the dataset."""
        match = _PART.fullmatch(self._path.stem)
        part = match[1] if match else ""
        return [Path("images"), *([Path("images") / part, Path(part)] if part else []), Path()]

    def _sort_annotations(self, images: Mapping[int, _Image]) -> None:
        for each in self._list("annotations"):
            number = self._integer(each, "image_id")
            if number not in images:
                raise self._error(f"has an annotation of image {number}, which it has not")
            images[number].annotations.append(each)

    def _frames(self, images: Sequence[_Image]) -> Iterator[ReadFrame]:
        refuse_missing(
            f"{self._path.name} has images that are not in the dataset",
            [image.path.name for image in images if not image.path.is_file()],
        )
        unnamed = self._unnamed_numbers(images)
        for index, image in enumerate(images):
            by_object: dict[int, ReadMask] = {}
            boxes: dict[int, ReadBox] = {}
            if image.annotations:
                check_size(f"Image {image.path.name} as {self._path.name} has it", image.size_hw, image.path)
            for each in image.annotations:
                name = f"annotation {each.get('id')} of {self._path.name}"
                if each.get("iscrowd"):
                    self._left_out[IGNORED] += 1
                    continue
                box = None if each.get("segmentation") else self._box(each, image, name)
                mask = self._mask(each, image, name) if each.get("segmentation") else None
                if mask is None and box is None:
                    continue
                object_id = self._object_id(each, unnamed)
                category = self._integer(each, "category_id")
                if category not in self.categories:
                    raise self._error(f"has no category {category}, which {name} is of")
                label = self.categories[category]
                if box is not None:
                    boxes[object_id] = ReadBox(object_id, box, image.size_hw, label, _quality(each))
                if mask is None:
                    continue
                if object_id in by_object:
                    mask = EncodedMask.union([by_object[object_id].mask, mask])
                by_object[object_id] = ReadMask(object_id, mask, label, _quality(each))
            yield ReadFrame(
                index,
                tuple(by_object[each] for each in sorted(by_object)),
                tuple(boxes[each] for each in sorted(boxes) if each not in by_object),
            )

    def _box(self, annotation: Mapping[str, Any], image: _Image, name: str) -> Box | None:
        """Return the box of an annotation without a mask; None where it has none, or none on its frame."""
        box = box_of(numbers(annotation.get("bbox") or [], name).tolist(), image.size_hw)
        self._left_out[NO_BOXES] += box is None
        return box

    def _mask(self, annotation: Mapping[str, Any], image: _Image, name: str) -> EncodedMask | None:
        """Return an annotation's mask; None where it has no pixel."""
        mask = from_segmentation(annotation["segmentation"], image.size_hw, name)
        if not mask.area:
            self._left_out[EMPTY] += 1
            return None
        return mask

    def _object_id(self, annotation: Mapping[str, Any], unnamed: Iterator[int]) -> int:
        key = next((key for key in _OBJECT_KEYS if annotation.get(key) is not None), None)
        number = next(unnamed) if key is None else self._integer(annotation, key)
        if not 0 <= number < MOST_OBJECT_ID:
            raise self._error(f"has an annotation with the {key} {number}")
        return number

    def _unnamed_numbers(self, images: Sequence[_Image]) -> Iterator[int]:
        """Count from behind the ids that are given, for annotations that say of no object which one it is."""
        given = [
            each[key]
            for image in images
            for each in image.annotations
            for key in _OBJECT_KEYS
            if isinstance(each.get(key), int)
        ]
        return count(max(given, default=0) + 1)

    def _list(self, key: str) -> list[Any]:
        found = self._read.get(key, [])
        if not _is_list(found):
            raise self._error(f"has {key} that are no list")
        return list(found)

    def _integer(self, each: Mapping[str, Any], key: str) -> int:
        value = each.get(key)
        if type(value) is not int or not -(1 << 62) < value < 1 << 62:
            raise self._error(f'has something without a whole number "{key}"')
        return value

    def _text(self, each: Mapping[str, Any], key: str) -> str:
        value = each.get(key)
        if not isinstance(value, str) or not value:
            raise self._error(f'has something without a text "{key}"')
        return value

    def _error(self, what: str) -> InvalidInputError:
        return InvalidInputError(f"{self._path} {what}.", "See https://cocodataset.org/#format-data.")


def _is_list(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(each, dict) for each in value)


def _quality(annotation: Mapping[str, Any]) -> float | None:
    found = annotation.get("quality", annotation.get("score"))
    is_number = isinstance(found, (int, float)) and not isinstance(found, bool) and 0 <= found <= 1
    return float(found) if is_number else None
