"""Shared by all tests: the embedded profile, loaded once, settings that no shell has a say in, and hypothesis's."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, settings
from pydantic import AliasChoices

from tam_backend.engine import TrackAnything
from tam_backend.settings import Settings

# How long an example takes tells how busy the machine is: tests run side by side, beside whatever else runs there.
settings.register_profile("busy", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("busy")


@pytest.fixture(scope="session")
def tam() -> TrackAnything:
    """The embedded default on the CPU."""
    return TrackAnything.load("compact", device="cpu")


@pytest.fixture(autouse=True, scope="session")
def _no_settings_of_the_shell() -> Iterator[None]:
    """Settings are what a test says: whoever runs the tests may have a Label Studio's address in the environment."""
    known = {f"TAM_{name}".upper() for name in Settings.model_fields}
    for field in Settings.model_fields.values():
        if isinstance(field.validation_alias, AliasChoices):
            known.update(str(each).upper() for each in field.validation_alias.choices)
    with pytest.MonkeyPatch.context() as patch:
        for name in [each for each in os.environ if each.upper() in known]:
            patch.delenv(name)
        yield
