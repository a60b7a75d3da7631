"""The plain way and ours give the same masks: what the speed of both is compared by."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.lively_weights import textured
from benchmarks.xmem_reference import ReferenceTracker
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem


@pytest.mark.parametrize(("mem_every", "frames", "consolidations"), [(1, 16, 2), (2, 21, 1)])
def test_our_tracker_equals_the_plain_one_through_consolidations(
    weights: Path, mem_every: int, frames: int, consolidations: int
) -> None:
    plain = ReferenceTracker(torch.load(weights, weights_only=True), mem_every=mem_every)
    ours = XMemTracker(load_xmem(weights), XMemConfig(permanent_memory=False, mem_every=mem_every))
    labels = torch.zeros(44, 60, dtype=torch.int64)
    labels[6:28, 6:28], labels[14:36, 36:54] = 1, 2
    for index in range(frames):
        image = textured(3, (44, 60)).roll((index // 2, index), (1, 2))
        given = (labels, [1, 2]) if index == 0 else (None, None)
        expected, got = plain.step(image, *given), ours.step(image, *given)
        difference = (expected - got).abs()
        assert float(difference.mean()) < 2e-4
        assert float(difference.quantile(0.999)) < 2e-2
    assert ours.memory.long_term_elements == consolidations * 5 * 12, "of five frames of 3 x 4 cells each"
