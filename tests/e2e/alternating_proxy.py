"""A proxy before several replicas that gives each of them every second request, whatever it is about."""

from __future__ import annotations

import http.client
import itertools
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import urlsplit

_OF_ONE_CONNECTION = frozenset({"connection", "keep-alive", "transfer-encoding", "host", "content-length"})


class AlternatingProxy(ThreadingHTTPServer):
    """Serves at `url`; passes over replicas that do not answer, as proxies do."""

    daemon_threads = True
    request_queue_size = 256  # so many may knock at once

    def __init__(self, replicas: Sequence[str]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.replicas = list(replicas)
        self.turns = itertools.count()
        self.asked: list[str] = []

    @property
    def url(self) -> str:
        return f"http://localhost:{self.server_address[1]}"


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server: AlternatingProxy

    def _pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name: value for name, value in self.headers.items() if name.lower() not in _OF_ONE_CONNECTION}
        turn = next(self.server.turns)
        for number in range(len(self.server.replicas)):
            replica = self.server.replicas[(turn + number) % len(self.server.replicas)]
            connection = http.client.HTTPConnection(urlsplit(replica).netloc, timeout=110)
            try:
                connection.connect()
            except OSError:  # it has gone: nothing was asked of it
                continue
            self.server.asked.append(replica)
            try:
                connection.request(self.command, self.path, body, headers)
                answer = connection.getresponse()
                content = answer.read()
            except (OSError, http.client.HTTPException):  # it went in the middle: whoever asked must ask again
                self.send_error(502)
                return
            finally:
                connection.close()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in _OF_ONE_CONNECTION:
                    self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)
            return
        self.send_error(503)

    do_GET = do_POST = do_DELETE = do_HEAD = do_OPTIONS = _pass_on  # noqa: N815 - so they are called

    def log_message(self, *_: Any) -> None:
        """Say nothing."""


@contextmanager
def alternating_proxy(replicas: Sequence[str]) -> Iterator[AlternatingProxy]:
    """Run a proxy for as long as the block lasts."""
    proxy = AlternatingProxy(replicas)
    threading.Thread(target=proxy.serve_forever, daemon=True).start()
    try:
        yield proxy
    finally:
        proxy.shutdown()
        proxy.server_close()
