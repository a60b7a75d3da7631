"""The plain way and ours give the same masks: what the speed of both is compared by."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.lively_weights import lively_network, textured
from benchmarks.xmem_reference import ReferenceTracker
from tam_backend.models.xmem import XMemConfig, XMemTracker, load_xmem


@pytest.mark.parametrize(("mem_every", "frames", "consolidations"), [(2, 31, 2), (5, 52, 1)])
def test_our_tracker_equals_the_plain_one_through_consolidations(
    tmp_path: Path, mem_every: int, frames: int, consolidations: int
) -> None:
    state = lively_network(seed=3).state_dict()
    torch.save(state, tmp_path / "XMem.pth")
    plain = ReferenceTracker(state, mem_every=mem_every)
    ours = XMemTracker(load_xmem(tmp_path / "XMem.pth"), XMemConfig(permanent_memory=False, mem_every=mem_every))
    labels = torch.zeros(60, 90, dtype=torch.int64)
    labels[10:40, 10:40], labels[20:50, 55:80] = 1, 2
    for index in range(frames):
        image = textured(3, (60, 90)).roll((index // 2, index), (1, 2))
        given = (labels, [1, 2]) if index == 0 else (None, None)
        expected, got = plain.step(image, *given), ours.step(image, *given)
        difference = (expected - got).abs()
        assert float(difference.mean()) < 2e-4
        assert float(difference.quantile(0.999)) < 2e-2
    assert ours.memory.long_term_elements == consolidations * 5 * 24, "of five frames of 4 x 6 cells each"
