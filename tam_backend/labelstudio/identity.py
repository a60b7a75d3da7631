"""Which object a mask of ours is, where people say that it is another one than its id tells.

Label Studio's editor cannot change a region's id, but it has relations, and a labeling config may name their kinds
(<Relations>). Between two masks of a task, people can say two things:

- "Same object": the two objects are one. It keeps both ids; deleting the relation takes it back.
- "Swap from here", of two masks on one page: the two objects have exchanged their masks there, and on all pages after.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from tam_backend.errors import RegionError
from tam_backend.labelstudio.attributes import SOURCE_KEY
from tam_backend.labelstudio.ids import parse_result_id, result_id
from tam_backend.labelstudio.regions import Region

SAME_OBJECT = "Same object"
SWAP = "Swap from here"


@dataclass(frozen=True)
class Swap:
    """From `frame` (0-based) on, the masks whose ids have the key `one` are the other object's, and the other way."""

    frame: int
    one: str
    other: str

    def exchanged(self, key: str) -> str:
        """Return the other key for either of the two; any other key as it is."""
        return {self.one: self.other, self.other: self.one}.get(key, key)


@dataclass(frozen=True)
class Identity:
    """What people said of the objects of one media of a task.

    Args:
        same: pairs of ids of regions that show one object.
        swaps: by frame.
    """

    same: tuple[tuple[str, str], ...] = ()
    swaps: tuple[Swap, ...] = ()

    def owner(self, key: str, frame: int) -> str:
        """Return the key of the object that the mask with an id of this key and frame shows."""
        for swap in reversed(self.swaps):
            if swap.frame <= frame:
                key = swap.exchanged(key)
        return key

    def key_on(self, owner: str, frame: int) -> str:
        """Return the key in the id of an object's mask on a frame: `owner` the other way round."""
        for swap in self.swaps:
            if swap.frame <= frame:
                owner = swap.exchanged(owner)
        return owner

    def told(self, region: Region) -> Region:
        """Return a mask of ours as the object's that it shows; where objects were swapped, it is a human's word."""
        key = region.own_key
        if key is None or not region.is_mask:
            return region
        owner = self.owner(key, region.frame)
        if owner != key:
            region = replace(region, belongs_to=owner)
        return replace(region, source="prompt") if self.settles(key, region.frame) else region

    def settles(self, key: str, frame: int) -> bool:
        """Tell whether people said of the very mask with an id of this key and frame whose it is."""
        return any(swap.frame == frame and key in (swap.one, swap.other) for swap in self.swaps)


NOTHING_SAID = Identity()


def read_identity(
    results: Sequence[Mapping[str, Any]], regions: Iterable[Region], faults: list[RegionError]
) -> Identity:
    """Read what the relations of a draft or an annotation say; relations of other kinds say nothing to us.

    Args:
        results: JSON, checked by `read_regions`.
        regions: what they hold of one media.
        faults: takes swaps that cannot be understood.
    """
    by_id = {region.region_id: region for region in regions}
    same: list[tuple[str, str]] = []
    swaps: list[Swap] = []
    for result in results:
        one, other = (by_id.get(str(result.get(key))) for key in ("from_id", "to_id"))
        if result.get("type") != "relation" or one is None or other is None or one is other:
            continue
        kinds = _kinds(result)
        if SAME_OBJECT.casefold() in kinds:
            same.append((one.region_id, other.region_id))
        if SWAP.casefold() not in kinds:
            continue
        if (
            one.own_key is None
            or other.own_key is None
            or one.frame != other.frame
            or not (one.is_mask and other.is_mask)
        ):
            faults.append(
                RegionError(
                    one.region_id,
                    f'The relation "{SWAP}" of the regions "{one.region_id}" and "{other.region_id}" says nothing.',
                    "Draw it between two tracked masks on one page.",
                )
            )
        elif one.own_key != other.own_key:
            swaps.append(Swap(one.frame, *sorted((one.own_key, other.own_key))))
    # The same said twice is said once.
    return Identity(tuple(same), tuple(sorted(set(swaps), key=lambda swap: (swap.frame, swap.one, swap.other))))


def without_swaps(results: Sequence[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    """Return an annotation's results with the ids that they would have if its swaps had been made, and without those.

    So several annotations can be laid together: what one person swapped says nothing of another one's ids.

    Args:
        results: JSON; what is no result stays.
    """
    swaps: list[Swap] = []
    kept: list[Mapping[str, Any]] = []
    for result in results:
        ends = [parse_result_id(str(result.get(key))) for key in ("from_id", "to_id")] if _says_swap(result) else []
        one, other = ends or (None, None)
        if one is None or other is None or one[1] != other[1] or one[0] == other[0]:
            kept.append(result)
        else:
            swaps.append(Swap(one[1], *sorted((one[0], other[0]))))
    identity = Identity(swaps=tuple(sorted(set(swaps), key=lambda swap: (swap.frame, swap.one, swap.other))))
    return [_renamed(result, identity) for result in kept] if swaps else kept


def _says_swap(result: Any) -> bool:
    is_relation = isinstance(result, Mapping) and result.get("type") == "relation"
    return is_relation and SWAP.casefold() in _kinds(result)


def _renamed(result: Any, identity: Identity) -> Any:
    if not isinstance(result, Mapping):
        return result
    new = dict(result)
    for name in ("id", "from_id", "to_id"):
        own = parse_result_id(result[name]) if isinstance(result.get(name), str) else None
        if own is not None:
            new[name] = result_id(identity.owner(*own), own[1])
    own = parse_result_id(str(result.get("id")))
    meta = result.get("meta")
    if own is not None and isinstance(meta, Mapping) and identity.settles(*own):
        new["meta"] = {**meta, SOURCE_KEY: "prompt"}
    return new


def _kinds(relation: Mapping[str, Any]) -> set[str]:
    labels = relation.get("labels")
    return {each.strip().casefold() for each in labels if isinstance(each, str)} if isinstance(labels, list) else set()
