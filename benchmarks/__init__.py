"""Speed and accuracy, each one command."""

import tam_backend  # noqa: F401 - before torch, whose threads it tells how to wait
