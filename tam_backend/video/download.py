"""Download one file from a host that is not trusted: redirects, size and time are checked on the way."""

from __future__ import annotations

import errno
import http.client
import socket
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.parse import urljoin

from tam_backend.errors import (
    MediaError,
    MediaForbiddenError,
    MediaNotFoundError,
    MediaTimeoutError,
    MediaTooLargeError,
    UnreadableMediaError,
)
from tam_backend.video.addresses import RemoteFile, percent_encoded, require_web_address

MAX_REDIRECTS = 5
_CHUNK_BYTES = 1 << 16
_REDIRECTS = frozenset({301, 302, 303, 307, 308})


class Downloader:
    """Fetches files within limits. http.client underneath: it follows nothing and knows no netrc, cookies or proxies.

    Args:
        check_host: raises MediaForbiddenError for an address whose host is not allowed.
        authorization: headers for Label Studio; called only when Label Studio is asked.
        max_bytes: largest file.
        timeout_s: longest time for one file, redirects included; a fetch may be given less.
    """

    def __init__(
        self,
        check_host: Callable[[str], None],
        authorization: Callable[[], Mapping[str, str]],
        max_bytes: int,
        timeout_s: float,
    ) -> None:
        self._check_host = check_host
        self._authorization = authorization
        self._max_bytes = max_bytes
        self._timeout_s = timeout_s

    def fetch(self, remote: RemoteFile, target: Path, timeout_s: float | None = None) -> None:
        """Write the file to `target`, which is removed again if that fails.

        Args:
            remote: what to fetch.
            target: where to.
            timeout_s: how long this may take, where that is less than for any file.

        Raises:
            MediaNotFoundError: 404, or the host cannot be reached.
            MediaForbiddenError: 401, 403, or a redirect to a host that is not allowed.
            MediaTooLargeError, MediaTimeoutError: over the limits.
            UnreadableMediaError: any other answer, or fewer bytes than announced.
        """
        timeout_s = self._timeout_s if timeout_s is None else min(max(timeout_s, 0.0), self._timeout_s)
        deadline_s = time.monotonic() + timeout_s
        try:
            self._fetch(remote, target, deadline_s)
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, (OSError, http.client.HTTPException)):
                raise _translated(error, remote, timeout_s, expired=time.monotonic() >= deadline_s) from error
            raise

    def _fetch(self, remote: RemoteFile, target: Path, deadline_s: float) -> None:
        url = remote.url
        for hop in range(MAX_REDIRECTS + 1):
            named_by_label_studio = hop == 1 and remote.trust_redirect
            if not named_by_label_studio:
                self._check_host(url)
            headers = self._authorization() if hop == 0 and remote.at_label_studio else {}
            with _answer(url, headers, deadline_s) as response:
                if response.status in _REDIRECTS:
                    url = _redirected(url, response, remote)
                    continue
                if response.status != 200:
                    raise _refusal(response.status, remote, at_label_studio=hop == 0 and remote.at_label_studio)
                _refuse_web_page(response, remote)
                self._store(response, remote, target)
                if time.monotonic() >= deadline_s:  # a stream cut off at the deadline may look complete
                    raise TimeoutError
                return
        raise UnreadableMediaError(
            f"{remote.shown} redirects more than {MAX_REDIRECTS} times.", "Give the final address."
        )

    def _store(self, response: http.client.HTTPResponse, remote: RemoteFile, target: Path) -> None:
        announced = response.length
        too_large = MediaTooLargeError(
            f"{remote.shown} is larger than {self._max_bytes / 1e6:g} MB.", "Make it smaller or raise TAM_MEDIA_MAX_MB."
        )
        if announced is not None and announced > self._max_bytes:
            raise too_large
        stored = 0
        with target.open("wb") as file:
            # read1, not read: it returns what is there, so that a slow drip cannot hold it past the deadline.
            while chunk := response.read1(_CHUNK_BYTES):
                stored += len(chunk)
                if stored > self._max_bytes:
                    raise too_large
                file.write(chunk)
        if announced is not None and stored < announced:
            raise http.client.IncompleteRead(b"", announced - stored)


@contextmanager
def _answer(url: str, headers: Mapping[str, str], deadline_s: float) -> Iterator[http.client.HTTPResponse]:
    """Send a GET and give the answer; at the deadline its socket is shut down, whatever it is doing."""
    parts = require_web_address(url)
    remaining_s = deadline_s - time.monotonic()
    if remaining_s <= 0:
        raise TimeoutError
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=remaining_s)
    sockets: list[socket.socket] = []  # http.client forgets the socket as soon as the answer begins
    guard = threading.Timer(remaining_s, lambda: _shut_down(connection.sock, *sockets))
    guard.daemon = True
    guard.start()
    try:
        connection.connect()
        sockets.append(connection.sock)
        connection.request(
            "GET",
            percent_encoded(parts),
            headers={"Accept-Encoding": "identity", "User-Agent": "tam-backend", "Connection": "close", **headers},
        )
        with connection.getresponse() as response:
            yield response
    finally:
        guard.cancel()
        connection.close()


def _translated(
    error: OSError | http.client.HTTPException, remote: RemoteFile, timeout_s: float, *, expired: bool
) -> MediaError:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return MediaTooLargeError(f"{remote.shown} does not fit on this disk.", "Free some space in TAM_DATA_DIR.")
    # At the deadline the socket is shut down, which looks like any broken connection.
    if isinstance(error, TimeoutError) or expired:
        return MediaTimeoutError(
            f"{remote.shown} did not arrive within {timeout_s:.3g} s.",
            "Check the host, or raise TAM_MEDIA_TIMEOUT_S.",
        )
    if isinstance(error, (http.client.HTTPException, ConnectionResetError, BrokenPipeError)):
        return UnreadableMediaError(f"The download of {remote.shown} broke off.", "Try again.")
    if isinstance(error, ssl.SSLError):
        return MediaForbiddenError(f"{remote.shown} has no valid TLS certificate.", "Repair the host's certificate.")
    if isinstance(error, (socket.gaierror, ConnectionError)) or error.errno is not None:
        return MediaNotFoundError(f"The host of {remote.shown} cannot be reached.", "Check that it runs.")
    return UnreadableMediaError(f"{remote.shown} could not be downloaded.", "Check the address.")


def _shut_down(*sockets: socket.socket | None) -> None:
    for sock in sockets:
        if sock is not None:
            # Not close(): only a shutdown wakes the thread that waits in recv(). Of the plain socket: TLS would wait.
            with suppress(OSError):
                socket.socket.shutdown(sock, socket.SHUT_RDWR)


def _redirected(url: str, response: http.client.HTTPResponse, remote: RemoteFile) -> str:
    try:
        return urljoin(url, response.headers.get("Location", ""))
    except ValueError as error:
        raise UnreadableMediaError(f"{remote.shown} redirects to a malformed address.", "Check the host.") from error


def _refuse_web_page(response: http.client.HTTPResponse, remote: RemoteFile) -> None:
    """Say what is wrong when a login page, or any other, comes in place of media."""
    if response.headers.get_content_type() != "text/html":
        return
    if remote.at_label_studio:
        raise MediaForbiddenError(f"Label Studio wants a login for {remote.shown}.", _LOGIN_REMEDY)
    raise UnreadableMediaError(f"{remote.shown} is a web page, no media.", "Give the address of the file itself.")


_LOGIN_REMEDY = (
    "Set LABEL_STUDIO_API_KEY to the token of a user who may see the project, and LABEL_STUDIO_URL to the address "
    "that Label Studio is reached at."
)


def _refusal(status: int, remote: RemoteFile, *, at_label_studio: bool) -> MediaError:
    if status in (401, 403):
        remedy = (
            _LOGIN_REMEDY
            if at_label_studio
            else "The link may have expired; if the file is private, let Label Studio serve it from a storage."
        )
        return MediaForbiddenError(f"{remote.shown} may not be read (HTTP {status}).", remedy)
    if status in (404, 410):
        return MediaNotFoundError(f"{remote.shown} does not exist (HTTP {status}).", "Check the task's media.")
    if at_label_studio and status == 500:
        # What Label Studio 1.23 answers for an upload that was deleted.
        return MediaNotFoundError(
            f"Label Studio cannot serve {remote.shown} (HTTP 500).", "Check that it still exists."
        )
    return UnreadableMediaError(f"{remote.shown} was answered with HTTP {status}.", "Try again later.")
