"""Reading a memory: anisotropic L2 similarity as one matrix product, exact top-k softmax, gathered read-out."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional

from tam_backend.models.cpu_operators import product

# The selection that it is multiplied by is positive, and so is the last term.
_NEVER = -1e9
# bfloat16 is multiplied in steps of so many (AMX, tensor cores); what is left over takes as long as a whole step.
_NARROW_STEP = 32
# Columns that are looked at as one before they are looked at one by one (measured: 4 to 8 are much the same).
_GROUP = 6
# Queries that are compared with the memory at a time bound the similarity matrix. On a CPU so many keep it near the
# cache; on a GPU few large operations are quicker than many small ones: 1 GB at most.
_QUERIES_ON_CPU = 256
_MOST_SCORES_ON_GPU = 2**28


@dataclass(frozen=True, eq=False)
class TopK:
    """The nearest memory elements of Q queries, K each, nearest first.

    Args:
        similarity: (Q, K) float32; -inf where masked.
        weights: (Q, K) float32; the softmax of `similarity`.
        indices: (Q, K) int64; rows of the memory.
    """

    similarity: Tensor
    weights: Tensor
    indices: Tensor


def memory_rows(key: Tensor, shrinkage: Tensor) -> Tensor:
    """Prepare memory elements for `similarity`.

    Args:
        key: (N, Ck).
        shrinkage: (N, 1).

    Returns:
        (N, 2 Ck + 1): [-k^2, 2k, -1] s / sqrt(Ck), row by row.
    """
    rows = torch.cat([-key.square(), 2 * key, -torch.ones_like(shrinkage)], 1)
    return rows * (shrinkage / math.sqrt(key.shape[1]))


def padded_rows(rows: Tensor, multiple: int) -> Tensor:
    """Append rows that no query is ever similar to, up to a multiple of so many.

    For a memory of ever new sizes: oneDNN keeps a program of up to a megabyte for every size that it has multiplied.

    Args:
        rows: (N, 2 Ck + 1); `memory_rows`.
        multiple: of what (Npadded, 2 Ck + 1) is returned.
    """
    missing = -rows.shape[0] % multiple
    never = rows.new_zeros(missing, rows.shape[1])
    never[:, : rows.shape[1] // 2] = _NEVER
    never[:, -1] = _NEVER
    return torch.cat([rows, never])


def query_rows(key: Tensor, selection: Tensor) -> Tensor:
    """Prepare queries for `similarity`.

    Args:
        key: (Q, Ck).
        selection: (Q, Ck).

    Returns:
        (Q, 2 Ck + 1): [e, k e, sum(e k^2)], row by row. The last term is the same for all elements of a query only
        until the shrinkage multiplies it, so it cannot be dropped.
    """
    weighted = key * selection
    return torch.cat([selection, weighted, (weighted * key).sum(1, keepdim=True)], 1)


def narrow_memory(rows: Tensor) -> Tensor:
    """Bring (N, 2 Ck + 1) `memory_rows` to bfloat16, for queries of `narrow_queries`.

    The last term takes away what the others sum up to, and is as large as all of them: it goes in as a number and its
    remainder. Similarities are right to a hundredth then, in a quarter of the time where the CPU multiplies bfloat16.

    Returns:
        (N, 2 Ck + 3 and zeros up to a multiple of 32) bfloat16.
    """
    last, remainder = _split(rows[:, -1:])
    return _stepped(torch.cat([rows[:, :-1].bfloat16(), last, last, remainder], 1))


def narrow_queries(rows: Tensor) -> Tensor:
    """Bring (Q, 2 Ck + 1) `query_rows` to bfloat16, for the memory of `narrow_memory`; as wide as that."""
    last, remainder = _split(rows[:, -1:])
    return _stepped(torch.cat([rows[:, :-1].bfloat16(), last, remainder, last], 1))


def _stepped(rows: Tensor) -> Tensor:
    return functional.pad(rows, (0, -rows.shape[1] % _NARROW_STEP))


def _split(number: Tensor) -> tuple[Tensor, Tensor]:
    """Return two bfloat16 numbers whose sum is the float32 one to some 16 bits."""
    rounded = number.bfloat16()
    return rounded, (number - rounded.float()).bfloat16()


def queries_at_once(elements: int, device: torch.device) -> int:
    """Return how many queries to compare with so many memory elements at a time."""
    return _QUERIES_ON_CPU if device.type == "cpu" else max(_QUERIES_ON_CPU, _MOST_SCORES_ON_GPU // max(1, elements))


def similarity(queries: Tensor, memory: Tensor) -> Tensor:
    """Return (Q, N): -s_m sum_c e_qc (k_mc - k_qc)^2 / sqrt(Ck), of `query_rows` and `memory_rows`."""
    return product(queries, memory)


def largest(scores: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """Do what `scores.topk(count, dim=1)` does; on a CPU in two thirds of the time for 10,000 columns, half for 26,000.

    As many groups of columns as scores are wanted, those with the largest maxima, hold all that is wanted; and finding
    them is the same task again, on fewer columns. Among equal scores, which are taken is left open, as with `topk`.

    Args:
        scores: (Q, N).
        count: 1 to N.

    Returns:
        (Q, count) the scores, largest first, and their columns, int64.
    """
    groups = scores.shape[1] // _GROUP
    if scores.device.type != "cpu" or groups < 2 * count:
        values, columns = scores.topk(count, dim=1)
        return values, columns
    # A group's columns lie `groups` apart, so that maxima are taken of whole stretches of memory at once.
    grouped = scores[:, : groups * _GROUP].view(len(scores), _GROUP, groups)
    _, chosen = largest(grouped.amax(1), count)
    members = torch.arange(0, groups * _GROUP, groups)
    rest = torch.arange(groups * _GROUP, scores.shape[1])
    columns = torch.cat([(chosen[:, None] + members[:, None]).flatten(1), rest.expand(len(scores), -1)], 1)
    values, order = scores.gather(1, columns).topk(count, dim=1)
    return values, columns.gather(1, order)


def top_k_softmax(scores: Tensor, top_k: int) -> TopK:
    """Take the softmax of the `top_k` largest scores of every row; of all, where there are fewer.

    Args:
        scores: (Q, N); -inf = masked. A row that is masked throughout gets weights of 0.
        top_k: at least 1.
    """
    values, indices = largest(scores, min(top_k, scores.shape[1]))
    return top_k_of(values.float(), indices)


def top_k_of(similarity: Tensor, indices: Tensor) -> TopK:
    """Weigh (Q, K) float32 similarities, nearest first, of elements: 0 all along a row that is masked throughout."""
    weights = similarity.softmax(1)  # PyTorch subtracts the maximum
    return TopK(similarity, torch.where(torch.isneginf(similarity[:, :1]), 0.0, weights), indices)


def joined_chunks(chunks: Sequence[TopK]) -> TopK:
    """Put the answers for consecutive queries one after the other; K is the same in all."""
    return TopK(
        torch.cat([chunk.similarity for chunk in chunks]),
        torch.cat([chunk.weights for chunk in chunks]),
        torch.cat([chunk.indices for chunk in chunks]),
    )


def read_out(top: TopK, values: Tensor) -> Tensor:
    """Return (Q, C): the weighted sum of (N, C) float32 memory values."""
    return functional.embedding_bag(top.indices, values, per_sample_weights=top.weights, mode="sum")
