"""Labeling config (XML) -> what can be prompted and what can be answered, and the config that we recommend.

Tag and attribute names are read without regard to case, as Label Studio's editor reads them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, Literal
from xml.sax.saxutils import quoteattr

from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.names import LabelSource, PageName
from tam_backend.labelstudio.tags import EXAMPLE, Tag, read_tags

DEFAULT_FRAME_RATE = 24.0
"""What Label Studio's <Video> takes where the tag names no frameRate."""


# Of a <Repeater> that names none.
_USUAL_FLAG = "{{idx}}"


class MediaKind(Enum):
    """What a page shows."""

    FRAMES = "frames"
    IMAGE = "image"
    VIDEO = "video"


class ControlKind(Enum):
    """What a tag draws; an ellipse or a polygon counts as the box around it."""

    POINT = "point"
    BOX = "box"
    BRUSH = "brush"
    BITMASK = "bitmask"
    VIDEO_BOX = "video box"


MASK_KINDS = (ControlKind.BRUSH, ControlKind.BITMASK)

_KINDS = {
    "keypoint": ControlKind.POINT,
    "rectangle": ControlKind.BOX,
    "ellipse": ControlKind.BOX,
    "polygon": ControlKind.BOX,
    "brush": ControlKind.BRUSH,
    "bitmask": ControlKind.BITMASK,
    "videorectangle": ControlKind.VIDEO_BOX,
}


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
        page_flag: set for the pages of a <Repeater>: what stands for the page's number in names. Together they are a
            list of frames, `data_key` holds the list of pages, and
        page_key: tells where a page holds its address; "" = it is the address.
    """

    name: str
    kind: MediaKind
    data_key: str
    frame_rate: float = DEFAULT_FRAME_RATE
    frame_rate_key: str | None = None
    page_flag: str = ""
    page_key: str = ""

    def value(self, data: Mapping[str, Any]) -> Any:
        """Return what the task's `data` holds for this tag (address or list of addresses); None where it is missing."""
        found = _lookup(data, self.data_key)
        if not self.page_flag or not isinstance(found, list):
            return found
        return [_lookup(page, self.page_key) if isinstance(page, Mapping) else page for page in found]

    def name_on(self, frame: int) -> str:
        """Return what the results of a frame call it."""
        return PageName(self.name, self.page_flag).on(frame)

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
        shape: the tag without "Labels", in lower case: "keypoint", "rectangle", "brush" ..
        smart: whether the config marks it with smart="true" or smart="false"; None = it does not say.
        sources: where its labels stand; of <Labels> tags there may be several.
        page_flag: see `Media`.
    """

    name: str
    to_name: str
    kind: ControlKind
    shape: str = ""
    smart: bool | None = None
    sources: tuple[LabelSource, ...] = ()
    page_flag: str = ""

    def name_on(self, frame: int) -> str:
        """Return what the results of a frame call it."""
        return PageName(self.name, self.page_flag).on(frame)

    def page(self, name: str, to_name: str) -> int | None:
        """Return the page of a <Repeater> that a result of these names is of; 0 without one, None if it is not ours."""
        page = PageName(self.name, self.page_flag).page(name)
        return page if page == PageName(self.to_name, self.page_flag).page(to_name) else None

    @property
    def labels(self) -> tuple[str, ...]:
        """Its labels as they stand in results."""
        return tuple(label for source in self.sources for label in source.labels)

    @property
    def labels_tag(self) -> str | None:
        """The name of the first <Labels> tag that gives its labels, where it has none of its own."""
        return next((source.name for source in self.sources if source.name != self.name), None)

    def shows(self, label: str | None) -> str | None:
        """Return what the page shows for a label of a result: the Label's value if the result holds its alias."""
        for source in self.sources:
            if label in source.labels:
                return source.shown[source.labels.index(label)]
        return label

    def written(self, label: str, shown: str | None = None) -> str | None:
        """See `LabelSource.written`; a tag without any labels takes every label as it comes."""
        if not self.sources:
            return label
        return next((found for source in self.sources if (found := source.written(label, shown)) is not None), None)


@dataclass(frozen=True)
class LabelingConfig:
    """What one labeling page offers.

    Args:
        media: what it shows.
        controls: what draws on them.
        attaches: whether it offers to hang something on a region: a choice, a note .. (perRegion), a relation.
    """

    media: tuple[Media, ...]
    controls: tuple[Control, ...]
    attaches: bool = False

    def control(self, name: str, to_name: str) -> Control | None:
        """Return the tag `name` as it controls the media `to_name`."""
        return next((control for control in self.controls if control.page(name, to_name) is not None), None)

    def controls_of(self, media: Media) -> tuple[Control, ...]:
        """Return the tags that draw on this media, in the order of the page."""
        return tuple(control for control in self.controls if control.to_name == media.name)

    def mask_outputs(self, media: Media) -> tuple[Control, ...]:
        """Return the tags that masks can be written to, in the order of the page."""
        return tuple(control for control in self.controls_of(media) if control.kind in MASK_KINDS)

    def mask_output(self, media: Media) -> Control | None:
        """Return the first tag for masks; None on a video. outputs.py tells which one takes a mask."""
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
            raise LabelConfigError(f'Nothing in the labeling config takes an answer on "{media.name}".', EXAMPLE)
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
    config = read_config(xml)
    if not any(config.mask_output(m) if m.kind is not MediaKind.VIDEO else config.box_output(m) for m in config.media):
        names = ", ".join(f'"{m.name}"' for m in config.media)
        raise LabelConfigError(f"The labeling config has no tag for masks or boxes on {names}.", EXAMPLE)
    return config


def read_config(xml: str) -> LabelingConfig:
    """Read a labeling config that need not take answers: what is drawn with it can be read all the same.

    Raises:
        LabelConfigError: as `parse_config`, but for the last reason.
    """
    tags = read_tags(xml)
    media = tuple(found for tag in tags if (found := _media(tag)))
    if not media:
        raise LabelConfigError(
            "The labeling config has no <Image> or <Video> that takes its value from the task.", EXAMPLE
        )
    shared: dict[str, list[Tag]] = {}
    for tag in tags:
        for name in tag.to_names if tag.kind == "labels" and tag.name else ():
            shared.setdefault(name, []).append(tag)
    kinds = {m.name: m.kind for m in media}
    controls = tuple(control for tag in tags for control in _controls(tag, kinds, shared))
    return LabelingConfig(media, controls, any(_attaches(tag) for tag in tags))


def _media(tag: Tag) -> Media | None:
    frames, value = tag.attributes.get("valuelist", ""), tag.attributes.get("value", "")
    if tag.repeater is not None:
        return _repeated(tag, tag.repeater)
    if tag.kind == "image" and tag.name and _is_variable(frames):
        return Media(tag.name, MediaKind.FRAMES, frames[1:])
    if tag.kind == "image" and tag.name and _is_variable(value):
        return Media(tag.name, MediaKind.IMAGE, value[1:])
    if tag.kind == "video" and tag.name and _is_variable(value):
        rate = tag.attributes.get("framerate", "")
        key = rate[1:] if _is_variable(rate) else None
        return Media(tag.name, MediaKind.VIDEO, value[1:], _frame_rate(rate), key)
    return None


def _repeated(tag: Tag, repeater: Tag) -> Media | None:
    """Return the pages that a <Repeater> makes of one <Image> as one list of frames."""
    pages, flag, value = repeater.attributes.get("on", ""), _flag(repeater), tag.attributes.get("value", "")
    start = f"{pages}[{flag}]"
    if tag.kind != "image" or flag not in tag.name or not _is_variable(pages) or not value.startswith(start):
        return None
    return Media(tag.name, MediaKind.FRAMES, pages[1:], page_flag=flag, page_key=value[len(start) :].removeprefix("."))


def _flag(repeater: Tag) -> str:
    return repeater.attributes.get("indexflag") or _USUAL_FLAG


def _controls(tag: Tag, media: Mapping[str, MediaKind], shared_labels: Mapping[str, Sequence[Tag]]) -> list[Control]:
    """Return the tag once for every media that it can draw on; `shared_labels` are the <Labels> by media."""
    shape = tag.kind.removesuffix("labels")
    kind = _KINDS.get(shape)
    if kind is None or not tag.name:
        return []
    found = []
    for to_name in tag.to_names:
        # Only VideoRectangle draws on a video, and only the others on an image.
        if tag.repeater is not None and _flag(tag.repeater) not in tag.name:
            continue
        if to_name not in media or (media[to_name] is MediaKind.VIDEO) != (kind is ControlKind.VIDEO_BOX):
            continue
        own = tag.kind.endswith("labels") or bool(tag.labels)
        sources = [tag] if own else shared_labels.get(to_name, ())
        flag = _flag(tag.repeater) if tag.repeater is not None else ""
        found.append(Control(tag.name, to_name, kind, shape, is_smart(tag), tuple(map(_labels, sources)), flag))
    return found


def _labels(tag: Tag) -> LabelSource:
    labels = dict(tag.labels)
    is_open = _is_variable(tag.attributes.get("value", ""))
    return LabelSource(tag.name, tuple(labels), tuple(labels.values()), is_open)


def _attaches(tag: Tag) -> bool:
    return tag.kind == "relations" or tag.attributes.get("perregion", "").strip().lower() == "true"


def is_smart(tag: Tag) -> bool | None:
    """Read what the config says; a tag that is smart only is smart."""
    says = tag.attributes.get("smart", "").strip().lower()
    if not says:
        return True if tag.attributes.get("smartonly", "").strip().lower() == "true" else None
    return says == "true"


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
        new_objects: add a label "New .." for each, to begin another object of it wherever one clicks, and relations to
            say that two objects are one, or have been taken for each other (identity.py).

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
        *(_gesture_lines(names) if new_objects else ()),
        "  </RectangleLabels>",
    ]
    if new_objects:
        relations = (f"    <Relation value={quoteattr(each)}/>" for each in ("Same object", "Swap from here"))
        lines += ["  <Relations>", *relations, "  </Relations>"]
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
    """Labels by which a click or a box begins another object (labelstudio/gestures.py)."""
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
