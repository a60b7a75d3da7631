"""A labeling page as we see it: what it shows, what draws on that, and where answers are written."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any

from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.names import LabelSource, PageName

EXAMPLE = (
    'For frames: <Image name="frames" valueList="$frames"/> with <BrushLabels name="mask" toName="frames">; '
    'for a video: <Video name="video" value="$video"/> with <VideoRectangle name="box" toName="video"/>. '
    "`tam-backend import --config` prints a whole config."
)
"""Labeling configs that can be served, for error messages."""

DEFAULT_FRAME_RATE = 24.0
"""What Label Studio's <Video> takes where the tag names no frameRate."""


class MediaKind(Enum):
    """What a page shows."""

    FRAMES = "frames"
    IMAGE = "image"
    VIDEO = "video"


class ControlKind(Enum):
    """What a tag draws; an ellipse or a polygon counts as the box around it, but for a polygon that is a mask."""

    POINT = "point"
    BOX = "box"
    BRUSH = "brush"
    BITMASK = "bitmask"
    POLYGON = "polygon"
    VIDEO_BOX = "video box"


MASK_KINDS = (ControlKind.BRUSH, ControlKind.BITMASK, ControlKind.POLYGON)

KINDS = {
    "keypoint": ControlKind.POINT,
    "rectangle": ControlKind.BOX,
    "ellipse": ControlKind.BOX,
    "polygon": ControlKind.BOX,
    "brush": ControlKind.BRUSH,
    "bitmask": ControlKind.BITMASK,
    "videorectangle": ControlKind.VIDEO_BOX,
}
"""The tag without "Labels", in lower case -> what it draws."""


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
        prompt_from: what of a task a Propagate begins with, see `starting_regions`; "" = with what humans prompt.
    """

    name: str
    kind: MediaKind
    data_key: str
    frame_rate: float = DEFAULT_FRAME_RATE
    frame_rate_key: str | None = None
    page_flag: str = ""
    page_key: str = ""
    prompt_from: str = ""

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
        return frame_rate(_lookup(data, self.frame_rate_key))


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


def frame_rate(value: Any) -> float:
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
