from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from torch import Tensor

from tam_backend.models.cutie_tracker.cutie_network import CutieNetwork
from tam_backend.models.cutie_tracker.cutie_quick import quicken

pytest.importorskip("cutie", reason="the extra `cutie` is not installed")

from benchmarks.lively_cutie import lively_cutie


@pytest.fixture(scope="session")
def published_cutie() -> Any:
    """The package's small network with lively weights; not to be changed."""
    return lively_cutie("small")


@pytest.fixture(scope="session")
def cutie(published_cutie: Any) -> CutieNetwork:
    """The same as `load_cutie` gives it; not to be changed."""
    return CutieNetwork(quicken(copy.deepcopy(published_cutie), torch.device("cpu")))


@pytest.fixture
def one_thread() -> Any:
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def overlap(a: Tensor, b: Tensor) -> float:
    return float((a & b).sum() / (a | b).sum().clamp(min=1))
