"""Memory elements in bulk: keys, what each object left there, and how much they are read."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tam_backend.models.memory_reading.affinity import memory_rows, query_rows, similarity

# The life count's first value: an element that was never read has usage 0, not 0 / 0.
_NEWBORN_LIFE = 1e-7
_PARTS = ("key", "shrinkage", "selection", "use", "life")


@dataclass(frozen=True, eq=False)
class ObjectValues:
    """What one object left in some of N elements.

    Args:
        elements: (n,) int64, ascending; the elements that know the object: those stored since it joined.
        values: (n, C) float32, row by row of `elements`.
    """

    elements: Tensor
    values: Tensor


@dataclass(eq=False)
class Elements:
    """N memory elements; their rows line up.

    Args:
        key: (N, Ck) float32.
        shrinkage: (N, 1) float32.
        selection: (N, Ck) float32.
        use: (N,) float32; the affinity that fell on each element, summed over all reads.
        life: (N,) float32; the reads that each element lived through.
        values: object id -> its values.
    """

    key: Tensor
    shrinkage: Tensor
    selection: Tensor
    use: Tensor
    life: Tensor
    values: dict[int, ObjectValues]

    @classmethod
    def newborn(cls, key: Tensor, shrinkage: Tensor, selection: Tensor, values: dict[int, ObjectValues]) -> Elements:
        """Make elements that were never read."""
        use = torch.zeros_like(shrinkage[:, 0])
        return cls(key, shrinkage, selection, use, torch.full_like(use, _NEWBORN_LIFE), values)

    @classmethod
    def of_frame(cls, key: Tensor, shrinkage: Tensor, selection: Tensor, values: dict[int, Tensor]) -> Elements:
        """Make the elements of one frame, with an (N, C) value for each of its objects."""
        everywhere = torch.arange(key.shape[0], device=key.device)
        return cls.newborn(key, shrinkage, selection, {i: ObjectValues(everywhere, v) for i, v in values.items()})

    @classmethod
    def joined(cls, parts: Sequence[Elements]) -> Elements:
        """Put elements one after the other; objects that some do not know are known by the rest."""
        object_ids = dict.fromkeys(object_id for part in parts for object_id in part.values)
        return cls(
            torch.cat([part.key for part in parts]),
            torch.cat([part.shrinkage for part in parts]),
            torch.cat([part.selection for part in parts]),
            torch.cat([part.use for part in parts]),
            torch.cat([part.life for part in parts]),
            {object_id: joined_values(parts, object_id) for object_id in object_ids},
        )

    @classmethod
    def restored(cls, tensors: Mapping[str, Tensor]) -> Elements:
        """Undo `exported`. Raises KeyError where one is missing."""
        ids = [int(name.removeprefix("values.")) for name in tensors if name.startswith("values.")]
        values = {i: ObjectValues(tensors[f"elements.{i}"], tensors[f"values.{i}"]) for i in ids}
        key, shrinkage, selection, use, life = (tensors[name] for name in _PARTS)
        return cls(key, shrinkage, selection, use, life, values)

    def exported(self) -> dict[str, Tensor]:
        """Return everything as tensors by name, each with memory of its own."""
        tensors = {name: getattr(self, name).clone() for name in _PARTS}
        for object_id, held in self.values.items():
            tensors[f"elements.{object_id}"] = held.elements.clone()
            tensors[f"values.{object_id}"] = held.values.clone()
        return tensors

    def __len__(self) -> int:
        return self.key.shape[0]

    @property
    def usage(self) -> Tensor:
        """(N,) how much each element is read, per read it lived through."""
        return self.use / self.life

    def chosen(self, kept: Tensor) -> Elements:
        """Return the elements of ascending (n,) int64 indices."""
        new_place = torch.full((len(self),), -1, dtype=torch.int64, device=kept.device)
        new_place[kept] = torch.arange(kept.shape[0], device=kept.device)
        values = {}
        for object_id, held in self.values.items():
            places = new_place[held.elements]
            stays = places >= 0
            if stays.any():
                values[object_id] = ObjectValues(places[stays], held.values[stays])
        return Elements(
            self.key[kept], self.shrinkage[kept], self.selection[kept], self.use[kept], self.life[kept], values
        )

    def without(self, object_id: int) -> Elements | None:
        """Return the elements that know another object, without this one's values; None if there are none."""
        values = {i: held for i, held in self.values.items() if i != object_id}
        if not values:
            return None
        rest = Elements(self.key, self.shrinkage, self.selection, self.use, self.life, values)
        known = torch.zeros(len(self), dtype=torch.bool, device=self.key.device)
        for held in values.values():
            known[held.elements] = True
        return rest if bool(known.all()) else rest.chosen(known.nonzero()[:, 0])


def joined_values(parts: Iterable[Elements], object_id: int) -> ObjectValues:
    """Put one object's values of some elements one after the other; it is in at least one of them."""
    elements, values, start = [], [], 0
    for part in parts:
        held = part.values.get(object_id)
        if held is not None:
            elements.append(held.elements + start)
            values.append(held.values)
        start += len(part)
    return ObjectValues(torch.cat(elements), torch.cat(values))


def consolidated(candidates: Elements, num_prototypes: int) -> Elements:
    """Turn many elements into few (section 3.3 of the paper).

    The most used candidates become prototypes. Their keys are copied; their values and shrinkage are read anew from
    all candidates, with a softmax over all of them (potentiation). An object reads those candidates that know it, for
    those prototypes that know it.

    Args:
        candidates: at least one.
        num_prototypes: how many; fewer where there are fewer candidates.
    """
    chosen = candidates.usage.topk(min(num_prototypes, len(candidates))).indices
    key, selection = candidates.key[chosen], candidates.selection[chosen]
    scores = similarity(query_rows(key, selection), memory_rows(candidates.key, candidates.shrinkage))
    values = {}
    for object_id, held in candidates.values.items():
        knows = torch.isin(chosen, held.elements)
        if knows.any():
            affinity = scores[knows][:, held.elements].softmax(1)
            values[object_id] = ObjectValues(knows.nonzero()[:, 0], affinity @ held.values)
    return Elements.newborn(key, scores.softmax(1) @ candidates.shrinkage, selection, values)


def most_used(elements: Elements, kept: int) -> Elements:
    """Return the `kept` most used elements in their order; among equally used ones the oldest go first."""
    by_usage = elements.usage.argsort(stable=True)
    return elements.chosen(by_usage[len(elements) - kept :].sort().values)
