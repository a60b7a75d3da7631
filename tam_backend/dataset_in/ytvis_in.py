"""YouTube-VIS: one annotation per object and video, with a mask or nothing for every frame.

train/instances.json beside train/JPEGImages/VIDEO/00000.jpg; also valid/, or without a part. Objects have the ids of
their annotations. A frame that has a box and no mask is a box.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from tam_backend.dataset_in.checked_runs import from_segmentation, numbers
from tam_backend.dataset_in.inside import ask_for, check_size, folder_of, folders_in, inside, read_json, refuse_missing
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

_FILE = "instances.json"
_PICTURES = "JPEGImages"


def read_ytvis(path: Path) -> ReadDataset:
    """Open a dataset: a folder, or one of the JSON files in it.

    Raises:
        InvalidInputError: there is none, or a file is not as YouTube-VIS says.
        MediaError: it is not there, or too large.
    """
    is_file = path.suffix.lower() == ".json"
    root = folder_of(path.expanduser().resolve().parent if is_file else path)
    places = [root / path.name] if is_file else [each / _FILE for each in (root, *folders_in(root))]
    files = [inside(root, each) for each in places if each.is_file()]
    ask_for(files, root, "train/instances.json and train/JPEGImages/VIDEO/00000.jpg")
    left_out: Counter[str] = Counter()
    return dataset_of(files, lambda file: _File(root, file, left_out), left_out)


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
        if not isinstance(read, dict):
            raise self._error("holds no object")
        self._videos = self._list(read, "videos")
        self._annotations = self._list(read, "annotations")
        self.categories = {
            self._integer(each, "id"): str(each.get("name") or "") for each in self._list(read, "categories")
        }

    def videos(self) -> Iterator[ReadVideo]:
        """Yield its videos."""
        tracks: dict[int, list[Mapping[str, Any]]] = {self._integer(each, "id"): [] for each in self._videos}
        for each in self._annotations:
            number = self._integer(each, "video_id")
            if number not in tracks:
                raise self._error(f"has an annotation of video {number}, which it has not")
            tracks[number].append(each)
        for video in self._videos:
            names = video.get("file_names")
            if not isinstance(names, list) or not all(isinstance(each, str) and each for each in names):
                raise self._error("has a video without file_names")
            number = self._integer(video, "id")
            files = tuple(self._picture(each) for each in names)
            name = files[0].parent.name if files else f"video-{number}"
            yield ReadVideo(name, files, partial(self._frames, video, files, tracks[number]))

    def _picture(self, name: str) -> Path:
        folder = self._path.parent
        paths = [inside(self._root, folder / _PICTURES / name), inside(self._root, folder / name)]
        return next((path for path in paths if path.is_file()), paths[0])

    def _frames(
        self, video: Mapping[str, Any], files: tuple[Path, ...], tracks: list[Mapping[str, Any]]
    ) -> Iterator[ReadFrame]:
        refuse_missing(
            f"{self._path.name} has images that are not in the dataset",
            [file.name for file in files if not file.is_file()],
        )
        size_hw = (self._integer(video, "height"), self._integer(video, "width"))
        objects = [self._track(each, len(files)) for each in tracks]
        if len({number for number, *_ in objects}) < len(objects):
            raise self._error("has two annotations with one id")
        for index, file in enumerate(files):
            masks, boxes = [], []
            for number, label, drawn, places in objects:
                name = f"annotation {number} of {self._path.name}, frame {index},"
                if drawn[index]:
                    check_size(f"Video {file.parent.name} as {self._path.name} has it", size_hw, file)
                    mask = from_segmentation(drawn[index], size_hw, name)
                    if mask.area:
                        masks.append(ReadMask(number, mask, label))
                    else:
                        self._left_out[EMPTY] += 1
                elif places[index]:
                    check_size(f"Video {file.parent.name} as {self._path.name} has it", size_hw, file)
                    boxes += self._box(number, label, places[index], size_hw, name)
            yield ReadFrame(index, tuple(masks), tuple(boxes))

    def _track(self, each: Mapping[str, Any], frames: int) -> tuple[int, str, list[Any], list[Any]]:
        """Return an annotation's id, class, segmentations and boxes: one of each for every frame, or null."""
        number, category = self._integer(each, "id"), self._integer(each, "category_id")
        if not 0 <= number < MOST_OBJECT_ID:
            raise self._error(f"has an annotation with the id {number}")
        if category not in self.categories:
            raise self._error(f"has no category {category}, which annotation {number} is of")
        drawn = each.get("segmentations") or [None] * frames
        places = each.get("bboxes") or [None] * frames
        if any(not isinstance(listed, list) or len(listed) != frames for listed in (drawn, places)):
            raise self._error(f"has not one segmentation for each frame in annotation {number}")
        if each.get("iscrowd"):
            self._left_out[IGNORED] += sum(bool(one) for one in drawn)
            drawn = places = [None] * frames
        return number, self.categories[category], drawn, places

    def _box(self, number: int, label: str, place: Any, size_hw: tuple[int, int], name: str) -> list[ReadBox]:
        box = box_of(numbers(place, name).tolist(), size_hw)
        self._left_out[NO_BOXES] += box is None
        return [] if box is None else [ReadBox(number, box, size_hw, label)]

    def _list(self, read: Mapping[str, Any], key: str) -> list[Mapping[str, Any]]:
        found = read.get(key)
        if not isinstance(found, list) or not all(isinstance(each, dict) for each in found):
            raise self._error(f"has no list of {key}")
        return found

    def _integer(self, each: Mapping[str, Any], key: str) -> int:
        value = each.get(key)
        if type(value) is not int or not 0 <= value < 1 << 62:
            raise self._error(f'has something without a whole number "{key}"')
        return value

    def _error(self, what: str) -> InvalidInputError:
        return InvalidInputError(f"{self._path} {what}.", "See https://youtube-vos.org/dataset/vis/.")
