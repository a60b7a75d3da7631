"""Shared by the server's tests: an app over the fake backend."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from fake_backend import FakeBackend, make_settings
from flask import Flask
from flask.testing import FlaskClient

from tam_backend.server.app import create_app

MakeApp = Callable[..., Flask]


@pytest.fixture
def backend(tmp_path: Path) -> FakeBackend:
    return FakeBackend(tmp_path / "data")


@pytest.fixture
def make_app(backend: FakeBackend, tmp_path: Path) -> MakeApp:
    """make_app(**settings) -> the app over `backend`."""

    def make(**overrides: Any) -> Flask:
        return create_app(make_settings(tmp_path / "data", **overrides), backend)

    return make


@pytest.fixture
def client(make_app: MakeApp) -> FlaskClient:
    return make_app().test_client()
