"""Shared by all tests: the embedded profile, loaded once."""

from __future__ import annotations

import pytest

from tam_backend.engine import TrackAnything


@pytest.fixture(scope="session")
def tam() -> TrackAnything:
    """The embedded default on the CPU."""
    return TrackAnything.load("compact", device="cpu")
