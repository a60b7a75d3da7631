"""Shared by the benchmarks' tests: one file of XMem weights, which takes seconds to make and 250 MB."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from benchmarks.lively_weights import lively_network


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Random lively weights in the published layout."""
    path = tmp_path_factory.mktemp("weights") / "XMem.pth"
    torch.save(lively_network(seed=3).state_dict(), path)
    return path
