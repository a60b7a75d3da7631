"""What people hang on a region: choices, notes, ratings, numbers, taxonomies (perRegion tags), meta text, its parent.

Label Studio stores an attribute as one more result with the region's id, beside the result that draws it. A result that
is sent again replaces the region with all that hangs on it, so whoever changes a region must bring these along.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

SOURCE_KEY = "tam_source"
"""Under `meta` of our results: where a mask comes from. The editor keeps meta, and shows only its "text"."""

SentSource = Literal["prompt", "started", "propagated", "refined"]
"""What stands there: a mask answers a human's prompt; it answers, or is, what was on the frame already and somebody let
Propagate begin with (starting_regions.py), so that no human may have looked at it; it was tracked, or refined."""

OBJECT_KEY = "tam_object"
"""Under `meta` of an imported box: the key of its object. A mask of that has a box's place, so its id is another."""

NEEDS_REVIEW = "needs review"
"""The meta text of doubtful masks."""

_SHAPES = (
    "keypoint",
    "rectangle",
    "ellipse",
    "polygon",
    "vector",
    "brush",
    "bitmask",
    "magicwand",
    "cuboid",
    "videorectangle",
    "timeline",
)
_DRAWING = frozenset((*_SHAPES, "labels", "relation", *(f"{shape}labels" for shape in _SHAPES)))
# In the value of an attribute, which repeats its region's shape.
_SHAPE_KEYS = frozenset(
    (
        "format",
        "rle",
        "touches",
        "maskDataURL",
        "imageDataURL",
        "points",
        "closed",
        "sequence",
        "framesCount",
        "duration",
    )
)
_PLACE_KEYS = ("to_name", "item_index", "original_width", "original_height", "image_rotation")


def attributes_by_region(results: Sequence[Mapping[str, Any]]) -> dict[str, tuple[Mapping[str, Any], ...]]:
    """Return the results that are attributes of regions, by the region's id."""
    found: dict[str, tuple[Mapping[str, Any], ...]] = {}
    for result in results:
        region_id, kind = result.get("id"), result.get("type")
        if not isinstance(region_id, str) or not isinstance(kind, str) or kind in _DRAWING:
            continue
        if isinstance(result.get("value"), Mapping):
            found[region_id] = (*found.get(region_id, ()), result)
    return found


def brought_along(
    results: Sequence[Mapping[str, Any]], attributes: Sequence[Mapping[str, Any]], *, notes: Mapping[str, Any]
) -> tuple[dict[str, Any], ...]:
    """Return a region's new results with what hung on the region before.

    Args:
        results: of `results.mask_results` or `results.box_track_region`; the first one draws the region.
        attributes: of `attributes_by_region`; they get the new shape.
        notes: what a human wrote beside the shape: "meta" (their part of it) and "parentID".
    """
    drawn = results[0]
    shape = {key: value for key, value in drawn["value"].items() if key in _SHAPE_KEYS}
    place = {key: drawn[key] for key in _PLACE_KEYS if key in drawn}
    again = [
        {
            **attribute,
            **place,
            "id": drawn["id"],
            "value": {**{key: each for key, each in attribute["value"].items() if key not in _SHAPE_KEYS}, **shape},
        }
        for attribute in attributes
    ]
    noted = []
    for result in results:
        meta = {**result.get("meta", {}), **notes.get("meta", {})}
        parent = {"parentID": notes["parentID"]} if "parentID" in notes else {}
        noted.append({**result, **parent, **({"meta": meta} if meta else {})})
    return (*noted, *again)


def related(results: Sequence[Mapping[str, Any]]) -> frozenset[str]:
    """Return the ids of the regions that a relation speaks of."""
    relations = [result for result in results if result.get("type") == "relation"]
    return frozenset(str(relation.get(end)) for relation in relations for end in ("from_id", "to_id"))


def human_notes(result: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a human wrote beside the shape that this result draws, for `brought_along`."""
    meta, parent = result.get("meta"), result.get("parentID")
    notes: dict[str, Any] = {}
    if isinstance(meta, Mapping):
        theirs = {key: value for key, value in meta.items() if key != SOURCE_KEY}
        if theirs.get("text") in (NEEDS_REVIEW, [NEEDS_REVIEW]):
            del theirs["text"]
        if theirs:
            notes["meta"] = theirs
    if isinstance(parent, str) and parent:
        notes["parentID"] = parent
    return notes
