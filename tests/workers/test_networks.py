"""The networks are loaded once; whatever keeps them from loading is told as it is, and tried again."""

from __future__ import annotations

import threading
from concurrent.futures import CancelledError
from pathlib import Path
from typing import Any

import pytest
from colour_models import ColourModels
from fake_backend import make_settings

from tam_backend.engine import TrackAnything
from tam_backend.errors import BusyError, WeightsError
from tam_backend.workers.networks import Networks


@pytest.mark.parametrize(
    "failure",
    [TimeoutError("the disk"), WeightsError("No weights."), OSError("the disk"), CancelledError(), MemoryError()],
    ids=lambda failure: type(failure).__name__,
)
def test_networks_that_failed_to_load_are_tried_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, failure: Exception
) -> None:
    tries: list[int] = []

    def load(*_: Any, **__: Any) -> TrackAnything:
        tries.append(1)
        if len(tries) < 3:
            raise failure
        return TrackAnything(ColourModels().models())

    monkeypatch.setattr(TrackAnything, "load", load)
    networks = Networks(make_settings(tmp_path))
    for _ in range(2):
        with pytest.raises(type(failure)) as told:
            networks.get(30)
        assert told.value is failure
        assert networks.failure is failure, "the status page says why"
        assert not networks.ready
    loaded = networks.get(30)
    assert networks.get(30) is loaded
    assert (len(tries), networks.ready, networks.failure) == (3, True, None)


def test_who_does_not_wait_long_enough_is_told_so_and_they_are_loaded_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    goes_on, tries = threading.Event(), []

    def load(*_: Any, **__: Any) -> TrackAnything:
        tries.append(1)
        assert goes_on.wait(30)
        return TrackAnything(ColourModels().models())

    monkeypatch.setattr(TrackAnything, "load", load)
    networks = Networks(make_settings(tmp_path))
    for _ in range(3):
        with pytest.raises(BusyError, match="still being loaded"):
            networks.get(0.01)
    assert networks.failure is None
    goes_on.set()
    assert networks.get(30) is networks.get(30)
    assert len(tries) == 1
