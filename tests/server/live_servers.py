"""Real servers on real sockets: werkzeug's in a thread, gunicorn in a process."""

from __future__ import annotations

import http.client
import json
import os
import secrets
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from flask import Flask
from werkzeug.serving import make_server

REPOSITORY = Path(__file__).resolve().parents[2]


@contextmanager
def werkzeug_server(app: Flask) -> Iterator[int]:
    """Serve the app with a thread for each request; gives the port."""
    server = make_server("127.0.0.1", 0, app, threaded=True)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield server.port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def free_port() -> int:
    """A port for a server that starts later.

    It is none of those that the system gives out by itself: a test that runs beside this one could be given it before.
    """
    while True:
        port = 10_000 + secrets.randbelow(20_000)
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def process(command: list[str], port: int, log: Path, **environment: str) -> Iterator[subprocess.Popen[bytes]]:
    """Run a server until the block ends; begins when /health answers."""
    paths = [str(REPOSITORY), str(Path(__file__).parent)]
    values = os.environ | {"PYTHONPATH": os.pathsep.join(paths), "PYTHONUNBUFFERED": "1"} | environment
    with log.open("wb") as output:
        server = subprocess.Popen(command, cwd=REPOSITORY, env=values, stdout=output, stderr=subprocess.STDOUT)
    try:
        wait_for(lambda: server.poll() is not None or answers(port), 30, log)
        assert server.poll() is None, log.read_text()
        yield server
    finally:
        if server.poll() is None:
            server.terminate()
        try:
            server.wait(15)
        except subprocess.TimeoutExpired:
            server.kill()
            server.wait()


def gunicorn_command(port: int, target: str, threads: int = 8) -> list[str]:
    return [
        sys.executable, "-m", "gunicorn", "--bind", f"127.0.0.1:{port}", "--workers", "1",
        "--threads", str(threads), "--timeout", "0", target,
    ]  # fmt: skip


def answers(port: int) -> bool:
    try:
        return request(port, "GET", "/health")[0] == 200
    except OSError:
        return False


def request(port: int, method: str, path: str, payload: Any = None, timeout_s: float = 20) -> tuple[int, Any]:
    """One request on a connection of its own: (status, JSON)."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=timeout_s)
    try:
        return request_on(connection, method, path, payload)
    finally:
        connection.close()


def request_on(connection: http.client.HTTPConnection, method: str, path: str, payload: Any = None) -> tuple[int, Any]:
    body = None if payload is None else json.dumps(payload)
    connection.request(method, path, body, {"Content-Type": "application/json"} if body else {})
    reply = connection.getresponse()
    content = reply.read()
    return reply.status, json.loads(content) if content.startswith((b"{", b"[")) else content.decode()


def wait_for(condition: Callable[[], bool], timeout_s: float = 10, log: Path | None = None) -> None:
    deadline = time.monotonic() + timeout_s
    while not condition():
        assert time.monotonic() < deadline, log.read_text() if log else "it did not come about"
        time.sleep(0.02)
