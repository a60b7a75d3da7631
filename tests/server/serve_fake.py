"""`python serve_fake.py PORT`: the real `serve` over the slow fake backend, or over none that can start."""

import os
import sys
from pathlib import Path

from fake_backend import FakeBackend, make_settings
from flask import Flask
from slow_app import make_slow

from tam_backend.errors import ProfileError
from tam_backend.server.app import create_app
from tam_backend.server.serve import serve
from tam_backend.settings import Settings


def make_app(settings: Settings) -> Flask:
    if settings.profile == "nonesuch":
        raise ProfileError("There is no profile nonesuch.", "Choose compact.")
    return create_app(settings, make_slow(FakeBackend(settings.data_dir)))  # type: ignore[arg-type]


if __name__ == "__main__":
    serve(
        make_settings(
            Path(os.environ["SLOW_APP_DATA"]),
            port=int(sys.argv[1]),
            profile=os.environ.get("PROFILE", "compact"),
            host=os.environ.get("SERVE_HOST", "127.0.0.1"),
            http_threads=2,
            max_waiting=4,
            body_timeout_s=1.5,
        ),
        make_app,
    )
