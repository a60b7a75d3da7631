"""Large files over bad connections: resumed where they broke off, never taken for whole before they are."""

from __future__ import annotations

import errno
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from re import match
from typing import TYPE_CHECKING

from tam_backend.errors import WeightsError

if TYPE_CHECKING:
    from requests import Response, Session

Progress = Callable[[int, int | None], None]

# A chunk that breaks off is lost: small, so that even a very bad connection gets further with each try.
_CHUNK_BYTES = 1 << 15
_CONNECT_S, _READ_S = 15, 60
# Tries in a row that bring nothing new; a connection that breaks but gets further each time is followed to the end.
MAX_FRUITLESS_TRIES = 5
_TRY_AGAIN = "Try again; what has arrived is kept and continued."
_BY_HAND = "Bring the file by hand: `tam-backend weights fetch PROFILE --from FILE`."


class _InterruptedError(Exception):
    """The connection or the server failed in a way that may pass."""


@dataclass(frozen=True)
class Partial:
    """A download under way: the bytes so far, and beside them which version of which address they belong to.

    Args:
        path: of the bytes.
    """

    path: Path

    @property
    def _origin_path(self) -> Path:
        return self.path.with_name(self.path.name + ".json")

    @property
    def size_bytes(self) -> int:
        """How much has arrived."""
        return self.path.stat().st_size if self.path.exists() else 0

    def version(self, url: str) -> str:
        """Return the ETag or date of the bytes so far; "" if they are from elsewhere, or it was never told."""
        try:
            origin = json.loads(self._origin_path.read_text(encoding="utf-8"))
            return str(origin["version"]) if origin["url"] == url else ""
        except (OSError, ValueError, KeyError, TypeError):
            return ""

    def begin(self, url: str, version: str) -> None:
        """Throw away what has arrived, and note where the new bytes come from."""
        self.path.write_bytes(b"")
        self._origin_path.write_text(json.dumps({"url": url, "version": version}), encoding="utf-8")

    def discard(self) -> None:
        """Remove the bytes and the note."""
        self.path.unlink(missing_ok=True)
        self._origin_path.unlink(missing_ok=True)

    def move_to(self, target: Path) -> None:
        """Give the whole file its name at once: nobody ever sees half of it there."""
        self.path.replace(target)
        self._origin_path.unlink(missing_ok=True)


def download(
    url: str,
    partial: Partial,
    *,
    size_bytes: int | None = None,
    on_progress: Progress = lambda *_: None,
    pause_s: float = 1.0,
) -> None:
    """Bring a file into `partial`, going on where an earlier try of the same version broke off.

    Args:
        url: http or https.
        partial: is complete afterwards; keeps what has arrived if this fails.
        size_bytes: the only right size, or None to believe the server.
        on_progress: called with the bytes so far and the bytes expected.
        pause_s: before the second try; doubled each time.

    Raises:
        WeightsError: the server refuses, has a file of another size, or breaks off again and again; the disk is full.
    """
    import requests  # noqa: PLC0415 - slow to import, and only this verb needs it

    fruitless, furthest = 0, partial.size_bytes
    with requests.Session() as session:
        while True:
            try:
                _attempt(session, url, partial, size_bytes, on_progress)
                return
            except (_InterruptedError, requests.RequestException) as error:
                arrived = partial.size_bytes
                fruitless = 0 if arrived > furthest else fruitless + 1
                furthest = max(furthest, arrived)
                if fruitless >= MAX_FRUITLESS_TRIES:
                    raise WeightsError(
                        f"{url} broke off {fruitless} times in a row at {arrived:,} bytes: {_reason(error)}.",
                        f"{_TRY_AGAIN} {_BY_HAND}",
                    ) from error
            except OSError as error:
                if error.errno in (errno.ENOSPC, errno.EDQUOT):
                    raise WeightsError(f"The disk of {partial.path.parent} is full.", _TRY_AGAIN) from error
                raise WeightsError(f"{partial.path} cannot be written: {error.strerror}.", _TRY_AGAIN) from error
            time.sleep(pause_s * 2**fruitless)


def _attempt(session: Session, url: str, partial: Partial, size_bytes: int | None, on_progress: Progress) -> None:
    offset, version = partial.size_bytes, partial.version(url)
    headers = {"Accept-Encoding": "identity"}  # compressed, its bytes could not be counted
    if offset and version:
        headers |= {"Range": f"bytes={offset}-", "If-Range": version}
    with session.get(url, headers=headers, stream=True, timeout=(_CONNECT_S, _READ_S)) as response:
        status = response.status_code
        if status == 416 and response.headers.get("Content-Range") == f"bytes */{offset}":
            return  # it had arrived in whole, but what came after was interrupted
        if status == 416 or (status == 206 and _first_byte(response) != offset):
            partial.discard()
            raise _InterruptedError("the server does not go on where asked")
        if status not in (200, 206):
            _refuse(url, status)
        if status == 200:
            offset = 0
        total = _total_bytes(response, offset)
        if size_bytes is not None and total is not None and total != size_bytes:
            partial.discard()
            raise WeightsError(
                f"{url} has {total:,} bytes; the published file has {size_bytes:,}.", f"It is another file. {_BY_HAND}"
            )
        if status == 200:
            partial.begin(url, _version(response))
        expected = size_bytes or total
        arrived = offset
        on_progress(arrived, expected)
        with partial.path.open("ab") as file:
            for chunk in response.iter_content(_CHUNK_BYTES):
                arrived += len(chunk)
                if expected is not None and arrived > expected:
                    partial.discard()
                    raise _InterruptedError("more bytes came than were announced")
                file.write(chunk)
                on_progress(arrived, expected)
    if expected is not None and arrived < expected:
        raise _InterruptedError(f"only {arrived:,} of {expected:,} bytes came")


def _refuse(url: str, status: int) -> None:
    if status in (408, 425, 429) or status >= 500:
        raise _InterruptedError(f"the server answers {status}")
    raise WeightsError(f"{url} cannot be downloaded: the server answers {status}.", _BY_HAND)


def _version(response: Response) -> str:
    """Return what `If-Range` may say: a strong ETag, or else the date of the last change."""
    etag = response.headers.get("ETag", "")
    return etag if etag and not etag.startswith("W/") else response.headers.get("Last-Modified", "")


def _first_byte(response: Response) -> int | None:
    found = match(r"bytes (\d+)-", response.headers.get("Content-Range", ""))
    return int(found[1]) if found else None


def _total_bytes(response: Response, offset: int) -> int | None:
    """Return the size of the whole file, if the server tells it."""
    found = match(r"bytes \d+-\d+/(\d+)$", response.headers.get("Content-Range", ""))
    if found:
        return int(found[1])
    length = response.headers.get("Content-Length", "")
    return offset + int(length) if length.isdecimal() else None


def _reason(error: Exception) -> str:
    return str(error) if isinstance(error, _InterruptedError) else type(error).__name__
