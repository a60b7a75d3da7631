"""Datasets of JSON files that are each held whole: one alone is read once; of several, one at a time is held."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol

from tam_backend.dataset_in.read_videos import ReadDataset, ReadVideo


class JsonFile(Protocol):
    """One file, read."""

    @property
    def categories(self) -> Mapping[int, str]:
        """Id -> name."""

    def videos(self) -> Iterator[ReadVideo]:
        """Yield its videos."""


def dataset_of(files: Sequence[Path], read: Callable[[Path], JsonFile], left_out: Counter[str]) -> ReadDataset:
    """Make a dataset of files, one at least.

    Of several the classes alone are kept, and each is read again when its videos are asked for: all of them at once may
    be too much.
    """
    first = read(files[0])
    classes = set(first.categories.values())
    only = first if len(files) == 1 else None
    del first
    for each in files[1:]:
        classes.update(read(each).categories.values())

    def videos() -> Iterator[ReadVideo]:
        for each in files:
            yield from (only or read(each)).videos()

    return ReadDataset(tuple(sorted(classes)), videos, left_out)
