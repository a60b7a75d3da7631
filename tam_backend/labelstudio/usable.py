"""What of a task can be used: bad regions are left out and named, and only a bad click is refused."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from tam_backend.errors import InvalidPromptError, LabelConfigError, RegionError
from tam_backend.labelstudio.config import LabelingConfig
from tam_backend.labelstudio.edits import told_apart
from tam_backend.labelstudio.identity import NOTHING_SAID, Identity
from tam_backend.labelstudio.objects import TaskObject, group_objects
from tam_backend.labelstudio.regions import Region, read_regions


def read_click(
    results: Sequence[Mapping[str, Any]], config: LabelingConfig, faults: list[RegionError]
) -> tuple[Region, ...]:
    """Return the regions of a smart click.

    Raises:
        RegionError: the newest one cannot be understood; what is wrong with older ones is put into `faults`.
        InvalidPromptError: nothing of it is a prompt that we know.
    """
    clicked = read_regions(results, config, faults)
    if faults and faults[-1].region_id == results[-1].get("id"):
        raise faults[-1]
    if results and not clicked:
        name, kind = (str(results[-1].get(key))[:80] for key in ("from_name", "type"))
        raise InvalidPromptError(
            f'The tag "{name}" drew "{kind}", which is no prompt that can be answered here.',
            "Prompt with KeyPoint, Rectangle, Ellipse or Polygon labels on an <Image>, VideoRectangle on a <Video>.",
        )
    return clicked


def told_apart_if_usable(
    region: Region, sent: Mapping[tuple[str, int], Collection[str]], faults: list[RegionError]
) -> Region | None:
    """Do what `edits.told_apart` does; None for a mask that cannot be decoded, with the reason put into `faults`."""
    try:
        return told_apart(region, sent)
    except RegionError as error:
        faults.append(error)
        return None


def group_usable(
    regions: Sequence[Region], asked: Region | None, faults: list[RegionError], identity: Identity = NOTHING_SAID
) -> tuple[TaskObject, ...]:
    """Return the objects of all regions that can be used: one mask that cannot be decoded must not refuse the others.

    Args:
        regions: of one media.
        asked: the click; None = the masks of all objects will be needed.
        faults: takes what is wrong with the others.
        identity: what people said of the objects.

    Raises:
        RegionError: the click itself cannot be used.
    """
    try:
        objects = group_objects(regions, identity)
        for each in objects:
            if asked is None or asked in each.regions:
                _decode(each, None if asked is None else asked.frame)
    except RegionError as error:
        if asked is not None and asked.region_id == error.region_id:
            raise
        faults.append(error)
        usable = [region for region in regions if region.region_id != error.region_id]
        return group_usable(usable, asked, faults, identity)
    return objects


def _decode(each: TaskObject, frame: int | None) -> None:
    """Look at the masks that `to_prompts` will use, so that it finds no bad one.

    Raises:
        RegionError: one cannot be decoded.
    """
    masks = [region for region in each.regions if region.is_mask and frame in (None, region.frame)]
    for region in [region for region in masks if region.is_keyframe or frame is not None] or masks:
        _ = region.encoded_mask


def refuse_ordinary(clicked: Sequence[Region]) -> None:
    """Raise LabelConfigError for a click with a tag that the config takes out of prompting."""
    for region in clicked[-1:]:
        if region.control.smart is False and not region.is_mask:
            raise LabelConfigError(
                f'The tag "{region.control.name}" is an ordinary one (smart="false"): it makes no mask.',
                'Set smart="true" on it in the labeling interface to prompt with it.',
            )
