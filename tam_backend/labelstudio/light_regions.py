"""Regions whose masks are kept as run lengths: those of a whole video are held at once, and decoded one by one.

A brush mask of a result takes a list of thousands of numbers, and `Region.mask` keeps its decoded pixels. Here each
result's mask is read once, as soon as the result is there, and only its run lengths stay.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, cast

import numpy as np

from tam_backend.errors import PayloadError, RegionError
from tam_backend.labelstudio.attributes import attributes_by_region
from tam_backend.labelstudio.checked import REMEDY
from tam_backend.labelstudio.config import ControlKind, LabelingConfig
from tam_backend.labelstudio.encoding import brush_spans, checked_size, decode_bitmask
from tam_backend.labelstudio.identity import Identity, read_identity
from tam_backend.labelstudio.regions import Region, read_regions
from tam_backend.labelstudio.strokes import rasterise_touches
from tam_backend.types import BoolMask, Box, EncodedMask

_HEAVY = ("rle", "touches", "maskDataURL", "imageDataURL")
# Stands in a result's value for what was heavy; no result from Label Studio has it, as its keys are texts.
_RUNS = object()


@dataclass(frozen=True, eq=False)
class LightRegion(Region):
    """A region as `group_objects` takes it, which holds no pixels.

    Args:
        runs: of a mask; None for other kinds.
    """

    runs: EncodedMask | None = None

    @property
    def mask(self) -> BoolMask | None:
        """The (height, width) mask, decoded each time, as it is seldom asked for; None for other kinds."""
        return None if self.runs is None else self.runs.array

    @cached_property
    def bounds(self) -> Box | None:
        """(x0, y0, x1, y1) around a mask or a box in fractions of the frame; None for an empty mask and other kinds."""
        if self.box is not None:
            return self.box.enclosing((1, 1))
        box = None if self.runs is None else self.runs.box_xyxy
        if self.runs is None or box is None:
            return None
        height, width = self.runs.size_hw
        return box[0] / width, box[1] / height, box[2] / width, box[3] / height


def light_regions(
    results: Iterable[Mapping[str, Any]], config: LabelingConfig, faults: list[RegionError]
) -> tuple[tuple[LightRegion, ...], Identity]:
    """Read a `result` list, and what its relations say of objects (identity.py).

    It may be a generator, of which one result at a time is held in full.

    Args:
        results: JSON.
        config: of the task's project.
        faults: takes what is wrong with regions that cannot be read; they are left out.

    Raises:
        PayloadError: no list of objects.
    """
    light = [_lightened(result) for result in results]
    attributes = attributes_by_region(light)
    regions: list[LightRegion] = []
    for region in read_regions(light, config, faults):
        kept = (region.encoded or {}).get(cast(str, _RUNS))
        if isinstance(kept, RegionError):
            faults.append(kept)
            continue
        if region.kind is ControlKind.POLYGON:
            try:
                kept = region.encoded_mask
            except RegionError as error:
                faults.append(error)
                continue
        own = {field.name: getattr(region, field.name) for field in fields(region)}
        own |= {"encoded": None, "attributes": attributes.get(region.region_id, ())}
        regions.append(LightRegion(**own, runs=kept))
    identity = read_identity(light, regions, faults)
    return tuple(cast(LightRegion, identity.told(region)) for region in regions), identity


def moved(region: LightRegion, by_frames: int) -> LightRegion:
    """Return the region on a later frame: of a task that goes on where another ends."""
    return replace(region, frame=region.frame + by_frames) if by_frames else region


def _lightened(result: Any) -> Any:
    """Return a result with run lengths, or with what is wrong with its mask, in place of what is heavy."""
    value = result.get("value") if isinstance(result, Mapping) else None
    if not isinstance(value, Mapping) or not any(key in value for key in _HEAVY):
        return result
    light: dict[Any, Any] = {key: each for key, each in value.items() if key not in _HEAVY}
    if str(result.get("type")).removesuffix("labels") in ("brush", "bitmask"):
        try:
            light[_RUNS] = _runs(result, value)
        except PayloadError as error:
            name = str(result.get("id"))
            light[_RUNS] = RegionError(name, f'Region "{name}": {error.message}', error.remedy)
        # What `read_regions` looks for.
        key, nothing = ("imageDataURL", "") if "imageDataURL" in value else ("rle", [])
        light[key] = nothing
    return {**result, "value": light}


def _runs(result: Mapping[str, Any], value: Mapping[str, Any]) -> EncodedMask:
    if str(result.get("type")).startswith("bitmask"):
        return EncodedMask.of(decode_bitmask(value.get("imageDataURL")))
    try:
        size_hw = checked_size((result.get("original_height"), result.get("original_width")))
    except PayloadError as error:
        raise PayloadError("It has no original_width and original_height that a frame can have.", REMEDY) from error
    drawn = value.get("rle")
    runs = _runs_of_spans(*brush_spans([] if drawn is None else drawn, size_hw), size_hw)
    if value.get("touches") in (None, []) and value.get("maskDataURL") is None:
        return runs
    mask = np.ascontiguousarray(runs.array)  # OpenCV draws on nothing else
    if value.get("maskDataURL") is not None:  # what the magic wand selected
        selected = decode_bitmask(value["maskDataURL"])
        if selected.shape != mask.shape:
            raise PayloadError("Its magic wand selection is of another size.", REMEDY)
        mask = mask | selected
    return EncodedMask.of(rasterise_touches(mask, value.get("touches") or []))


def _runs_of_spans(starts: Any, ends: Any, size_hw: tuple[int, int]) -> EncodedMask:
    """Turn spans along the rows into runs down the columns, by way of the pixels around the mask only."""
    if not len(starts):
        return EncodedMask.of_crop(np.zeros((0, 0), np.bool_), (0, 0), size_hw)
    width = size_hw[1]
    top, bottom = int(starts[0]) // width, (int(ends[-1]) - 1) // width + 1
    left, right = 0, width
    if ((ends - 1) // width == starts // width).all():
        left, right = int((starts % width).min()), int(((ends - 1) % width).max()) + 1
    edges = np.concatenate(([top * width], np.stack((starts, ends), axis=1).ravel(), [bottom * width]))
    rows = np.repeat(np.arange(len(edges) - 1) % 2 == 1, np.diff(edges)).reshape(bottom - top, width)
    return EncodedMask.of_crop(rows[:, left:right], (top, left), size_hw)
