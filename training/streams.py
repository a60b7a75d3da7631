"""Endless training samples for a DataLoader, each worker's drawn with a seed of its own."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import TypeVar

import numpy as np
import torch
from numpy.typing import NDArray

Sample = TypeVar("Sample")
Make = Callable[[int], Iterable[tuple[NDArray[np.uint8], NDArray[np.uint8]]]]


class SampleStream(torch.utils.data.IterableDataset[tuple[torch.Tensor, torch.Tensor]]):
    """Pictures with channels first, and their masks.

    Args:
        make: given a seed, pairs of (..., S, S, 3) uint8 RGB and (..., S, S) uint8: a `ClipMaker` or a `StillMaker`.
        seed: of the first worker.
    """

    def __init__(self, make: Make, seed: int) -> None:
        self._make, self._seed = make, seed

    def __iter__(self) -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        worker = torch.utils.data.get_worker_info()
        for pictures, masks in self._make(self._seed + 1000 * (worker.id if worker else 0)):
            yield torch.from_numpy(pictures).movedim(-1, -3).contiguous(), torch.from_numpy(masks)


def mixed(often: Iterable[Sample], seldom: Iterable[Sample], share: float, seed: int) -> Iterator[Sample]:
    """Yield from two endless streams, from the second one in this share of cases."""
    rng, first, second = np.random.default_rng(seed), iter(often), iter(seldom)
    while True:
        yield next(second if rng.random() < share else first)
