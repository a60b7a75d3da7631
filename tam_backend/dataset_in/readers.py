"""Which reader reads a format."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from tam_backend.dataset_in.coco_in import read_coco
from tam_backend.dataset_in.davis_in import read_davis
from tam_backend.dataset_in.masks_in import read_masks
from tam_backend.dataset_in.mots_in import read_mots
from tam_backend.dataset_in.read_videos import ReadDataset
from tam_backend.dataset_in.yolo_in import read_yolo
from tam_backend.dataset_in.ytvis_in import read_ytvis
from tam_backend.errors import InvalidInputError

READERS: dict[str, Callable[[Path], ReadDataset]] = {
    "davis": read_davis,
    "coco": read_coco,
    "ytvis": read_ytvis,
    "yolo": read_yolo,
    "mots": read_mots,
    "masks": read_masks,
}


def read_dataset(path: Path, form: str) -> ReadDataset:
    """Open a dataset on disk.

    Args:
        path: its folder; of COCO and YouTube-VIS also one of its JSON files.
        form: one of `READERS`.

    Raises:
        InvalidInputError: no such format, or the folder holds no dataset of it.
        MediaError: the folder is not there.
    """
    reader = READERS.get(form)
    if reader is None:
        raise InvalidInputError(f"Datasets of the format {form} cannot be read.", f"Known are {', '.join(READERS)}.")
    return reader(path)
