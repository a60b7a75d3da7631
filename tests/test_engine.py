"""What `TrackAnything` promises beyond its sessions, which tests/session/test_session.py tries."""

from __future__ import annotations

import pytest
from colour_models import ColourModels

from tam_backend.engine import TrackAnything


def test_the_networks_cannot_be_exchanged_under_running_sessions() -> None:
    models = ColourModels().models()
    tam = TrackAnything(models)
    with pytest.raises(AttributeError):
        tam.models = ColourModels().models()  # type: ignore[misc]
    assert tam.models is models
