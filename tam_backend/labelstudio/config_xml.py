"""Labeling config (XML) -> its tags, and what can be prompted and answered with them.

Tag and attribute names are read without regard to case, as Label Studio's editor reads them.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from xml.parsers import expat

from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.config import (
    EXAMPLE,
    KINDS,
    MASK_KINDS,
    Control,
    ControlKind,
    LabelingConfig,
    Media,
    MediaKind,
    frame_rate,
)
from tam_backend.labelstudio.names import LabelSource

PROMPT_FROM = "tamPromptFrom"
"""The attribute of an <Image> that says what a Propagate begins with: "predictions", or the name of a tag."""

# Of a <Repeater> that names none.
_USUAL_FLAG = "{{idx}}"
MAX_CONFIG_CHARS = 1_000_000
"""A config of a thousand labels in five tags is a third of this."""


@dataclass
class Tag:
    """A tag of the page; names of tags and attributes in lower case."""

    kind: str
    written: str  # the kind as the config writes it
    attributes: dict[str, str]
    labels: list[tuple[str, str]]  # (as results hold it, as the page shows it)
    repeater: Tag | None = None  # the <Repeater> around it

    @property
    def name(self) -> str:
        """What results call it; "" without a name."""
        return self.attributes.get("name", "")

    @property
    def to_names(self) -> list[str]:
        """The media that it speaks of."""
        return [name for part in self.attributes.get("toname", "").split(",") if (name := part.strip())]


def read_tags(xml: str) -> list[Tag]:
    """Return all tags in the order of the page; a Label is kept in the nearest tag around it that holds labels."""
    if not isinstance(xml, str) or not xml.strip():
        raise LabelConfigError("The labeling config is empty.", EXAMPLE)
    if len(xml) > MAX_CONFIG_CHARS:
        raise LabelConfigError(
            f"The labeling config is {len(xml)} characters long; {MAX_CONFIG_CHARS} are allowed.",
            "Remove what is not needed for labeling.",
        )
    tags: list[Tag] = []
    repeaters: list[Tag | None] = [None]  # of every open tag: the one around its children
    holders: list[Tag | None] = [None]  # of every open tag: the nearest tag around its children that holds labels

    def start(name: str, attributes: dict[str, str]) -> None:
        tag = Tag(name.lower(), name, {key.lower(): value for key, value in attributes.items()}, [])
        tag.repeater = repeaters[-1]
        repeaters.append(tag if tag.kind == "repeater" else repeaters[-1])
        holder = holders[-1]
        shown = tag.attributes.get("value", "")
        written = tag.attributes.get("alias") or shown
        if tag.kind == "label" and holder is not None and written:
            holder.labels.append((written, shown or written))
        holders.append(tag if tag.name and tag.to_names else holder)
        tags.append(tag)

    def end(_: str) -> None:
        holders.pop()
        repeaters.pop()

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
    controls = [control for tag in tags for control in _controls(tag, kinds, shared)]
    painted = {control.to_name for control in controls if control.kind in MASK_KINDS}
    return LabelingConfig(
        media, tuple(_as_mask(each, painted) for each in controls), any(_attaches(tag) for tag in tags)
    )


def _as_mask(control: Control, painted: Collection[str]) -> Control:
    """Return an ordinary polygon tag as one for masks, where its media has no other."""
    is_mask = control.shape == "polygon" and not control.smart and control.to_name not in painted
    return replace(control, kind=ControlKind.POLYGON) if is_mask else control


def _media(tag: Tag) -> Media | None:
    frames, value = tag.attributes.get("valuelist", ""), tag.attributes.get("value", "")
    prompt_from = tag.attributes.get(PROMPT_FROM.lower(), "").strip()
    if tag.repeater is not None:
        return _repeated(tag, tag.repeater, prompt_from)
    if tag.kind == "image" and tag.name and _is_variable(frames):
        return Media(tag.name, MediaKind.FRAMES, frames[1:], prompt_from=prompt_from)
    if tag.kind == "image" and tag.name and _is_variable(value):
        return Media(tag.name, MediaKind.IMAGE, value[1:], prompt_from=prompt_from)
    if tag.kind == "video" and tag.name and _is_variable(value):
        rate = tag.attributes.get("framerate", "")
        key = rate[1:] if _is_variable(rate) else None
        return Media(tag.name, MediaKind.VIDEO, value[1:], frame_rate(rate), key)
    return None


def _repeated(tag: Tag, repeater: Tag, prompt_from: str) -> Media | None:
    """Return the pages that a <Repeater> makes of one <Image> as one list of frames."""
    pages, flag, value = repeater.attributes.get("on", ""), _flag(repeater), tag.attributes.get("value", "")
    start = f"{pages}[{flag}]"
    if tag.kind != "image" or flag not in tag.name or not _is_variable(pages) or not value.startswith(start):
        return None
    page_key = value[len(start) :].removeprefix(".")
    return Media(tag.name, MediaKind.FRAMES, pages[1:], page_flag=flag, page_key=page_key, prompt_from=prompt_from)


def _flag(repeater: Tag) -> str:
    return repeater.attributes.get("indexflag") or _USUAL_FLAG


def _controls(tag: Tag, media: Mapping[str, MediaKind], shared_labels: Mapping[str, Sequence[Tag]]) -> list[Control]:
    """Return the tag once for every media that it can draw on; `shared_labels` are the <Labels> by media."""
    shape = tag.kind.removesuffix("labels")
    kind = KINDS.get(shape)
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
