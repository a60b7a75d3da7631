"""DAVIS: one indexed PNG per frame, pixel = object id; what video object segmentation is trained and judged on.

JPEGImages/Full-Resolution/VIDEO/00000.jpg, Annotations/Full-Resolution/VIDEO/00000.png, ImageSets/2017/train.txt: the
folders of the DAVIS 2017 release at the original size. Pixels of 255 are not judged ("void").
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from tam_backend.errors import InvalidInputError
from tam_backend.export.dataset import DatasetVideo, frame_name
from tam_backend.export.dataset_folder import StagedVideo
from tam_backend.export.dataset_format import DatasetFormat, Whole, Work, place_all, place_pictures
from tam_backend.export.flat_masks import IGNORED_ID, flattened
from tam_backend.export.palette import davis_palette
from tam_backend.png import mask_png

SIZE = "Full-Resolution"
"""What DAVIS calls frames at their original size."""


class Davis(DatasetFormat):
    """See the module."""

    name = "davis"
    title = "DAVIS"

    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Write a PNG for every frame, an empty one where no object is."""
        most = max((each.object_id for each in video.objects), default=0)
        if most >= IGNORED_ID:
            raise InvalidInputError(
                f"{video.name} has {most} objects; a DAVIS mask holds {IGNORED_ID - 1}.",
                "Export it as COCO or masks.",
            )
        (folder / "masks").mkdir()
        palette = davis_palette().tobytes()
        for frame in video.frames():
            flat = flattened(frame, video.size_hw, work.lost)
            picture = mask_png(flat.rows, flat.top, flat.size_hw[0], palette)
            (folder / "masks" / f"{frame_name(frame.index)}.png").write_bytes(picture)

    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Put the folders together."""
        for each in videos:
            place_all(each.folder / "masks", whole.folder / "Annotations" / SIZE / each.name)
            place_pictures(each, whole.folder / "JPEGImages" / SIZE / each.name, whole.work.suffix)
        sets = whole.folder / "ImageSets" / "2017"
        sets.mkdir(parents=True)
        for split, part in whole.splits(videos).items():
            (sets / f"{split}.txt").write_text("".join(f"{each.name}\n" for each in part), encoding="utf-8")
