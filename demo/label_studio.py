"""A real Label Studio of one's own: started on a loopback port with its own data, ended with the program."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from demo.errors import DemoError
from demo.processes import ServerProcess, free_port

ROOT = Path(__file__).resolve().parent.parent
VENV_VARIABLE = "TAM_LABEL_STUDIO_VENV"
START_LIMIT_S = 300
"""First starts with migrations took 30 to 50 s on two idle cores; CI machines are not idle."""


@dataclass(frozen=True)
class LabelStudio:
    """A running Label Studio and how to get in."""

    url: str
    email: str
    password: str
    token: str = field(repr=False)
    data_dir: Path
    process: ServerProcess = field(repr=False)


def installed_venv() -> Path:
    """Return the virtual environment that Label Studio is installed in.

    Raises:
        DemoError: it is not there.
    """
    venv = Path(os.environ.get(VENV_VARIABLE) or ROOT / ".venv-labelstudio")
    if not (venv / "bin" / "label-studio").exists():
        raise DemoError(
            f"Label Studio is not installed in {venv}. Run `make .venv-labelstudio`, "
            f"or set {VENV_VARIABLE} to the virtual environment that has it."
        )
    return venv


@contextmanager
def running_label_studio(
    data_dir: Path,
    *,
    email: str = "admin@example.com",
    password: str = "one-click",  # noqa: S107 - of a throw-away server on the loopback
    token: str = "7a6d" * 10,
    port: int | None = None,
    waiting: Callable[[float], None] | None = None,
) -> Iterator[LabelStudio]:
    """Start Label Studio, wait until it answers, end it on leaving.

    Args:
        data_dir: its database and uploads; made if it is not there, used again if it is.
        email: the login that the first start creates.
        password: of that login.
        token: the legacy API token of that login, 40 hexadecimal digits.
        port: preferred port; another one is taken if it is in use.
        waiting: called while it starts, with the seconds waited.

    Raises:
        DemoError: it is not installed or does not come up.
    """
    venv = installed_venv()
    data_dir = data_dir.resolve()
    media = data_dir / "media-root"
    media.mkdir(parents=True, exist_ok=True)
    port = free_port(port)
    url = f"http://localhost:{port}"
    process = ServerProcess(
        "Label Studio",
        [
            str(venv / "bin" / "label-studio"),
            "start",
            "--no-browser",
            "--internal-host",
            "127.0.0.1",
            "--port",
            str(port),
        ],
        {
            "LABEL_STUDIO_BASE_DATA_DIR": str(data_dir),
            "LABEL_STUDIO_USERNAME": email,
            "LABEL_STUDIO_PASSWORD": password,
            "LABEL_STUDIO_USER_TOKEN": token,
            "LABEL_STUDIO_ENABLE_LEGACY_API_TOKEN": "true",
            "LABEL_STUDIO_HOST": url,
            "LABEL_STUDIO_DISABLE_SIGNUP_WITHOUT_LINK": "true",
            "LABEL_STUDIO_LOCAL_FILES_SERVING_ENABLED": "true",
            "LABEL_STUDIO_LOCAL_FILES_DOCUMENT_ROOT": str(media),
            # Without these two a backend on the loopback is refused with 403.
            "ML_BLOCK_LOCAL_IP": "false",
            "SSRF_PROTECTION_ENABLED": "false",
            "COLLECT_ANALYTICS": "false",
            "LATEST_VERSION_CHECK": "false",
            "SENTRY_DSN": "",
            "FRONTEND_SENTRY_DSN": "",
            "PYTHONUNBUFFERED": "1",
        },
        data_dir / "label-studio.log",
    )
    try:
        process.wait_until_ready(f"{url}/health", START_LIMIT_S, waiting)
        yield LabelStudio(url, email, password, token, data_dir, process)
    finally:
        process.stop()
