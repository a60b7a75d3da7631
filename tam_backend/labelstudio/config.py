"""Labeling config (XML) -> what can be prompted and what can be answered, and the config that we recommend.

Tag and attribute names are read without regard to case, as Label Studio's editor reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal
from xml.parsers import expat
from xml.sax.saxutils import quoteattr

from tam_backend.errors import LabelConfigError

MAX_CONFIG_CHARS = 1_000_000
"""A config of a thousand labels in five tags is a third of this."""

DEFAULT_FRAME_RATE = 24.0
"""What Label Studio's <Video> takes where the tag names no frameRate."""


class MediaKind(Enum):
    """What a page shows."""

    FRAMES = "frames"
    IMAGE = "image"
    VIDEO = "video"


class ControlKind(Enum):
    """What a tag draws."""

    POINT = "point"
    BOX = "box"
    BRUSH = "brush"
    BITMASK = "bitmask"
    VIDEO_BOX = "video box"


MASK_KINDS = (ControlKind.BRUSH, ControlKind.BITMASK)

_KINDS = {
    "keypoint": ControlKind.POINT,
    "rectangle": ControlKind.BOX,
    "brush": ControlKind.BRUSH,
    "bitmask": ControlKind.BITMASK,
    "videorectangle": ControlKind.VIDEO_BOX,
}

_EXAMPLE = (
    'For frames: <Image name="frames" valueList="$frames"/> with <BrushLabels name="mask" toName="frames">; '
    'for a video: <Video name="video" value="$video"/> with <VideoRectangle name="box" toName="video"/>. '
    "`tam-backend import --config` prints a whole config."
)


@dataclass(frozen=True)
class Media:
    """An <Image> or <Video> tag.

    Args:
        name: of the tag.
        kind: a list of frames, one image, or a video.
        data_key: where the task's data holds the address or the list of addresses ("frames" for `$frames`); may be a
            path such as "clip.frames".
        frame_rate: of a <Video>: frames per second of the editor's clock, not of the file.
        frame_rate_key: set if the tag takes its frame rate from the task's data (`frameRate="$fps"`).
    """

    name: str
    kind: MediaKind
    data_key: str
    frame_rate: float = DEFAULT_FRAME_RATE
    frame_rate_key: str | None = None

    def value(self, data: Mapping[str, Any]) -> Any:
        """Return what the task's `data` holds for this tag (address or list of addresses); None where it is missing."""
        return _lookup(data, self.data_key)

    def frame_rate_for(self, data: Mapping[str, Any]) -> float:
        """Return the frames per second that the editor counts with for a task with this `data`."""
        if self.frame_rate_key is None:
            return self.frame_rate
        return _frame_rate(_lookup(data, self.frame_rate_key))


@dataclass(frozen=True)
class Control:
    """A tag that draws regions on one media.

    Args:
        name: of the tag (a region's `from_name`).
        to_name: the media's name.
        kind: what it draws.
        labels: its labels as they stand in results (a Label's alias where it has one, its value otherwise).
        labels_tag: the name of the <Labels> tag that gives the labels, where the tag has none of its own.
        shown: the labels as the page shows them; same order as `labels`.
    """

    name: str
    to_name: str
    kind: ControlKind
    labels: tuple[str, ...] = ()
    labels_tag: str | None = None
    shown: tuple[str, ...] = ()

    def shows(self, label: str | None) -> str | None:
        """Return what the page shows for a label of a result: the Label's value if the result holds its alias."""
        if label in self.labels:
            return self.shown[self.labels.index(label)] if self.shown else label
        return label


@dataclass(frozen=True)
class LabelingConfig:
    """What one labeling page offers."""

    media: tuple[Media, ...]
    controls: tuple[Control, ...]

    def control(self, name: str, to_name: str) -> Control | None:
        """Return the tag `name` as it controls the media `to_name`."""
        return next((control for control in self.controls if (control.name, control.to_name) == (name, to_name)), None)

    def controls_of(self, media: Media) -> tuple[Control, ...]:
        """Return the tags that draw on this media, in the order of the page."""
        return tuple(control for control in self.controls if control.to_name == media.name)

    def mask_output(self, media: Media) -> Control | None:
        """Return the tag that masks are written to (the first brush or bitmask tag); None on a video."""
        return self._first(media, MASK_KINDS)

    def box_output(self, media: Media) -> Control | None:
        """Return the tag that tracks of boxes are written to (the first VideoRectangle)."""
        return self._first(media, (ControlKind.VIDEO_BOX,))

    def output(self, media: Media) -> Control:
        """Return the tag that answers are written to.

        Raises:
            LabelConfigError: this media has none.
        """
        control = self.box_output(media) if media.kind is MediaKind.VIDEO else self.mask_output(media)
        if control is None:
            raise LabelConfigError(f'Nothing in the labeling config takes an answer on "{media.name}".', _EXAMPLE)
        return control

    def _first(self, media: Media, kinds: Sequence[ControlKind]) -> Control | None:
        return next((control for control in self.controls_of(media) if control.kind in kinds), None)


def parse_config(xml: str) -> LabelingConfig:
    """Read a labeling config.

    Raises:
        LabelConfigError: no XML, a document type (entities are never expanded), too long, no image or video, or no tag
            that an answer could be written to.

    >>> page = parse_config('<View><Image name="f" valueList="$f"/><Brush name="m" toName="f"/></View>')
    >>> page.media[0].kind, page.mask_output(page.media[0]).name
    (<MediaKind.FRAMES: 'frames'>, 'm')
    """
    tags = _read_tags(xml)
    media = tuple(found for tag in tags if (found := _media(tag)))
    if not media:
        raise LabelConfigError(
            "The labeling config has no <Image> or <Video> that takes its value from the task.", _EXAMPLE
        )
    shared = {name: tag for tag in reversed(tags) if tag.kind == "labels" and tag.name for name in tag.to_names}
    kinds = {m.name: m.kind for m in media}
    config = LabelingConfig(media, tuple(control for tag in tags for control in _controls(tag, kinds, shared)))
    if not any(config.mask_output(m) if m.kind is not MediaKind.VIDEO else config.box_output(m) for m in media):
        names = ", ".join(f'"{m.name}"' for m in media)
        raise LabelConfigError(f"The labeling config has no tag for masks or boxes on {names}.", _EXAMPLE)
    return config


@dataclass
class _Tag:
    kind: str
    attributes: dict[str, str]
    labels: list[tuple[str, str]]  # (as results hold it, as the page shows it)

    @property
    def name(self) -> str:
        return self.attributes.get("name", "")

    @property
    def to_names(self) -> list[str]:
        return [name for part in self.attributes.get("toname", "").split(",") if (name := part.strip())]


def _read_tags(xml: str) -> list[_Tag]:
    """Return all tags in the order of the page; a Label is kept in the nearest tag around it that holds labels."""
    if not isinstance(xml, str) or not xml.strip():
        raise LabelConfigError("The labeling config is empty.", _EXAMPLE)
    if len(xml) > MAX_CONFIG_CHARS:
        raise LabelConfigError(
            f"The labeling config is {len(xml)} characters long; {MAX_CONFIG_CHARS} are allowed.",
            "Remove what is not needed for labeling.",
        )
    tags: list[_Tag] = []
    holders: list[_Tag | None] = [None]  # of every open tag: the nearest tag around its children that holds labels

    def start(name: str, attributes: dict[str, str]) -> None:
        tag = _Tag(name.lower(), {key.lower(): value for key, value in attributes.items()}, [])
        holder = holders[-1]
        shown = tag.attributes.get("value", "")
        written = tag.attributes.get("alias") or shown
        if tag.kind == "label" and holder is not None and written:
            holder.labels.append((written, shown or written))
        holders.append(tag if tag.name and tag.to_names else holder)
        tags.append(tag)

    def end(_: str) -> None:
        holders.pop()

    def refuse(*_: object) -> None:
        raise LabelConfigError(
            "The labeling config declares a document type.", "Remove the <!DOCTYPE ...> and its entities."
        )

    parser = expat.ParserCreate("utf-8")  # whatever encoding the text declares: it has been decoded already
    parser.StartElementHandler = start
    parser.EndElementHandler = end
    # Without a document type no entity can be declared, so none can be expanded or fetched.
    parser.StartDoctypeDeclHandler = refuse
    try:
        parser.Parse(xml.lstrip().encode("utf-8", "surrogatepass"), True)
    except (expat.ExpatError, ValueError, LookupError) as error:
        if isinstance(error, LabelConfigError):
            raise
        raise LabelConfigError(
            f"The labeling config is not well-formed XML ({error}).", "Correct it in the project's settings."
        ) from error
    return tags


def _media(tag: _Tag) -> Media | None:
    frames, value = tag.attributes.get("valuelist", ""), tag.attributes.get("value", "")
    if tag.kind == "image" and tag.name and _is_variable(frames):
        return Media(tag.name, MediaKind.FRAMES, frames[1:])
    if tag.kind == "image" and tag.name and _is_variable(value):
        return Media(tag.name, MediaKind.IMAGE, value[1:])
    if tag.kind == "video" and tag.name and _is_variable(value):
        rate = tag.attributes.get("framerate", "")
        key = rate[1:] if _is_variable(rate) else None
        return Media(tag.name, MediaKind.VIDEO, value[1:], _frame_rate(rate), key)
    return None


def _controls(tag: _Tag, media: Mapping[str, MediaKind], shared_labels: Mapping[str, _Tag]) -> list[Control]:
    """Return the tag once for every media that it can draw on; `shared_labels` are the first <Labels> by media."""
    kind = _KINDS.get(tag.kind.removesuffix("labels"))
    if kind is None or not tag.name:
        return []
    found = []
    for to_name in tag.to_names:
        # Only VideoRectangle draws on a video, and only the others on an image.
        if to_name not in media or (media[to_name] is MediaKind.VIDEO) != (kind is ControlKind.VIDEO_BOX):
            continue
        own = tag.kind.endswith("labels") or bool(tag.labels)
        source = tag if own else shared_labels.get(to_name, tag)
        labels = dict(source.labels)
        labels_tag = source.name if source is not tag else None
        found.append(Control(tag.name, to_name, kind, tuple(labels), labels_tag, tuple(labels.values())))
    return found


def _is_variable(value: str) -> bool:
    return len(value) > 1 and value.startswith("$")


def _frame_rate(value: Any) -> float:
    """Read a frame rate as the editor does: 24 for anything that is none, and 0.04 is a frame's duration in seconds."""
    try:
        rate = float(value)
    except (TypeError, ValueError):
        return DEFAULT_FRAME_RATE
    if not math.isfinite(rate) or rate <= 0:
        return DEFAULT_FRAME_RATE
    return 1 / rate if rate < 1 else rate


def _lookup(data: Mapping[str, Any], path: str) -> Any:
    if path in data:
        return data[path]
    value: Any = data
    for part in path.split("."):
        if not isinstance(value, Mapping) or part not in value:
            return None
        value = value[part]
    return value


_COLOURS = ("#FF6F3C", "#1E88E5", "#43A047", "#8E24AA", "#FDD835", "#00ACC1", "#E53935", "#6D4C41", "#C0CA33")
_PROPAGATE_COLOUR = "#212121"
_MOST_DIGIT_KEYS = 9


def recommended_config(
    labels: Sequence[str],
    *,
    masks: Literal["brush", "bitmask"] = "brush",
    video: bool = False,
    propagate_label: str = "Propagate",
    new_objects: bool = False,
) -> str:
    """Return the labeling config that we recommend, for tasks `{"frames": [...]}` (and `"video"`, `"fps"`).

    The mask tag is not smart, since a smart brush never calls a backend in Label Studio 1.23; points and boxes are
    smart only, so that every one of them is a prompt. Keys: 1..9 choose a label for points, 0 the propagate label,
    Shift+1..9 a label for boxes; the editor gives the mask labels keys of its own choice.

    Args:
        labels: the objects' labels, as results shall hold them.
        masks: what masks are written as. Brush regions can be clicked and painted on, but a task with 100 of them is
            slow in the browser; bitmask regions are fast there and take its memory.
        video: add a <Video> with boxes on the same page; the tasks then need `"video"` and `"fps"` too.
        propagate_label: a point with this label means: track all objects.
        new_objects: add a label "New .." for each, to begin another object of it wherever one clicks.

    Raises:
        LabelConfigError: no label, an empty one, the same twice, one that is the propagate label, or one that XML
            cannot hold.
    """
    names = [label.strip() for label in labels]
    folded = [name.casefold() for name in (*names, propagate_label.strip())]
    if not names or "" in folded or len(set(folded)) < len(folded):
        raise LabelConfigError(
            f"The labels {list(labels)!r} with {propagate_label!r} do not make a labeling config.",
            "Give at least one label, each once, none of them empty or the propagate label.",
        )
    mask_tag = "BrushLabels" if masks == "brush" else "BitmaskLabels"
    # Label Studio asks for it on bitmasks: smoothed pixels would not show what the mask holds.
    smoothing = ' smoothing="false"' if masks == "bitmask" else ""
    lines = [
        "<View>",
        f'  <Image name="frames" valueList="$frames" zoom="true" zoomControl="true"{smoothing}/>',
        f'  <{mask_tag} name="mask" toName="frames" smart="false">',
        *_label_lines(names),
        f"  </{mask_tag}>",
        '  <Header value="Click on an object (Alt+click: not this part)" size="5"/>',
        '  <KeyPointLabels name="point" toName="frames" smart="true" smartOnly="true">',
        *_label_lines(names, key=""),
        *(_gesture_lines(names) if new_objects else ()),
        f"    <Label value={quoteattr(propagate_label.strip())} background={quoteattr(_PROPAGATE_COLOUR)}"
        ' hotkey="0" hint="Click anywhere: masks on every frame"/>',
        "  </KeyPointLabels>",
        '  <RectangleLabels name="box" toName="frames" smart="true" smartOnly="true">',
        *_label_lines(names, key="shift+"),
        "  </RectangleLabels>",
    ]
    if video:
        lines += [
            '  <Video name="video" value="$video" frameRate="$fps"/>',
            '  <VideoRectangle name="track" toName="video" smart="true"/>',
            '  <Labels name="track_label" toName="video">',
            *_label_lines(names),
            "  </Labels>",
        ]
    page = "\n".join([*lines, "</View>", ""])
    parse_config(page)  # a label may hold a character that XML has no way to write
    return page


def _gesture_lines(names: Sequence[str]) -> list[str]:
    """Labels by which a click begins another object (labelstudio/gestures.py)."""
    return [
        f"    <Label value={quoteattr(f'New {name}')} background={quoteattr(_COLOURS[index % len(_COLOURS)])}"
        f" hint={quoteattr(f'Another {name}, also inside or beside one')}/>"
        for index, name in enumerate(names)
    ]


def _label_lines(names: Sequence[str], key: str | None = None) -> list[str]:
    lines = []
    for index, name in enumerate(names):
        hotkey = f' hotkey="{key}{index + 1}"' if key is not None and index < _MOST_DIGIT_KEYS else ""
        colour = _COLOURS[index % len(_COLOURS)]
        lines.append(f'    <Label value={quoteattr(name)} background="{colour}"{hotkey}/>')
    return lines
