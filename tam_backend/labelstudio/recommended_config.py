"""The labeling config that we recommend."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal
from xml.sax.saxutils import quoteattr

from tam_backend.errors import LabelConfigError
from tam_backend.labelstudio.config_xml import parse_config

_COLOURS = ("#FF6F3C", "#1E88E5", "#43A047", "#8E24AA", "#FDD835", "#00ACC1", "#E53935", "#6D4C41", "#C0CA33")
_PROPAGATE_COLOUR = "#212121"
_MOST_DIGIT_KEYS = 9


def recommended_config(
    labels: Sequence[str],
    *,
    masks: Literal["brush", "bitmask", "polygon"] = "brush",
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
            slow in the browser; bitmask regions are fast there and take its memory. Polygons are simplified, and
            their corners can be moved.
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
    mask_tag = {"brush": "BrushLabels", "bitmask": "BitmaskLabels", "polygon": "PolygonLabels"}[masks]
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
