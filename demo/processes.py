"""Servers as child processes: started, waited for, and ended with everything they started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from pathlib import Path

import requests

from demo.errors import DemoError


def free_port(preferred: int | None = None) -> int:
    """Return `preferred` if nothing listens on it on the loopback, else a free port."""
    for candidate in (preferred, 0):
        if candidate is None:
            continue
        with closing(socket.socket()) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind(("127.0.0.1", candidate))
            except OSError:
                continue
            return int(probe.getsockname()[1])
    raise DemoError("No free port on 127.0.0.1.")


class ServerProcess:
    """A server that runs as the head of its own process group, with its output in a log file.

    Args:
        name: for messages.
        argv: the command.
        env: additions to this process's environment.
        log: where its output goes (appended).
    """

    def __init__(self, name: str, argv: Sequence[str], env: Mapping[str, str], log: Path) -> None:
        self.name = name
        self.log = log
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as output:
            self._process = subprocess.Popen(  # noqa: S603 - the command is ours
                [str(part) for part in argv],
                env={**os.environ, **env},
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The id of the head of the group."""
        return self._process.pid

    def alive(self) -> bool:
        """Whether the server still runs."""
        return self._process.poll() is None

    def wait_until_ready(self, url: str, timeout_s: float, waiting: Callable[[float], None] | None = None) -> None:
        """Return when `url` answers 200.

        Args:
            url: asked once or twice a second.
            timeout_s: longest wait.
            waiting: called after each vain try with the seconds waited.

        Raises:
            DemoError: it ended, or did not answer in time; shows the end of its log.
        """
        started_s = time.monotonic()
        while True:
            waited_s = time.monotonic() - started_s
            if not self.alive():
                raise DemoError(f"{self.name} ended with exit code {self._process.returncode}.\n{self.log_end()}")
            if _answers(url):
                return
            if waited_s > timeout_s:
                raise DemoError(f"{self.name} did not answer at {url} within {timeout_s:.0f} s.\n{self.log_end()}")
            if waiting is not None:
                waiting(waited_s)
            time.sleep(0.5)

    def log_end(self, lines: int = 25) -> str:
        """Return the last lines of the log, with its path."""
        text = self.log.read_text(errors="replace").splitlines()[-lines:]
        return "\n".join([f"The end of {self.log}:", *(f"    {line}" for line in text)])

    def stop(self, patience_s: float = 10) -> None:
        """End the whole group: ask first, then insist. Calling it twice is harmless."""
        for signal_number in (signal.SIGTERM, signal.SIGKILL):
            try:
                os.killpg(self._process.pid, signal_number)
            except ProcessLookupError:
                break
            try:
                self._process.wait(patience_s)
            except subprocess.TimeoutExpired:
                continue
        self._process.wait()


def _answers(url: str) -> bool:
    try:
        return requests.get(url, timeout=5).ok
    except requests.RequestException:
        return False
