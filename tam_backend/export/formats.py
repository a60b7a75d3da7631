"""The dataset formats by name."""

from __future__ import annotations

from tam_backend.errors import InvalidInputError
from tam_backend.export.coco import Coco
from tam_backend.export.dataset_format import DatasetFormat
from tam_backend.export.davis import Davis
from tam_backend.export.mots import Mots
from tam_backend.export.object_masks import ObjectMasks
from tam_backend.export.overlays import Overlays
from tam_backend.export.yolo import Yolo
from tam_backend.export.youtube_vis import YoutubeVis

FORMATS: dict[str, DatasetFormat] = {
    each.name: each for each in (Davis(), Coco(), YoutubeVis(), Yolo(), Mots(), ObjectMasks(), Overlays())
}
"""Name at the command line -> the format."""


def dataset_format(name: str) -> DatasetFormat:
    """Return a format.

    Raises:
        InvalidInputError: none has that name.
    """
    if name not in FORMATS:
        raise InvalidInputError(f"There is no dataset format {name!r}.", f"Known are {', '.join(FORMATS)}.")
    return FORMATS[name]
