"""Several objects' masks as one distribution over background and objects."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence

import torch
from torch import Tensor

_LEAST_PROBABILITY = 1e-7


def soft_aggregate(logits: Tensor) -> Tensor:
    """Let objects compete for every pixel, (O, H, W) float32 logits; see `aggregate`."""
    return aggregate(torch.sigmoid(logits))


def aggregate(objects: Tensor) -> Tensor:
    """Let objects compete for every pixel: XMem's rule.

    The background is what no object claims, prod(1 - p); all enter a softmax by their logits.

    Args:
        objects: (O, H, W) float32 probabilities, each on its own.

    Returns:
        (1 + O, H, W) float32; sums to 1 at every pixel, background first.
    """
    background = (1 - objects).prod(0, keepdim=True)
    every = torch.cat([background, objects]).clamp_(_LEAST_PROBABILITY, 1 - _LEAST_PROBABILITY)
    # The softmax of logits is the share of odds, which takes neither logarithm nor exponential.
    odds = every.div_(1 - every)
    return odds.div_(odds.sum(0, keepdim=True))


def overrule(probabilities: Tensor, mask: Tensor, predicted: list[int], given: list[int]) -> Tensor:
    """Put given objects over predicted ones.

    Args:
        probabilities: (1 + predicted, H, W) float32, background first; sums to 1.
        mask: (H, W) int64; its labels besides `given` are ignored.
        predicted: ids, ascending, in the order of `probabilities`.
        given: ids, ascending; none of `predicted`.

    Returns:
        (1 + predicted + given, H, W) float32, in the order of the ids: given objects are exactly 0 or 1, the others
        keep their probability outside of them, and what remains is background.
    """
    planes = {object_id: (mask == object_id).float() for object_id in given}
    free = 1 - torch.stack(list(planes.values())).sum(0)
    planes.update({object_id: probabilities[1 + i] * free for i, object_id in enumerate(predicted)})
    return torch.stack([probabilities[0] * free, *(planes[object_id] for object_id in sorted(planes))])


def put_over(probabilities: Tensor, mask: Tensor, ids: Sequence[int], revised: Collection[int]) -> Tensor:
    """Put better masks of some objects over what was predicted of all.

    Args:
        probabilities: (1 + ids, H, W) float32, background first; sums to 1.
        mask: (H, W) int64.
        ids: ascending, in the order of `probabilities`.
        revised: some of them, for which `mask` speaks.

    Returns:
        (1 + ids, H, W) float32, in the same order; see `overrule`.
    """
    kept = [i for i, object_id in enumerate(ids, start=1) if object_id not in revised]
    others = torch.cat([1 - probabilities[kept].sum(0, keepdim=True), probabilities[kept]])
    return overrule(others, mask, [ids[i - 1] for i in kept], sorted(revised))


def given_over_predicted(labels: Tensor, given: Iterable[int], predicted: Mapping[int, Tensor]) -> Tensor:
    """Put given objects over predicted ones, and let all compete.

    Args:
        labels: (H, W) int64; its labels besides `given` are ignored.
        given: the objects that it speaks for.
        predicted: object id -> (H, W) probabilities; those of `given` do not count.

    Returns:
        (1 + objects, H, W) float32, background first, objects in the order of their ids.
    """
    planes = {object_id: (labels == object_id).float() for object_id in given}
    free = 1 - sum(planes.values(), torch.zeros(labels.shape, device=labels.device))
    rest = {object_id: plane * free for object_id, plane in predicted.items() if object_id not in planes}
    planes.update(rest)
    return aggregate(torch.stack([planes[object_id] for object_id in sorted(planes)]))
