"""Labeling config (XML) -> its tags.

Tag and attribute names are read without regard to case, as Label Studio's editor reads them.
"""

from __future__ import annotations

from dataclasses import dataclass
from xml.parsers import expat

from tam_backend.errors import LabelConfigError

MAX_CONFIG_CHARS = 1_000_000
"""A config of a thousand labels in five tags is a third of this."""

EXAMPLE = (
    'For frames: <Image name="frames" valueList="$frames"/> with <BrushLabels name="mask" toName="frames">; '
    'for a video: <Video name="video" value="$video"/> with <VideoRectangle name="box" toName="video"/>. '
    "`tam-backend import --config` prints a whole config."
)


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
