"""What gunicorn serves in tests: the app over a fake backend whose predict waits until it is told or deserted.

Jobs make its state visible over HTTP: task 7 is "running" while a predict waits, "cancelled" once its client hung up.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path

from fake_backend import FakeBackend, make_settings
from flask import Flask

from tam_backend.errors import CancelledError
from tam_backend.server.app import create_app


def make_slow(backend: FakeBackend, longest_s: float = 60.0) -> FakeBackend:
    def wait(cancelled: Callable[[], bool]) -> None:
        with backend.jobs.start(7, "1.2", 1) as job:
            deadline = time.monotonic() + longest_s
            while time.monotonic() < deadline and not job.cancel_requested:
                if cancelled():
                    raise CancelledError("The client hung up.")
                time.sleep(0.02)

    backend.on_predict = wait
    return backend


def make_app() -> Flask:
    data_dir = Path(os.environ["SLOW_APP_DATA"])
    return create_app(make_settings(data_dir, body_timeout_s=1.5), make_slow(FakeBackend(data_dir)))  # type: ignore[arg-type]
