"""What the compact tracker remembers, bounded for any video: frames kept for good, a few recent ones, the last."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from tam_backend.models.compact_tracker.bands import Band, nearest_in
from tam_backend.models.compact_tracker.windows import Windows
from tam_backend.models.memory_reading.affinity import TopK, joined_chunks, queries_at_once, read_out
from tam_backend.models.memory_reading.reading import Reading


@dataclass(frozen=True)
class MemoryRules:
    """How much is remembered, and where it is looked for.

    Chosen on the ten real objects of ../shared/clips and training/NOTES.md (J&F, percent): 16 elements instead of 30
    give 79.5, not 78.4 (8: 80.0, but worse on good tracks; a softmax over all: 76.8); windows that end at 1.5 instead
    of 3 times their size give another 0.7, at half the work.

    Args:
        top_k: memory elements that each query reads.
        working_frames: recent frames kept, beside the last one.
        permanent_frames: frames kept for good that each object reads: its first and its most recently added ones.
        window_cells: how far, in cells, a query looks in a frame that is one frame old and not kept for good.
        window_growth: how much of `window_cells` is added with each further frame of age.
        window_limit: the largest window, in multiples of `window_cells`.
    """

    top_k: int = 16
    working_frames: int = 4
    permanent_frames: int = 8
    window_cells: float = 8.0
    window_growth: float = 0.15
    window_limit: float = 1.5

    def window_radius(self, age: int) -> float:
        """Return how far, in cells, a query looks in a frame of that age (in frames, 1 or above)."""
        return self.window_cells * min(self.window_limit, 1 + self.window_growth * (max(1, age) - 1))


@dataclass(frozen=True, eq=False)
class MemoryFrame:
    """One remembered frame of N = h * w elements.

    Args:
        rows: (N, K) `affinity.memory_rows`, or what `affinity.narrow_memory` makes of them.
        values: object id -> (N, Cv) float32. An object that is not in it had not joined, or was kept elsewhere.
        time: the tracker's clock when it was seen.
    """

    rows: Tensor
    values: Mapping[int, Tensor]
    time: int

    def without(self, object_id: int) -> MemoryFrame:
        """Return the frame without an object's values."""
        return MemoryFrame(self.rows, {i: v for i, v in self.values.items() if i != object_id}, self.time)


class MemoryBank:
    """Keeps frames and reads them. Its reading order is permanent frames, working frames, last frame, oldest first.

    Args:
        rules: how much is remembered.
        grid_hw: (h, w) of the frames' elements, line by line. Windows save most where lines are the shorter side.
    """

    def __init__(self, rules: MemoryRules, grid_hw: tuple[int, int]) -> None:
        self._rules = rules
        self._grid_hw = grid_hw
        self._windows = Windows(grid_hw)
        self._permanent: list[MemoryFrame] = []
        self._working: list[MemoryFrame] = []
        self._last: MemoryFrame | None = None

    @property
    def elements(self) -> int:
        """How many memory elements there are."""
        return sum(frame.rows.shape[0] for frame, _ in self._frames())

    def keep_for_good(self, frame: MemoryFrame) -> None:
        """Add a permanent frame.

        Each object reads its first permanent frame and the most recently added ones, up to the rules' number: reading
        time stays bounded, the first shows the object as it was meant, and a caller that adds the nearest keyframe last
        gets the nearest ones. What no object would read any more is let go. A frame equal to one already kept (the same
        image) takes its place with the values of both.
        """
        for index, kept in enumerate(self._permanent):
            if torch.equal(kept.rows, frame.rows):
                frame = MemoryFrame(frame.rows, {**kept.values, **frame.values}, frame.time)
                self._permanent[index] = frame
                return
        self._permanent.append(frame)
        for object_id in frame.values:
            holding = [i for i, kept in enumerate(self._permanent) if object_id in kept.values]
            if len(holding) > self._rules.permanent_frames:
                # The second oldest: the first stays.
                dropped = holding[1]
                self._permanent[dropped] = self._permanent[dropped].without(object_id)
        self._permanent = [kept for kept in self._permanent if kept.values]

    def keep_for_now(self, frame: MemoryFrame) -> None:
        """Add a working frame; the oldest gives way."""
        self._working = [*self._working, frame][-self._rules.working_frames :]
        self._last = None

    def set_last(self, frame: MemoryFrame | None) -> None:
        """Replace the last frame."""
        self._last = frame

    def remove(self, object_id: int) -> None:
        """Forget an object's values, and frames that hold nothing else."""
        self._permanent = _without(self._permanent, object_id)
        self._working = _without(self._working, object_id)
        self._last = next(iter(_without([self._last] if self._last else [], object_id)), None)

    def read(self, queries: Tensor, object_ids: Sequence[int], now: int) -> Reading:
        """Read the memory.

        Every object's softmax runs over the elements of the frames that hold values of it, and no others.

        Args:
            queries: (h * w, K) in the order and the precision of the frames' rows; `affinity.query_rows`, or what
                `affinity.narrow_queries` makes of them.
            object_ids: each with at least one permanent frame.
            now: the tracker's clock.
        """
        frames = [
            (frame, windowed) for frame, windowed in self._frames() if not frame.values.keys().isdisjoint(object_ids)
        ]
        groups: dict[tuple[int, ...], list[int]] = defaultdict(list)
        for object_id in object_ids:
            groups[tuple(i for i, (frame, _) in enumerate(frames) if object_id in frame.values)].append(object_id)
        group_values = {
            held: torch.cat([_side_by_side([frames[i][0].values[o] for o in members]) for i in held])
            for held, members in groups.items()
        }
        radii = [self._rules.window_radius(now - frame.time) if windowed else None for frame, windowed in frames]
        height, width = self._grid_hw
        cells = height * width
        # Whole lines of the grid, so that what lies beyond all of their windows can be left out.
        lines = max(1, queries_at_once(len(frames) * cells, queries.device) // width)
        places = torch.arange(cells, device=queries.device)
        tops: dict[tuple[int, ...], list[TopK]] = defaultdict(list)
        in_group: dict[tuple[int, ...], list[Tensor]] = defaultdict(list)
        for first, chunk in zip(range(0, height, lines), torch.split(queries, lines * width), strict=True):
            # With less than top_k in a frame, every query reads as many as there are, so all get the same number.
            seen = [
                slice(0, height)
                if radius is None or self._rules.top_k > cells
                else self._windows.lines_seen(first, lines, radius)
                for radius in radii
            ]
            stretches = [slice(each.start * width, each.stop * width) for each in seen]
            bands = [
                Band(frame.rows[stretch], each.start, radius)
                for (frame, _), stretch, each, radius in zip(frames, stretches, seen, radii, strict=True)
            ]
            found = nearest_in(
                bands,
                list(groups),
                chunk,
                first,
                self._windows,
                self._rules.top_k,
                by_distance=queries.device.type == "cpu",
            )
            for held, top in zip(groups, found, strict=True):
                # Elements by their place among those that the group reads, and among all.
                of_group = torch.cat([places[stretches[i]] + n * cells for n, i in enumerate(held)])[top.indices]
                in_group[held].append(of_group)
                if len(held) < len(frames):
                    of_all = torch.cat([places[stretches[i]] + i * cells for i in held])[top.indices]
                else:
                    of_all = of_group
                tops[held].append(TopK(top.similarity, top.weights, of_all))
        by_object: dict[int, tuple[Tensor, TopK]] = {}
        for held, members in groups.items():
            top = joined_chunks(tops[held])
            own = TopK(top.similarity, top.weights, torch.cat(in_group[held]))
            parts = read_out(own, group_values[held]).chunk(len(members), dim=1)
            by_object.update({o: (part, top) for o, part in zip(members, parts, strict=True)})
        return Reading(
            torch.stack([by_object[object_id][0] for object_id in object_ids]),
            tuple(by_object[object_id][1] for object_id in object_ids),
        )

    def _frames(self) -> Iterable[tuple[MemoryFrame, bool]]:
        """Yield every frame in reading order, with whether a window applies to it."""
        yield from ((frame, False) for frame in self._permanent)
        yield from ((frame, True) for frame in self._working)
        if self._last is not None:
            yield self._last, True


def _side_by_side(values: Sequence[Tensor]) -> Tensor:
    return values[0] if len(values) == 1 else torch.cat(list(values), 1)


def _without(frames: Iterable[MemoryFrame], object_id: int) -> list[MemoryFrame]:
    return [rest for rest in (frame.without(object_id) for frame in frames) if rest.values]
