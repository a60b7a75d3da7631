"""Which tag a mask is written to, and with which labels: the tag that has the label, or that the object is drawn in."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.config import Control, LabelingConfig, Media
from tam_backend.labelstudio.objects import TaskObject
from tam_backend.labelstudio.regions import Region


@dataclass(frozen=True)
class MaskOutput:
    """Where an object's mask on a frame goes.

    Args:
        control: a brush or bitmask tag.
        labels: as the results of that tag hold them.
    """

    control: Control
    labels: tuple[str, ...]


def mask_output(config: LabelingConfig, media: Media, each: TaskObject[int], frame: int) -> MaskOutput:
    """Return where an object's mask on a frame (from 0) is written to.

    The mask that is there already is the model, or the nearest one that a human settled: its tag and all its labels.
    Without any, the first tag of the page that has the most of the object's labels. Two tags may write one label
    differently (an alias): then what the page shows decides.

    Raises:
        LabelConfigError: the media has no tag for masks, or none of them has the object's label.
    """
    model = _model(each, frame)
    given = (model.labels if model is not None else ()) or ((each.label,) if each.label is not None else ())
    shown = {label: model.control.shows(label) if model is not None else label for label in given}
    tags = list(config.mask_outputs(media))
    if not tags:
        raise LabelConfigError(
            f'No tag for masks draws on "{media.name}".',
            f'Add <BrushLabels name="mask" toName="{media.name}" smart="false"> with your labels.',
        )
    if model is not None and model.control in tags:
        tags.sort(key=lambda tag: tag != model.control)
    written = [(tag, _written(tag, given, shown)) for tag in tags]
    control, labels = max(written, key=lambda item: len(item[1]))
    if given and not labels:
        if model is not None and model.is_mask:
            return MaskOutput(model.control, given)  # a human put it there
        raise no_tag_for(given[0], tags)
    return MaskOutput(control, labels)


def no_tag_for(label: str, tags: Sequence[Control]) -> LabelConfigError:
    """Return the error for a label that a prompt can have, but no mask."""
    names = ", ".join(f'"{tag.name}"' for tag in tags)
    return LabelConfigError(
        f'No tag for masks has the label "{label}": {names} cannot take it.',
        f'Add <Label value="{label}"/> to one of them, in the project\'s labeling interface.',
    )


def _written(tag: Control, given: Sequence[str], shown: dict[str, str | None]) -> tuple[str, ...]:
    found = (tag.written(label, shown[label]) for label in given)
    return tuple(dict.fromkeys(label for label in found if label is not None))


def _model(each: TaskObject[int], frame: int) -> Region | None:
    here = [region for region in each.on_frame(frame) if region.is_mask and region.labels]
    if here:
        return here[-1]
    settled = [region for region in each.regions if region.is_keyframe and region.labels]
    among = settled or [region for region in each.regions if region.labels]
    return min(among, key=lambda region: abs(region.frame - frame), default=None)
