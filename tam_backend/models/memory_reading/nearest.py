"""The nearest memory elements on a CPU: distances are compared by their bits, as integers, many queries abreast.

Numbers that are not negative come in the same order as their bits, and integers are compared several times as quickly
as bfloat16. Distances are the negatives of `affinity.similarity`: the nearest elements are the most similar ones.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from tam_backend.models.cpu_operators import product
from tam_backend.models.memory_reading.affinity import TopK, top_k_of

# Precision -> an integer of its width, one of twice its width, and the bits of infinity.
_INTEGERS = {
    torch.float32: (torch.int32, torch.int64, 0x7F800000),
    torch.bfloat16: (torch.int16, torch.int32, 0x7F80),
}
# Elements that are looked at as one before they are looked at one by one (measured: 4 to 8 are much the same).
_GROUP = 6


def distances(queries: Tensor, memory: Tensor) -> Tensor:
    """Return (N, Q), 0 or above: how far each element is from each query; what rounding takes below 0 is 0.

    Args:
        queries: (Q, K); `affinity.query_rows`, or what `affinity.narrow_queries` makes of them.
        memory: (N, K); `affinity.memory_rows`, or what `affinity.narrow_memory` makes of them.
    """
    return product(memory, -queries, "relu")


def infinite_where(far: Tensor, dtype: torch.dtype) -> Tensor:
    """Return what `push_away` takes: bits of infinity where a bool tensor says so."""
    bits, _, infinity = _INTEGERS[dtype]
    return far.to(bits).mul_(infinity)


def push_away(distances: Tensor, far: Tensor) -> None:
    """Set distances to infinity in place, by `infinite_where` of the same shape."""
    bits = distances.view(far.dtype)
    torch.maximum(bits, far, out=bits)


def nearest(distances: Tensor, top_k: int) -> TopK:
    """Take the softmax of the `top_k` nearest elements of every query; of all, where there are fewer.

    Among equally near ones, which are taken is left open.

    Args:
        distances: (N, Q), none below 0; infinite = masked. A query with all masked gets weights of 0.
        top_k: at least 1.
    """
    bits, _, _ = _INTEGERS[distances.dtype]
    found, elements = _smallest(distances.view(bits), min(top_k, len(distances)))
    return top_k_of(-found.view(distances.dtype).float(), elements)


def _smallest(numbers: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Return the smallest of each column of (N, Q), smallest first, and their rows: (Q, count) both, rows int64.

    As many groups of rows as numbers are wanted, those with the smallest minima, hold all that is wanted; and finding
    them is the same task again, on fewer rows.
    """
    groups = len(numbers) // _GROUP
    if groups < 2 * count:
        return _sorted(numbers.t().contiguous(), count)
    # A group's rows lie `groups` apart, so that minima are taken of whole stretches of memory at once.
    _, chosen = _smallest(numbers[: groups * _GROUP].view(_GROUP, groups, -1).amin(0), count)
    members = torch.arange(0, groups * _GROUP, groups)
    rest = torch.arange(groups * _GROUP, len(numbers)).expand(len(chosen), -1)
    rows = torch.cat([(chosen[:, :, None] + members).flatten(1), rest], 1)
    found, places = _sorted(numbers.t().gather(1, rows), count)
    return found, rows.gather(1, places)


def _sorted(numbers: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Do what `numbers.topk(count, dim=1, largest=False)` does, a few times as quickly, for up to 2^15 columns.

    NumPy sorts integers with the CPU's widest instructions, but only them: so a number and its column become one.
    """
    narrow, wide = numbers.dtype, _WIDER[numbers.dtype]
    width = 8 * narrow.itemsize
    both = numbers.to(wide).bitwise_left_shift_(width).bitwise_or_(torch.arange(numbers.shape[1], dtype=wide))
    first = np.partition(both.numpy(), count - 1, axis=1)[:, :count]
    first.sort(axis=1)
    ordered = torch.from_numpy(first)
    return (ordered >> width).to(narrow), (ordered & (2**width - 1)).long()


_WIDER = {narrow: wide for narrow, wide, _ in _INTEGERS.values()}
