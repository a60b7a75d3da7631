"""`tam-backend serve`: gunicorn, set up the one way that fits this app."""

from __future__ import annotations

import logging
import signal
import socket
import struct
import sys
from collections.abc import Callable
from pathlib import Path
from types import FrameType
from typing import Any

from flask import Flask
from gunicorn.app.base import BaseApplication
from gunicorn.errors import AppImportError

from tam_backend.errors import InvalidInputError, TamError
from tam_backend.server.app import create_app
from tam_backend.settings import Settings

# How long a stop waits for answers that are under way; running propagations are asked to end at once.
_GRACE_S = 10
# Silence ends a connection this much later than a body's own limit, which has a better answer.
_AFTER_THE_BODY_S = 0.5


def serve(settings: Settings, make_app: Callable[[Settings], Flask] = create_app) -> None:
    """Serve until SIGTERM or SIGINT; does not return, but ends the process as gunicorn does.

    One worker process, because the networks fill a device once and the sessions live in its memory; many threads, so
    that waiting predicts never keep /health or frames waiting. No timeout: gunicorn's would kill a propagation.

    Args:
        settings: address, threads and everything else.
        make_app: builds the app, in the worker.

    Raises:
        InvalidInputError: the address cannot be bound.
    """
    configure_logging(settings.log_level)
    listener = _bind(settings.host, settings.port)
    _give_up_on_silence(listener, settings.body_timeout_s + _AFTER_THE_BODY_S)
    threads = settings.http_threads + settings.max_waiting
    bound = settings.model_copy(update={"port": listener.getsockname()[1], "http_threads": threads})
    _Server(bound, listener, make_app).run()


def configure_logging(level: str) -> None:
    """Log to stderr in one format, unless the process has set its logging up already."""
    logging.basicConfig(level=level, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _bind(host: str, port: int) -> socket.socket:
    """Bind and listen here, because gunicorn would try a port in use for five seconds and then just exit."""
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        listener = socket.socket(family, kind, protocol)
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind(address)
        listener.listen(256)
    except OSError as error:
        raise InvalidInputError(
            f"Cannot listen on {host}, port {port}: {error.strerror or error}.",
            "Something else may run there: choose another --port (0 = any free one), or check --host.",
        ) from None
    return listener


def _give_up_on_silence(listener: socket.socket, limit_s: float) -> None:
    """Let reads of the connections that it accepts fail after so long without a byte.

    gunicorn's threads read headers without any limit: a few half-sent ones would keep all of them. Linux hands this
    option of a listening socket down to its connections; elsewhere it may do nothing. gunicorn then closes them one by
    one in its main thread, up to 2 s each if the client keeps its side open: a flood of them still makes others wait.
    """
    whole_s = int(limit_s)
    limit = struct.pack("@ll", whole_s, int((limit_s - whole_s) * 1e6))  # struct timeval
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)


class _Server(BaseApplication):  # type: ignore[misc]  # gunicorn has no types
    """gunicorn without its command line and configuration files."""

    def __init__(self, settings: Settings, listener: socket.socket, make_app: Callable[[Settings], Flask]) -> None:
        self._settings = settings
        self._listener = listener
        self._make_app = make_app
        super().__init__()

    def load_config(self) -> None:
        options: dict[str, Any] = {
            "bind": f"fd://{self._listener.detach()}",
            "workers": 1,
            "worker_class": "gthread",
            "threads": self._settings.http_threads,
            "timeout": 0,
            "graceful_timeout": _GRACE_S,
            "keepalive": 5,
            "loglevel": "warning",
            "proc_name": "tam-backend",
            "control_socket_disable": True,
            "when_ready": lambda _: print(_welcome(self._settings), file=sys.stderr, flush=True),
            "post_worker_init": _prepare_worker,
            "worker_exit": _close_backend,
        }
        if Path("/dev/shm").is_dir():  # noqa: S108 - gunicorn's own heartbeat file; /tmp may be a disk, and block
            options["worker_tmp_dir"] = "/dev/shm"  # noqa: S108
        for name, value in options.items():
            if name in self.cfg.settings:  # the control socket came with gunicorn 25
                self.cfg.set(name, value)

    def load(self) -> Flask:
        """Build the app in the worker, after the fork: neither CUDA nor OpenMP's threads survive one."""
        try:
            return self._make_app(self._settings)
        except TamError as error:
            # gunicorn prints this one without a traceback and ends, instead of starting the worker again and again.
            raise AppImportError(f"Error: {error}") from error


def _prepare_worker(worker: Any) -> None:
    _end_jobs_on_signals(worker)
    worker.log.error_log.addFilter(_is_no_silence)


def _close_backend(_server: Any, worker: Any) -> None:
    """Write what waits to be written; a worker whose app could not be made has none."""
    app = getattr(worker, "wsgi", None)
    if app is not None:
        app.extensions["tam_backend"].close()


def _is_no_silence(record: logging.LogRecord) -> bool:
    """Keep clients that fell silent out of the log, which anybody could fill with gunicorn's tracebacks of them."""
    return not record.exc_info or not isinstance(record.exc_info[1], BlockingIOError)


def _end_jobs_on_signals(worker: Any) -> None:
    """Ask running propagations to end when the worker is told to stop: it waits for its threads."""
    jobs = worker.wsgi.extensions["tam_backend"].jobs

    def end_jobs_before(handler: Callable[[int, FrameType | None], Any]) -> Callable[[int, FrameType | None], Any]:
        def handle(number: int, frame: FrameType | None) -> Any:
            jobs.interrupt_all()
            return handler(number, frame)

        return handle

    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
        handler = signal.getsignal(number)
        if callable(handler):
            signal.signal(number, end_jobs_before(handler))


def _welcome(settings: Settings) -> str:
    url = settings.own_url
    lines = [
        f"tam-backend serves {settings.profile} on {settings.host}, port {settings.port}",
        f"  status page   {url}/",
        f"  connect       in Label Studio: Settings > Model > Connect Model, URL {settings.connect_url},",
        "                with 'Use for interactive preannotations' on",
        "  stop          Ctrl-C",
    ]
    if settings.basic_auth_user:
        lines.insert(3, f"                with basic authentication as {settings.basic_auth_user}")
    elif settings.host not in ("127.0.0.1", "localhost", "::1"):
        lines.append(
            "  note          without BASIC_AUTH_USER and BASIC_AUTH_PASS, whoever reaches this port may use it"
        )
    return "\n".join(lines)
