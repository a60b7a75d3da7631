"""What `TrackAnything` promises beyond its sessions, which tests/session/test_session.py tries."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch
from colour_models import ColourModels

from tam_backend.engine import TrackAnything
from tam_backend.threads.fair_lock import FairLock


def test_the_networks_cannot_be_exchanged_under_running_sessions() -> None:
    models = ColourModels().models()
    tam = TrackAnything(models)
    with pytest.raises(AttributeError):
        tam.models = ColourModels().models()  # type: ignore[misc]
    assert tam.models is models


def test_all_networks_on_a_gpu_take_turns_and_those_of_two_gpus_do_not(tam: TrackAnything) -> None:
    def lock_on(device: str) -> FairLock:
        return TrackAnything(replace(tam.models, device=torch.device(device)))._lock

    assert lock_on("cuda:1") is lock_on("cuda:1")
    assert lock_on("cuda:1") is not lock_on("cuda:2")
    assert lock_on("cpu") is not lock_on("cpu")
