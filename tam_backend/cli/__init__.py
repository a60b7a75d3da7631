"""The command line: thin verbs over the floors below. torch is imported by the verbs that need it."""

# ruff: noqa: I001 - the order is that in which `--help` lists the verbs
from __future__ import annotations

from tam_backend.cli import tracking  # noqa: F401 - each registers its verbs
from tam_backend.cli import serving  # noqa: F401
from tam_backend.cli import importing  # noqa: F401
from tam_backend.cli import exporting  # noqa: F401
from tam_backend.cli import project_verbs  # noqa: F401
from tam_backend.cli import suggesting  # noqa: F401
from tam_backend.cli import adapting  # noqa: F401
from tam_backend.cli import weights_verbs  # noqa: F401
from tam_backend.cli.command_line import app, main

__all__ = ["app", "main"]
