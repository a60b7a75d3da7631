"""Whether the client of the current request still listens, so that work for nobody can end.

Label Studio gives up on a /predict after 100 s, and an annotator's newer click supersedes an older one; HTTP has no
message for that, but the socket is readable with nothing to read.
"""

from __future__ import annotations

import select
import socket
import ssl
from collections.abc import Callable, Mapping
from typing import Any


def watch_client(environ: Mapping[str, Any]) -> Callable[[], bool]:
    """Return a function that tells whether this request's client hung up; any thread may call it during the request.

    Works under gunicorn and werkzeug's server. Elsewhere (another server, the test client, TLS ended in this process)
    nobody can tell, and the client counts as there.

    Args:
        environ: the WSGI environment of the request.
    """
    connection = environ.get("gunicorn.socket") or environ.get("werkzeug.socket")
    # TLS cannot be peeked into: its socket becomes readable for the protocol's own messages too.
    if not isinstance(connection, socket.socket) or isinstance(connection, ssl.SSLSocket):
        return _always_there
    return lambda: _hung_up(connection)


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
