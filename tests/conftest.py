"""Shared by all tests: the embedded profile, loaded once, and what hypothesis may take for an example."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, settings

from tam_backend.engine import TrackAnything

# How long an example takes tells how busy the machine is: tests run side by side, beside whatever else runs there.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def tam() -> TrackAnything:
    """The embedded default on the CPU."""
    return TrackAnything.load("compact", device="cpu")
