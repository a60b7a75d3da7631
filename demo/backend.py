"""The backend as people start it: `tam-backend serve` in a process of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.errors import DemoError
from demo.label_studio import LabelStudio
from demo.processes import ServerProcess, free_port

START_LIMIT_S = 120


@dataclass(frozen=True)
class BackendServer:
    """A running backend, and the environment in which `tam-backend` speaks for it."""

    url: str
    env: Mapping[str, str] = field(repr=False)
    process: ServerProcess = field(repr=False)


def console_script() -> str:
    """Return the path of `tam-backend` beside the running Python."""
    return os.path.join(os.path.dirname(sys.executable), "tam-backend")  # noqa: PTH118, PTH120 - no symlink followed


def tam_backend(backend: BackendServer, *words: str) -> str:
    """Run a `tam-backend` command with a server's settings; return what it prints.

    Raises:
        DemoError: it failed; shows what it printed.
    """
    done = subprocess.run(  # noqa: S603 - our own command
        [console_script(), *words],
        env={**os.environ, **backend.env},
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise DemoError(f"`tam-backend {' '.join(words)}` failed:\n{done.stdout}{done.stderr}")
    return done.stdout


@contextmanager
def running_backend(
    label_studio: LabelStudio,
    data_dir: Path,
    *,
    port: int | None = None,
    extra_env: Mapping[str, str] | None = None,
    waiting: Callable[[float], None] | None = None,
) -> Iterator[BackendServer]:
    """Start the backend for a Label Studio, wait until it is healthy, end it on leaving.

    Args:
        label_studio: the one it serves.
        data_dir: its registered videos; used again if it is there.
        port: preferred port; another one is taken if it is in use.
        extra_env: more settings.
        waiting: called while it starts, with the seconds waited.

    Raises:
        DemoError: it does not come up.
    """
    port = free_port(port)
    url = f"http://localhost:{port}"
    data_dir.mkdir(parents=True, exist_ok=True)
    env = {
        "TAM_DATA_DIR": str(data_dir.resolve()),
        "TAM_PORT": str(port),
        "TAM_PUBLIC_URL": url,
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "PYTHONUNBUFFERED": "1",
        **(extra_env or {}),
    }
    process = ServerProcess("The backend", [console_script(), "serve"], env, data_dir / "backend.log")
    try:
        process.wait_until_ready(f"{url}/health", START_LIMIT_S, waiting)
        yield BackendServer(url, env, process)
    finally:
        process.stop()
