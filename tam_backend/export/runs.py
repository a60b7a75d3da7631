"""A mask as COCO's compressed run lengths: a few hundred bytes, so that a whole video's masks can be held at once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from tam_backend.types import BoolMask, Box


@dataclass(frozen=True)
class Runs:
    """A mask that is kept small; `decoded` gives its pixels back, every one as it was.

    Args:
        size_hw: (height, width) of the frame in pixels.
        counts: what pycocotools calls counts: run lengths down the columns, compressed.
    """

    size_hw: tuple[int, int]
    counts: bytes

    @classmethod
    def of(cls, mask: BoolMask) -> Runs:
        """Take a mask, (H, W) bool."""
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        if not len(rows):
            return cls.of_crop(mask[:0, :0], (0, 0), mask.shape)
        top, left = int(rows[0]), int(columns[0])
        crop = mask[top : rows[-1] + 1, left : columns[-1] + 1]
        return cls.of_crop(crop, (top, left), mask.shape)

    @classmethod
    def of_crop(cls, crop: BoolMask, corner_yx: tuple[int, int], size_hw: Sequence[int]) -> Runs:
        """Take a part of a frame outside of which there is no mask: most masks fill a tenth of their frame.

        Args:
            crop: (h, w) bool.
            corner_yx: where its upper left pixel lies in the frame.
            size_hw: of the frame.
        """
        height, width = int(size_hw[0]), int(size_hw[1])
        columns: BoolMask = np.zeros((crop.shape[1], crop.shape[0] + 2), np.bool_)
        columns[:, 1:-1] = crop.T
        # Down the columns: first pixel of a run, first pixel after it, and again.
        column, row = np.divmod(np.flatnonzero(columns[:, 1:] != columns[:, :-1]), crop.shape[0] + 1)
        places = (column + corner_yx[1]) * height + row + corner_yx[0]
        # A run that ends at the frame's lower edge goes on at the upper edge of the next column.
        goes_on = np.flatnonzero(places[1:-1:2] == places[2::2])
        places = np.delete(places, np.concatenate((2 * goes_on + 1, 2 * goes_on + 2)))
        counts = np.diff(np.concatenate(([0], places, [height * width])))
        if len(places) and not counts[-1]:
            counts = counts[:-1]  # pycocotools writes none after a run that ends with the frame
        return cls((height, width), _compressed(counts.tolist(), (height, width)))

    @classmethod
    def of_polygon(cls, corners_xy: Sequence[tuple[float, float]], size_hw: tuple[int, int]) -> Runs:
        """Fill a polygon as pycocotools does; corners in pixels, three at least."""
        from pycocotools import mask as coco  # noqa: PLC0415 - not needed for `--help`

        flat = [value for corner in corners_xy for value in corner]
        [run_lengths] = coco.frPyObjects([flat], *size_hw)
        return cls(size_hw, bytes(run_lengths["counts"]))

    @classmethod
    def union(cls, several: Sequence[Runs]) -> Runs:
        """Join masks of one size."""
        from pycocotools import mask as coco  # noqa: PLC0415 - the same

        if len(several) == 1:
            return several[0]
        joined = coco.merge([each.as_coco() for each in several], intersect=False)
        return cls(several[0].size_hw, bytes(joined["counts"]))

    def as_coco(self) -> dict[str, Any]:
        """Return what pycocotools takes."""
        return {"size": list(self.size_hw), "counts": self.counts}

    def decoded(self) -> BoolMask:
        """Return the mask, (H, W) bool."""
        from pycocotools import mask as coco  # noqa: PLC0415 - the same

        return np.asarray(coco.decode(self.as_coco()), np.uint8).view(np.bool_)

    def crop(self) -> tuple[BoolMask, tuple[int, int]]:
        """Return the part of the mask with something in it, (h, w) bool, and its upper left pixel (y, x)."""
        box = self.box_xyxy
        if box is None:
            return np.zeros((0, 0), np.bool_), (0, 0)
        left, top, right, bottom = (int(side) for side in box)
        return self.decoded()[top:bottom, left:right], (top, left)

    @property
    def area(self) -> int:
        """How many pixels it covers."""
        from pycocotools import mask as coco  # noqa: PLC0415 - the same

        return int(coco.area(self.as_coco()))

    @property
    def box_xyxy(self) -> Box | None:
        """The box around it, (x0, y0, x1, y1) in pixels, x1 and y1 exclusive; None if it is empty."""
        from pycocotools import mask as coco  # noqa: PLC0415 - the same

        x, y, width, height = coco.toBbox(self.as_coco()).tolist()
        return (x, y, x + width, y + height) if width and height else None


def _compressed(counts: list[int], size_hw: tuple[int, int]) -> bytes:
    from pycocotools import mask as coco  # noqa: PLC0415 - the same

    return bytes(coco.frPyObjects({"size": list(size_hw), "counts": counts}, *size_hw)["counts"])
