"""The socket under the current request: whether its client still listens, and how long it may take to send or receive.

Label Studio gives up on a /predict after 100 s, and an annotator's newer click supersedes an older one; HTTP has no
message for that, but the socket is readable with nothing to read.
"""

from __future__ import annotations

import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any


def watch_client(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Return a function that tells whether this request's client hung up; any thread may call it during the request.

    Works under gunicorn and werkzeug's server. Elsewhere (another server, the test client, TLS ended in this process)
    nobody can tell, and the client counts as there.

    Args:
        environ: the WSGI environment of the request.
    """
    connection = _socket_of(environ)
    # TLS cannot be peeked into: its socket becomes readable for the protocol's own messages too.
    if connection is None or isinstance(connection, ssl.SSLSocket):
        return _always_there
    return lambda: _hung_up(connection)


@contextmanager
def reading_within(environ: Mapping[str, Any], limit_s: float) -> Iterator[Callable[[], bool]]:
    """End whatever reads from this request's client after `limit_s` seconds; gives whether that time was up.

    A read that is under way then sees the end of the input. A time without a byte would not do: a client could send one
    now and then for ever. Under other servers than gunicorn and werkzeug's nothing is ended.

    Args:
        environ: the WSGI environment of the request.
        limit_s: seconds, for all that is read inside the block.
    """
    over = threading.Event()

    def end() -> None:
        over.set()
        stop_reading(environ)

    timer = threading.Timer(limit_s, end)
    timer.daemon = True
    timer.start()
    try:
        yield over.is_set
    finally:
        timer.cancel()


def stop_reading(environ: Mapping[str, Any]) -> None:
    """Take nothing more from this request's client, so that the server closes the connection after the reply."""
    _shut_down(environ, socket.SHUT_RD)


@contextmanager
def sending_within(environ: Mapping[str, Any], limit_s: float) -> Iterator[None]:
    """Cut this request's client off after `limit_s` seconds, if the block has not ended by then.

    What is being sent to it then fails, as if it had hung up; by the reply's length it knows that it has not all. Under
    other servers than gunicorn and werkzeug's nothing is ended.

    Args:
        environ: the WSGI environment of the request.
        limit_s: seconds, for all that is sent inside the block.
    """
    timer = threading.Timer(limit_s, _shut_down, (environ, socket.SHUT_RDWR))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


def _shut_down(environ: Mapping[str, Any], how: int) -> None:
    connection = _socket_of(environ)
    if connection is not None:
        # Not close(): only a shutdown wakes who waits in recv() or send(). Of the plain socket: TLS would wait.
        with suppress(OSError):
            socket.socket.shutdown(connection, how)


def _socket_of(environ: Mapping[str, Any]) -> socket.socket | None:
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    return connection if isinstance(connection, socket.socket) else None


def _always_there() -> bool:
    return False


def _hung_up(connection: socket.socket) -> bool:
    try:
        # poll, not select: select refuses descriptors from 1024 up, which a busy server reaches.
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        if not poller.poll(0):
            return False
        return connection.recv(1, socket.MSG_PEEK) == b""
    except (OSError, ValueError):
        return True
