"""What was read from a memory, as the typed result that refinement and quality look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tam_backend.models.memory_reading.affinity import TopK
from tam_backend.models.protocols import MemoryReading


@dataclass(frozen=True, eq=False)
class Reading:
    """What was read for some objects, in the order they were asked for.

    Args:
        values: (objects, Q, Cv) float32.
        top: one for each object; objects that read the same frames share it.
    """

    values: Tensor
    top: tuple[TopK, ...]


def memory_reading(
    reading: Reading, ids: Sequence[int], read_ids: Sequence[int], grid_hw: Sequence[int], mask_channel: int
) -> MemoryReading:
    """Order what was read by `ids`; objects that nothing was read for have affinity 0 and similarity -inf.

    K differs between objects only where an object's memory has fewer than top_k elements: the rest is padded likewise.

    Args:
        reading: what was read for `read_ids`, in their order.
        ids: ascending; the order of the answer.
        read_ids: some of them.
        grid_hw: (h, w) of the queries.
        mask_channel: the channel of the values that holds the mask itself, averaged over a cell.
    """
    height, width = grid_hw
    elements = max(top.indices.shape[1] for top in reading.top)
    rows = dict(zip(read_ids, reading.top, strict=True))
    blank = torch.zeros(height * width, 0, device=reading.values.device)
    nothing = TopK(blank, blank, blank.long())
    tops = [rows.get(object_id, nothing) for object_id in ids]
    masks = dict(zip(read_ids, reading.values[..., mask_channel], strict=True))
    unseen = torch.zeros(height * width, device=reading.values.device)
    return MemoryReading(
        (height, width),
        affinity=torch.stack([_widened(top.weights, elements, 0.0) for top in tops]),
        similarity=torch.stack([_widened(top.similarity, elements, -torch.inf) for top in tops]),
        indices=torch.stack([_widened(top.indices, elements, 0) for top in tops]),
        foreground=torch.stack([masks.get(object_id, unseen) for object_id in ids]).view(-1, height, width),
    )


def _widened(columns: Tensor, count: int, value: float) -> Tensor:
    """Append columns of a value to (Q, K), so that there are so many."""
    missing = count - columns.shape[1]
    return functional.pad(columns, (0, missing), value=value) if missing else columns
