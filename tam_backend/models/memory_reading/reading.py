"""What was read from a memory, as the typed result that refinement and quality look at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

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
    shape = (len(ids), height * width, elements)
    device = reading.values.device
    affinity, indices = torch.zeros(shape, device=device), torch.zeros(shape, dtype=torch.int64, device=device)
    similarity = torch.full(shape, -torch.inf, device=device)
    foreground = torch.zeros(len(ids), height, width, device=device)
    for row, top in enumerate(reading.top):
        channel, used = ids.index(read_ids[row]), top.indices.shape[1]
        affinity[channel, :, :used] = top.weights
        similarity[channel, :, :used] = top.similarity
        indices[channel, :, :used] = top.indices
        foreground[channel] = reading.values[row, :, mask_channel].view(height, width)
    return MemoryReading((height, width), affinity, similarity, indices, foreground)
