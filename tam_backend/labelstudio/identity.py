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
        if region.own_key is None or not region.is_mask:
            return region
        owner = self.owner(region.own_key, region.frame)
        if owner != region.own_key:
            region = replace(region, belongs_to=owner)
        settled = any(swap.frame == region.frame and region.own_key in (swap.one, swap.other) for swap in self.swaps)
        return replace(region, source="prompt") if settled else region


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


def _kinds(relation: Mapping[str, Any]) -> set[str]:
    labels = relation.get("labels")
    return {each.strip().casefold() for each in labels if isinstance(each, str)} if isinstance(labels, list) else set()
