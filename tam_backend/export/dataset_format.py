"""What a dataset format does: write one video's files into a folder of its own, and make one dataset of many videos."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from tam_backend.export.dataset import ClassTable, DatasetVideo, frame_name
from tam_backend.export.dataset_folder import StagedVideo, place

FrameFiles = Literal["none", "jpg", "png"]
"""Whether the frames themselves leave too."""

FRAMES = "frames"
"""In a staged video's folder: its frames' pictures."""


@dataclass(eq=False)
class Work:
    """What the formats need to know of the export, and what they tell of it.

    Args:
        classes: of the dataset; grows.
        frames: as what kind of file the frames leave.
        polygons: outlines instead of run lengths, where a format has both (COCO).
        lost: what the format has no place for -> how often; told in the summary.
    """

    classes: ClassTable
    frames: FrameFiles = "none"
    polygons: bool = False
    lost: Counter[str] = field(default_factory=Counter)

    @property
    def suffix(self) -> str:
        """Of the frames' files: also of those that are named, but do not leave."""
        return "jpg" if self.frames == "none" else self.frames


@dataclass(frozen=True)
class Whole:
    """The dataset that videos become.

    Args:
        folder: an empty one, for all files.
        split_of: video -> "train", "val" or "test"; empty: the dataset is not split.
        work: see there.
        source: where it comes from, in words.
    """

    folder: Path
    split_of: Mapping[str, str]
    work: Work
    source: str = ""

    def split(self, video: str) -> str:
        """Return the part that a video is in; everything is "train" in a dataset that is not split."""
        return self.split_of.get(video, "train")

    def splits(self, videos: Sequence[StagedVideo]) -> dict[str, list[StagedVideo]]:
        """Return the videos by the part that they are in."""
        parts: dict[str, list[StagedVideo]] = {}
        for each in videos:
            parts.setdefault(self.split(each.name), []).append(each)
        return parts


class DatasetFormat(ABC):
    """One format. Its two steps share nothing but files, so that an export can go on where another one stopped.

    Attributes:
        name: at the command line.
        title: for people.
        has_sidecar: attributes and quality leave in a file beside it, as the format has no place for them.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    has_sidecar: ClassVar[bool] = True

    @abstractmethod
    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Write what is to be said of a video, frame by frame.

        Raises:
            InvalidInputError: the format cannot hold it.
        """

    @abstractmethod
    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Make the dataset of the staged videos; they stay as they are."""


def lines_of(path: Path) -> Iterator[str]:
    """Yield the lines of a staged file."""
    with path.open(encoding="utf-8") as file:
        for line in file:
            yield line.rstrip("\n")


def write_joined(write: Callable[[str], object], items: Iterable[str]) -> None:
    """Write the items of a JSON list, one a line."""
    between = "\n"
    for item in items:
        write(between + item)
        between = ",\n"


def place_pictures(video: StagedVideo, folder: Path, suffix: str, name: Callable[[int], str] = frame_name) -> None:
    """Give a video's pictures, if it has some, their places in a folder.

    Args:
        video: staged.
        folder: the pictures'.
        suffix: theirs.
        name: frame -> the file's name without suffix.
    """
    for path in sorted((video.folder / FRAMES).glob(f"*.{suffix}")):
        place(path, folder / f"{name(int(path.stem))}.{suffix}")


def place_all(source: Path, target: Path) -> None:
    """Give the files of a staged folder their places in another one."""
    for path in sorted(source.rglob("*")):
        if path.is_file():
            place(path, target / path.relative_to(source))
