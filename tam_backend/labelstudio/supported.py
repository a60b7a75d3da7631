"""What of a labeling config can be served, tag by tag, and what of a given one cannot: said before anybody clicks."""

from __future__ import annotations

from collections.abc import Iterator

from tam_backend.labelstudio.config import MASK_KINDS, Control, LabelingConfig, Media, MediaKind
from tam_backend.labelstudio.config_xml import PROMPT_FROM, Tag, is_smart, parse_config, read_tags
from tam_backend.labelstudio.gestures import Gesture, object_labels, read_gesture
from tam_backend.labelstudio.starting_regions import PREDICTIONS, wrong_source

SUPPORTED = {
    "Image": "frames (`valueList`) or one picture (`value`); both from the task's data, several on one page",
    "Video": "tracks of boxes; Label Studio draws nothing else on it",
    "Brush": "masks, written and read",
    "Bitmask": "masks, written and read",
    "KeyPoint": "prompt with `smart`: on the object, with Alt: not on it; the label Propagate: all frames",
    "Rectangle": "prompt with `smart`",
    "Ellipse": "prompt with `smart`: the box around it",
    "Polygon": "prompt with `smart`: the box around it. Without, where its Image has no Brush and no Bitmask: masks, "
    "written and read",
    "VideoRectangle": "on a Video: prompt with `smart`, and the answer",
    "Labels": "labels for tags without labels of their own; several are served",
    "Repeater": "the pages of one Image in it, as frames",
    "Choices": "kept with its region (`perRegion`)",
    "TextArea": "kept with its region (`perRegion`)",
    "Rating": "kept with its region (`perRegion`)",
    "Number": "kept with its region (`perRegion`)",
    "DateTime": "kept with its region (`perRegion`)",
    "Taxonomy": "kept with its region (`perRegion`)",
    "Relations": "kept; a mask in a relation is not replaced. *Same object*, *Swap from here* are understood",
}
"""Tag (the same with "Labels" behind it) -> what it is to us. docs/label-studio.md has this table."""

_PROMPTS = ("keypoint", "rectangle", "ellipse", "polygon", "videorectangle")
_MASKS = ("brush", "bitmask")


def remarks(xml: str, propagate_label: str, prompt_from: str = "") -> tuple[str, ...]:
    """Return a sentence for everything that this labeling config asks for and that cannot be done.

    Args:
        xml: the config.
        propagate_label: the label that asks for all frames.
        prompt_from: what a Propagate begins with where the config does not say, see `starting_regions`.

    Raises:
        LabelConfigError: nothing in it can be predicted; see `parse_config`.
    """
    config = parse_config(xml)
    found = [remark for tag in read_tags(xml) for remark in _of_tag(tag, config)]
    found += [remark for media in config.media for remark in _of_media(media, config, propagate_label)]
    takes_masks = [media for media in config.media if config.mask_outputs(media)]
    faults = [wrong_source(prompt_from, config, media) for media in takes_masks if not media.prompt_from]
    if prompt_from and faults and all(faults):
        found.append(f'A Propagate is to begin with "{prompt_from}" (TAM_PROMPT_FROM), and cannot: {faults[0]}')
    return tuple(dict.fromkeys(found))


def _of_tag(tag: Tag, config: LabelingConfig) -> Iterator[str]:
    shape = tag.kind.removesuffix("labels")
    media = {each.name for each in config.media}
    drawing = {(each.name, each.to_name) for each in config.controls}
    called = f'<{tag.written}> "{tag.name}"'
    if tag.kind in ("image", "video") and tag.name and tag.name not in media:
        yield f"{called} takes no value from the task's data ($..): what it shows cannot be looked at."
    if not is_smart(tag) or not tag.to_names:
        return
    if shape in _MASKS:
        yield f'{called} is smart, but Label Studio asks no backend for it: set smart="false" and prompt by other tags.'
    elif shape not in _PROMPTS:
        yield f"{called} is smart, and no prompt: those are KeyPoint, Rectangle, Ellipse, Polygon, VideoRectangle."
    else:
        for name in tag.to_names:
            if name not in media:
                yield f'{called} is smart, but "{name}" is no <Image> or <Video> that can be looked at.'
            elif (tag.name, name) not in drawing:
                only = "VideoRectangle on a <Video>" if shape != "videorectangle" else "other tags on an <Image>"
                yield f'{called} is smart, but draws nothing on "{name}": there are only {only}.'


def _of_media(media: Media, config: LabelingConfig, propagate_label: str) -> Iterator[str]:
    controls, masks = config.controls_of(media), config.mask_outputs(media)
    if media.prompt_from and (why := wrong_source(media.prompt_from, config, media)):
        said = f'{PROMPT_FROM}="{media.prompt_from}" of "{media.name}"'
        yield f'{said} is neither "{PREDICTIONS}" nor an ordinary tag that draws on it: {why}'
    prompts = [each for each in controls if each.smart and each.kind not in MASK_KINDS]
    if media.kind is MediaKind.VIDEO:
        if controls and not prompts:
            yield f'Nothing that draws on "{media.name}" is smart: its boxes are not tracked.'
        return
    if not masks:
        if prompts:
            yield f'"{media.name}" has smart tags, but none that takes a mask: add BrushLabels or BitmaskLabels for it.'
        return
    if not prompts:
        yield f'"{media.name}" has no smart tag: it cannot be clicked, only masks drawn by hand are tracked.'
        return
    known = [label for each in prompts for label in map(each.shows, each.labels) if label is not None]
    if media.kind is MediaKind.FRAMES and propagate_label.casefold() not in (label.casefold() for label in known):
        yield f'No smart tag of "{media.name}" has the label {propagate_label}: nobody can ask for all frames there.'
    if homeless := _without_tag(prompts, masks, object_labels(config, media), propagate_label):
        labels = ", ".join(f'"{label}"' for label in homeless)
        yield f'No tag for masks of "{media.name}" has {labels}: prompts with that are refused.'


def _without_tag(
    prompts: list[Control], masks: tuple[Control, ...], known_labels: tuple[str, ...], propagate_label: str
) -> list[str]:
    return list(
        dict.fromkeys(
            label
            for each in prompts
            for label in each.labels
            for shown in (str(each.shows(label)),)
            if propagate_label.casefold() not in (label.casefold(), shown.casefold())
            and all(read_gesture(text, known_labels)[0] is Gesture.GUESSED for text in (label, shown))
            and all(mask.written(label, shown) is None for mask in masks)
        )
    )
