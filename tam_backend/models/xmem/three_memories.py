"""XMem's working and long-term memory: what is kept, what is consolidated, what goes, and reading both at once."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tam_backend.models.devices import give_back_freed_memory
from tam_backend.models.memory_reading.affinity import (
    TopK,
    joined_chunks,
    memory_rows,
    padded_rows,
    queries_at_once,
    read_out,
    similarity,
    top_k_softmax,
)
from tam_backend.models.memory_reading.reading import Reading
from tam_backend.models.xmem.elements import Elements, ObjectValues, consolidated, joined_values, most_used
from tam_backend.models.xmem.xmem_config import MemoryConfig

# The memory's size is rounded up to so many elements, see `affinity.padded_rows`.
_ROWS_MULTIPLE = 1024
# In working memory, where there is no long-term memory to age into: 32 frames of 480x854, 130 MB with one object.
_MOST_ELEMENTS_WITHOUT_LONG_TERM = 32 * 30 * 54
# Frames with a human's mask. The limit is there for the machine; no annotator was seen to come near it.
_MOST_PERMANENT_FRAMES = 64


@dataclass(eq=False)
class _Frame:
    """A working frame; permanent: a human's."""

    elements: Elements
    permanent: bool


@dataclass(frozen=True, eq=False)
class _Group:
    """Objects that read the same elements.

    Args:
        columns: (n,) int64 those elements, ascending; None: all.
        tables: object id -> (n, C) float32 values, row by row of `columns`.
    """

    columns: Tensor | None
    tables: dict[int, Tensor]


@dataclass(frozen=True, eq=False)
class _Layout:
    """The memory as it is read.

    Args:
        rows: (N or more, 2 Ck + 1) float32; `affinity.memory_rows` of all elements in reading order, padded.
        use: (N,) float32; `Elements.use` of all elements, changed in place.
        life: (N,) float32; `Elements.life`, likewise.
        groups: in the order in which their objects joined.
    """

    rows: Tensor
    use: Tensor
    life: Tensor
    groups: tuple[_Group, ...]


class XMemMemory:
    """Keeps elements and reads them. The reading order is long-term elements, then working frames, oldest first.

    Bounded: with long-term memory by `max_mid_term_frames` frames and `max_long_term_elements`, without it by 51,840
    elements (or `max_mid_term_frames`, if that is more); besides there are up to 64 permanent frames, of which the
    second oldest then becomes a frame like others.

    Args:
        config: how much is remembered.
        value_channels: C, of the values.
    """

    def __init__(self, config: MemoryConfig, value_channels: int) -> None:
        self._config = config
        self._value_channels = value_channels
        self._frames: list[_Frame] = []
        self._long_term: Elements | None = None
        self._joined: dict[int, None] = {}  # ids in the order in which they joined
        self._layout: _Layout | None = None  # made when the memory is read after it has changed

    @property
    def working_frames(self) -> int:
        """How many frames there are in working memory, permanent ones included."""
        return len(self._frames)

    @property
    def permanent_frames(self) -> int:
        """How many of them are kept for good because a human gave their masks."""
        return sum(frame.permanent for frame in self._frames)

    @property
    def long_term_elements(self) -> int:
        """How many elements the long-term memory holds."""
        return 0 if self._long_term is None else len(self._long_term)

    @property
    def elements(self) -> int:
        """How many elements both memories hold."""
        return sum(len(part) for part in self._parts())

    def add(self, elements: Elements, permanent: bool) -> None:
        """Store a frame; old ones are consolidated, or dropped where there is no long-term memory.

        The first frame stays for ever. A permanent frame with the very keys of one already permanent (the same image)
        takes its place, with the values of both.
        """
        self._layout = None
        self._joined.update(dict.fromkeys(elements.values))
        for frame in self._frames if permanent else ():
            if frame.permanent and torch.equal(frame.elements.key, elements.key):
                frame.elements.values.update(elements.values)
                return
        self._frames.append(_Frame(elements, permanent))
        if self.permanent_frames > _MOST_PERMANENT_FRAMES:
            next(frame for frame in self._frames[1:] if frame.permanent).permanent = False
        self._age()

    def remove(self, object_id: int) -> None:
        """Forget an object's values, and elements that know no other."""
        self._layout = None
        self._joined.pop(object_id, None)
        rests = ((frame.elements.without(object_id), frame.permanent) for frame in self._frames)
        self._frames = [_Frame(elements, permanent) for elements, permanent in rests if elements is not None]
        if self._long_term is not None:
            self._long_term = self._long_term.without(object_id)

    def exported(self) -> dict[str, Tensor]:
        """Return everything as tensors by name."""
        tensors = {"joined": torch.tensor(list(self._joined), dtype=torch.int64)}
        for number, frame in enumerate(self._frames):
            kind = "permanent" if frame.permanent else "working"
            tensors.update({f"{number}.{kind}.{name}": part for name, part in frame.elements.exported().items()})
        if self._long_term is not None:
            tensors.update({f"long_term.{name}": part for name, part in self._long_term.exported().items()})
        return tensors

    def restore(self, tensors: Mapping[str, Tensor]) -> None:
        """Take the place of what `exported`. Raises KeyError where a tensor is missing."""
        frames, number = [], 0
        while any(name.startswith(f"{number}.") for name in tensors):
            permanent = f"{number}.permanent.key" in tensors
            prefix = f"{number}.{'permanent' if permanent else 'working'}."
            frames.append(_Frame(Elements.restored(below(tensors, prefix)), permanent))
            number += 1
        long_term = below(tensors, "long_term.")
        self._joined = dict.fromkeys(tensors["joined"].tolist())
        self._frames, self._long_term = frames, Elements.restored(long_term) if long_term else None
        self._layout = None

    def read(self, queries: Tensor, object_ids: Sequence[int]) -> Reading:
        """Read the memory, and count how much each element is read by the objects that joined first.

        Every object's softmax runs over the elements that know it, and no others. An object that no element knows
        reads zeros.

        Args:
            queries: (Q, 2 Ck + 1) float32; `affinity.query_rows`.
            object_ids: whose values to return, in that order.
        """
        layout = self._lay_out()
        tops: list[list[TopK]] = [[] for _ in layout.groups]
        read: dict[int, list[Tensor]] = defaultdict(list)
        for part in torch.split(queries, queries_at_once(len(layout.rows), queries.device)) if layout.groups else ():
            scores = similarity(part, layout.rows)
            for group, chunks in zip(layout.groups, tops, strict=True):
                top = top_k_softmax(scores if group.columns is None else scores[:, group.columns], self._config.top_k)
                for object_id, table in group.tables.items():
                    read[object_id].append(read_out(top, table))
                if group.columns is not None:
                    top = TopK(top.similarity, top.weights, group.columns[top.indices])
                chunks.append(top)
        top_of: dict[int, TopK] = {}
        for group, chunks in zip(layout.groups, tops, strict=True):
            top_of.update(dict.fromkeys(group.tables, joined_chunks(chunks)))
        if tops:
            self._count(next(iter(top_of.values())), layout)
        blank = queries.new_zeros(queries.shape[0], 0)
        nothing = TopK(blank, blank, blank.long())
        zeros = queries.new_zeros(queries.shape[0], self._value_channels)
        return Reading(
            torch.stack([torch.cat(read[object_id]) if object_id in read else zeros for object_id in object_ids]),
            tuple(top_of.get(object_id, nothing) for object_id in object_ids),
        )

    def _age(self) -> None:
        """Consolidate or drop old frames where there are too many.

        Permanent frames beside the first do not count: a human's corrections do not shorten the memory of the rest.
        """
        config = self._config
        ordinary = [frame for frame in self._frames[1:] if not frame.permanent]
        if not config.enable_long_term:
            frames = _MOST_ELEMENTS_WITHOUT_LONG_TERM // len(self._frames[-1].elements)
            limit = max(frames, config.max_mid_term_frames)
            old = ordinary[: max(0, len(ordinary) + 1 - limit)]
        elif len(ordinary) + 1 >= config.max_mid_term_frames:
            old = ordinary[: len(ordinary) - (config.min_mid_term_frames - 1)]
            self._consolidate(Elements.joined([frame.elements for frame in old]))
        else:
            return
        self._frames = [frame for frame in self._frames if frame not in old]
        if old and config.enable_long_term and old[0].elements.key.device.type == "cpu":
            give_back_freed_memory()

    def _consolidate(self, candidates: Elements) -> None:
        prototypes = consolidated(candidates, self._config.num_prototypes)
        if self._long_term is None:
            self._long_term = prototypes
            return
        # Room for num_prototypes even where a tiny frame yields fewer: the limit does not depend on the frame's size.
        room = self._config.max_long_term_elements - self._config.num_prototypes
        if len(self._long_term) > room:
            self._long_term = most_used(self._long_term, room)
        self._long_term = Elements.joined([self._long_term, prototypes])

    def _parts(self) -> list[Elements]:
        """Return all elements in reading order."""
        working = [frame.elements for frame in self._frames]
        return working if self._long_term is None else [self._long_term, *working]

    def _count(self, top: TopK, layout: _Layout) -> None:
        """Record what the first group read."""
        if not self._config.enable_long_term:
            return
        counted = 0 if self._config.enable_long_term_count_usage else self.long_term_elements
        use = torch.zeros_like(layout.use).index_add_(0, top.indices.flatten(), top.weights.flatten())
        layout.use[counted:] += use[counted:]
        layout.life[counted:] += 1

    def _lay_out(self) -> _Layout:
        """Return the memory as it is read; make it anew after a change."""
        if self._layout is None:
            parts = self._parts()
            groups: list[_Group] = []
            for object_id in self._joined:
                if not any(object_id in part.values for part in parts):
                    continue  # all that was known of it has gone
                held = joined_values(parts, object_id)
                columns = None if held.elements.shape[0] == self.elements else held.elements
                group = next((group for group in groups if _same(group.columns, columns)), None)
                if group is None:
                    group = _Group(columns, {})
                    groups.append(group)
                group.tables[object_id] = held.values
                _share(held.values, parts, object_id)
            rows = torch.cat([memory_rows(part.key, part.shrinkage) for part in parts]) if parts else torch.empty(0)
            if rows.shape[0] >= self._config.top_k:  # so that no query reads what is appended
                rows = padded_rows(rows, _ROWS_MULTIPLE)
            use = torch.cat([part.use for part in parts]) if parts else torch.empty(0)
            life = torch.cat([part.life for part in parts]) if parts else torch.empty(0)
            sizes = [len(part) for part in parts]
            for part, own_use, own_life in zip(parts, torch.split(use, sizes), torch.split(life, sizes), strict=True):
                part.use, part.life = own_use, own_life
            self._layout = _Layout(rows, use, life, tuple(groups))
        return self._layout


def below(tensors: Mapping[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin so, by the rest of their names."""
    return {name.removeprefix(prefix): tensor for name, tensor in tensors.items() if name.startswith(prefix)}


def _same(a: Tensor | None, b: Tensor | None) -> bool:
    return a is b if a is None or b is None else torch.equal(a, b)


def _share(table: Tensor, parts: Sequence[Elements], object_id: int) -> None:
    """Let the parts look into the table instead of keeping values of their own: values are most of the memory."""
    start = 0
    for part in parts:
        held = part.values.get(object_id)
        if held is not None:
            stop = start + held.values.shape[0]
            part.values[object_id] = ObjectValues(held.elements, table[start:stop])
            start = stop
