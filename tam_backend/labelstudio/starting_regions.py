"""What is on a task's frames already, and may become prompts: a detector's predictions, or boxes of an ordinary tag.

Boxes and ellipses are prompts for the segmenter. Polygons and masks are taken as they are: they say every pixel.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, cast

from tam_backend.errors import LabelConfigError, RegionError
from tam_backend.labelstudio.config import MASK_KINDS, Control, ControlKind, LabelingConfig, Media
from tam_backend.labelstudio.ids import object_key, parse_result_id
from tam_backend.labelstudio.regions import Region, read_regions
from tam_backend.labelstudio.shapes import FractionPolygon

PREDICTIONS = "predictions"
"""The name that stands for the predictions of others; every other one is a tag's."""

IMPORTED = "imported-"
"""What the versions of predictions begin with that `tam-backend import --format` stored: they are a dataset's."""

_TRACK_NAMES = frozenset(("track", "trackid", "object", "objectid", "instance", "instanceid"))
# A note that is a name with a digit, or one behind a word that says what it is: "7", "track 7", "ID: car-7", "track7".
_NUMBERED_NOTE = re.compile(
    r"(?:(?:(?:track|object|instance)?id|track|object|instance)(?:[\s_:#.-]+|(?=\d)))*#?\s*((?=[\w-]*\d)[\w-]+)",
    re.IGNORECASE,
)
_LONGEST_NOTE = 64  # what is longer tells a story, and names nothing


@dataclass(frozen=True, eq=False)
class StartingRegion:
    """A region that may become a prompt.

    Args:
        region: a box, or a mask; its `source` is "started": tracked from, and nobody's hand.
        track: the id that says which object it shows; None: nothing says it.
    """

    region: Region
    track: str | None

    @property
    def track_key(self) -> str | None:
        """The key of the object that `track` names, the same in all tasks of a chain; None without one."""
        if self.track is None:
            return None
        return _own_key(self.region) or object_key(f"track {self.track} of {self.region.shown_label}")


@dataclass(frozen=True)
class NotStarted:
    """A region that became no prompt, by its id, and why: "because .."."""

    region_id: str
    why: str


def check_source(source: str, config: LabelingConfig) -> None:
    """See that prompts can come from there.

    Raises:
        LabelConfigError: it is neither `PREDICTIONS` nor an ordinary tag that draws on a medium that takes masks.
    """
    media = [media for media in config.media if config.mask_outputs(media)]
    faults = [wrong_source(source, config, each) for each in media]
    if not faults or not all(faults):
        return
    raise LabelConfigError(
        f'Prompts cannot come from "{source}": {faults[0]}',
        f'Say "{PREDICTIONS}", or one of the ordinary tags: {_named(media, config) or "there is none"}.',
    )


def wrong_source(source: str, config: LabelingConfig, media: Media) -> str:
    """Return a sentence on why no prompt can come from there for one of the media; "" where it can."""
    if source == PREDICTIONS:
        return ""
    tags = [each for each in config.controls_of(media) if each.name == source]
    if any(_is_ordinary(each) for each in tags):
        return ""
    if not tags:
        return f'no tag that draws on "{media.name}" is called "{source}".'
    if tags[0].kind in MASK_KINDS:
        return f'"{source}" holds masks: those are tracked without being named.'
    return f'"{source}" is smart: what is drawn with it is a prompt without being named.'


def _is_ordinary(tag: Control) -> bool:
    return not tag.smart and tag.kind not in MASK_KINDS


def _named(media: Sequence[Media], config: LabelingConfig) -> str:
    tags = (each.name for medium in media for each in config.controls_of(medium) if _is_ordinary(each))
    return ", ".join(dict.fromkeys(tags))


def starting_regions(
    task: Mapping[str, Any], ordinary: Sequence[Region], config: LabelingConfig, media: Media, source: str
) -> tuple[list[StartingRegion], list[NotStarted]]:
    """Return what of a task may become prompts on one of its media, and what may not.

    Args:
        task: JSON, with its predictions where they are the source.
        ordinary: what was drawn on the media by tags that are not smart, of the newest draft or annotation.
        config: of the task's project.
        media: what the prompts are to lie on.
        source: `PREDICTIONS`: the newest one that is none of ours; else the name of a tag.
    """
    faults: list[RegionError] = []
    found: Sequence[Region] = [region for region in ordinary if region.control.name == source]
    if source == PREDICTIONS:
        read = read_regions(others_results(task), config, faults)
        found = [region for region in read if region.control.to_name == media.name]
    pages = media.value(task["data"]) if isinstance(task.get("data"), Mapping) else None
    frames = len(pages) if isinstance(pages, list) else None
    usable, unusable = [], [NotStarted(fault.region_id, f"because of this: {fault.message}") for fault in faults]
    for region in found:
        prompt = _as_prompt(region)
        why = _why_not(region, config, media, frames) or _no_mask(prompt)
        if why:
            unusable.append(NotStarted(region.region_id, why))
        else:
            usable.append(StartingRegion(prompt, track_of(region)))
    return usable, unusable


def others_results(task: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    """Return what the newest prediction holds that has no mask of ours; nothing without one."""
    listed = task.get("predictions")
    theirs = [each for each in listed if isinstance(each, Mapping)] if isinstance(listed, (list, tuple)) else []
    theirs = [each for each in theirs if isinstance(each.get("result"), (list, tuple)) and not _is_ours(each)]
    newest = max(theirs, key=_age, default=None)
    return () if newest is None else cast(Sequence[Mapping[str, Any]], newest["result"])


def track_of(region: Region) -> str | None:
    """Return the id that says which object a region shows; None where nothing says it.

    It may be told by a dataset that was imported; stand in the region's `meta`, as `track_id` or the like; in a
    per-region tag of such a name (Number, TextArea, Choices); or be its note: "7", "track 7".
    """
    own = _own_key(region)
    if own is not None:
        return own
    meta = region.notes.get("meta", {})
    hung = ((str(each.get("from_name")), _content(each)) for each in region.attributes)
    for name, value in (*meta.items(), *hung):
        text = _one_text(value)
        if text and _plain(str(name)) in _TRACK_NAMES:
            return text
    note = _one_text(meta.get("text"))
    numbered = _NUMBERED_NOTE.fullmatch(note) if len(note) <= _LONGEST_NOTE else None
    return numbered[1] if numbered else None


def _own_key(region: Region) -> str | None:
    return region.own_key or region.belongs_to


def _age(prediction: Mapping[str, Any]) -> int:
    number = prediction.get("id")
    return number if isinstance(number, int) else 0


def _is_ours(prediction: Mapping[str, Any]) -> bool:
    if str(prediction.get("model_version")).startswith(IMPORTED):
        return False
    results = cast(Sequence[Any], prediction["result"])
    ids = (result.get("id") for result in results if isinstance(result, Mapping))
    # Of what we answer with nothing, nothing is to be had either.
    return not results or any(isinstance(each, str) and parse_result_id(each) is not None for each in ids)


def _why_not(region: Region, config: LabelingConfig, media: Media, frames: int | None) -> str:
    """Return why a region can be no prompt; "" where it can."""
    if region.kind is ControlKind.POINT:
        return "because a point without a human who looks at the answer says too little"
    if region.kind is ControlKind.VIDEO_BOX:
        return "because it is a track of boxes on a <Video>, and no frame's"
    if frames is not None and region.frame >= frames:
        return f"because its task has {frames} frames, from 0, and it is on frame {region.frame}"
    label = region.label
    if label is not None and all(tag.written(label, region.shown_label) is None for tag in config.mask_outputs(media)):
        return f'because no tag for masks has its label "{label}"'
    if region.box is None:
        return ""
    x0, y0, x1, y1 = region.box.enclosing((1, 1))
    inside = min(x1, 1.0) > max(x0, 0.0) and min(y1, 1.0) > max(y0, 0.0)
    return "" if inside else "because it has no area on its frame"


def _no_mask(region: Region) -> str:
    """Return why a mask cannot be taken; "" where it can, or is none."""
    try:
        mask = region.encoded_mask
    except RegionError as error:
        return f"because of this: {error.message}"
    return "because its mask is empty" if mask is not None and not mask.area else ""


def _as_prompt(region: Region) -> Region:
    if isinstance(region.box, FractionPolygon):
        corners = {"points": [[100 * x, 100 * y] for x, y in region.box.corners]}
        control = replace(region.control, kind=ControlKind.POLYGON)
        region = replace(region, control=control, box=None, encoded=corners)
    return replace(region, origin="prediction" if region.is_mask else region.origin, source="started")


def _content(attribute: Mapping[str, Any]) -> Any:
    """Return what a per-region tag holds: a number, or a list of texts."""
    kind, value = str(attribute.get("type")), attribute["value"]
    return value.get("text" if kind == "textarea" else kind)


def _one_text(value: Any) -> str:
    """Return a value, or the only one of a list, as text; "" for others."""
    if isinstance(value, (list, tuple)):
        value = value[0] if len(value) == 1 else None
    if isinstance(value, bool) or not isinstance(value, (str, int, float)):
        return ""
    return f"{value:g}" if isinstance(value, float) else str(value).strip()


def _plain(name: str) -> str:
    return "".join(_letters(name.casefold()))


def _letters(name: str) -> Iterator[str]:
    return (char for char in name if char.isalnum())
