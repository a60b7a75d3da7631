from __future__ import annotations

import copy
from importlib.util import find_spec
from typing import Any

import pytest
import torch

from tam_backend.models.cutie_tracker.cutie_network import CutieNetwork
from tam_backend.models.cutie_tracker.cutie_quick import quicken

# The extra `cutie`: without it there is nothing to try here.
collect_ignore_glob = [] if find_spec("cutie") else ["test_*.py"]


@pytest.fixture(scope="session")
def published_cutie() -> Any:
    """The package's small network with lively weights; not to be changed."""
    from benchmarks.lively_cutie import lively_cutie

    return lively_cutie("small")


@pytest.fixture(scope="session")
def cutie(published_cutie: Any) -> CutieNetwork:
    """The same as `load_cutie` gives it; not to be changed."""
    return CutieNetwork(quicken(copy.deepcopy(published_cutie), torch.device("cpu")))
