"""A store of files that all replicas and workers reach: a shared folder, or an S3-compatible store, through fsspec.

What is put there by the SHA-256 of its content is compared with that whenever it is read, so nobody is shown what was
cut short or altered. Endpoint and credentials are those of AWS's own environment; no message and no log has them.
"""

from __future__ import annotations

import hashlib
import os
import secrets
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cached_property
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from tam_backend.errors import MediaNotFoundError, MediaStoreError, UnreadableMediaError

# Of one request to S3 at a time; two parts of an upload are under way at once.
_CHUNK_BYTES = 8 << 20
_PARTS_AT_ONCE = 2
_FETCHES = 2
# A part in a shared folder that is older was left behind by a crash.
_STALE_PART_S = 24 * 3600


class MediaStore:
    """Files by name under one address.

    Args:
        address: an absolute path, file:///path, or s3://bucket/prefix; the folder or the bucket must be there.

    Raises:
        MediaStoreError: what speaks with it is not installed.
    """

    def __init__(self, address: str) -> None:
        parts = urlsplit(address)
        self._is_folder = parts.scheme in ("", "file")
        self._root = (unquote(parts.path) if parts.scheme == "file" else address).rstrip("/")
        self._root = self._root.removeprefix("s3://")
        self.shown = address
        if not self._is_folder and find_spec("s3fs") is None:
            raise MediaStoreError(
                f"{self.shown} (TAM_MEDIA_STORE) is an S3 store, and what speaks with those is not installed.",
                'Install it: pip install "tam-backend[s3]".',
            )

    def read(self, name: str) -> bytes | None:
        """Return a small file whole; None if it is not there.

        Raises:
            MediaStoreError: the store cannot be reached, or refuses us.
        """
        try:
            return b"".join(self._chunks(name))
        except MediaNotFoundError:
            return None

    def write(self, name: str, content: bytes) -> None:
        """Write a small file in one go: others see all of it or nothing.

        Raises:
            MediaStoreError: the store cannot be reached, refuses us, or is full.
        """
        with self._written(name) as place:
            self._files.pipe_file(place, content)

    def put(self, file: Path, digest: str, name: str) -> None:
        """Upload a file, unless it is there; what is there afterwards has been read again, and is right.

        Args:
            file: it stays as it is.
            digest: SHA-256 of its content, hexadecimal.
            name: in the store.

        Raises:
            MediaStoreError: the store cannot be reached, refuses us, is full, or garbles what it is given.
            UnreadableMediaError: the file was changed meanwhile.
        """
        if self._digest_of(name) == digest:
            return
        with self._written(name) as place:
            more = {} if self._is_folder else {"chunksize": _CHUNK_BYTES, "max_concurrency": _PARTS_AT_ONCE}
            self._files.put_file(str(file), place, **more)
        if self._digest_of(name) == digest:
            return
        if digest_of(file) != digest:
            raise UnreadableMediaError(f"{file.name} was changed while it was imported.", "Import it again.")
        raise MediaStoreError(
            f"{self.shown} does not give {file.name} back as it was put there.", "Look at the store's own log."
        )

    def fetch(self, name: str, digest: str, target: Path, called: str) -> None:
        """Download a file, and compare it; `target` is removed again if that fails.

        Args:
            name: in the store.
            digest: SHA-256 of what it must be, hexadecimal.
            target: where to.
            called: what people call it.

        Raises:
            MediaNotFoundError: it is not there.
            MediaStoreError: the store cannot be reached, or refuses us.
            UnreadableMediaError: what is there has another content.
            OSError: `target` cannot be written.
        """
        try:
            if any(self._download(name, target) == digest for _ in range(_FETCHES)):
                return
        except BaseException as error:
            target.unlink(missing_ok=True)
            if isinstance(error, MediaNotFoundError):
                raise MediaNotFoundError(f"{called} is not in {self.shown} any more.", error.remedy) from error
            raise
        target.unlink()
        raise UnreadableMediaError(
            f"{called} was altered or cut short in {self.shown}: it is not what was imported.",
            "Import it again with `tam-backend import`: that mends it there.",
        )

    def _download(self, name: str, target: Path) -> str:
        """Write a file to `target`, down to the disk; return its SHA-256."""
        digest = hashlib.sha256()
        with target.open("wb") as file:
            for chunk in self._chunks(name):
                digest.update(chunk)
                file.write(chunk)
            file.flush()
            os.fsync(file.fileno())  # a power cut must not leave under its name what was never compared
        return digest.hexdigest()

    def _digest_of(self, name: str) -> str:
        """Return the SHA-256 of what is in the store; "" if nothing is."""
        digest = hashlib.sha256()
        try:
            for chunk in self._chunks(name):
                digest.update(chunk)
        except MediaNotFoundError:
            return ""
        return digest.hexdigest()

    def _chunks(self, name: str) -> Iterator[bytes]:
        with (
            self._told(f"{name} cannot be read from"),
            self._files.open(f"{self._root}/{name}", "rb", block_size=_CHUNK_BYTES, cache_type="none") as source,
        ):
            while chunk := source.read(_CHUNK_BYTES):
                yield chunk

    @contextmanager
    def _written(self, name: str) -> Iterator[str]:
        """Give the place to write to. S3 shows nothing before it has all; in a folder the whole file is moved in."""
        final = f"{self._root}/{name}"
        with self._told(f"{name} cannot be written to"):
            if not self._is_folder:
                yield final
                return
            self._require_folder()
            part = f"{self._root}/parts/{secrets.token_hex(8)}"
            for place in (part, final):
                self._files.makedirs(os.path.dirname(place), exist_ok=True)  # noqa: PTH120 - a place of fsspec
            self._sweep()
            try:
                yield part
                self._files.mv(part, final)
            finally:
                if self._files.exists(part):
                    self._files.rm(part)

    def _sweep(self) -> None:
        for part in Path(self._root, "parts").iterdir():
            with suppress(FileNotFoundError):  # another importer sweeps too
                if part.stat().st_mtime < time.time() - _STALE_PART_S:
                    part.unlink()

    def _require_folder(self) -> None:
        """Refuse to make the folder ourselves: where it should be mounted and is not, nobody else would see it."""
        if not Path(self._root).is_dir():
            raise FileNotFoundError

    @contextmanager
    def _told(self, doing: str) -> Iterator[None]:
        """Turn whatever goes wrong in the store into an error that names it and says what to do."""
        try:
            yield
        except FileNotFoundError as error:
            if not self._is_there(error):
                raise MediaStoreError(
                    f"There is no {self.shown} (TAM_MEDIA_STORE).",
                    "Mount the folder, or make the bucket; it is not made for you.",
                ) from error
            raise MediaNotFoundError(
                f"{doing} {self.shown}: it is not there.", "Import the video again with `tam-backend import`."
            ) from error
        except PermissionError as error:
            raise MediaStoreError(
                f"{doing} {self.shown}: it is not allowed.",
                "Check the credentials (AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY), or the folder's permissions.",
            ) from error
        except Exception as error:
            # Clients of stores raise what they like, of several packages; its text may hold what no log shall.
            raise MediaStoreError(
                f"{doing} {self.shown}: {_reason(error)}.",
                "Check that the store runs, that it has space, and AWS_ENDPOINT_URL and the credentials.",
            ) from error

    def _is_there(self, error: FileNotFoundError) -> bool:
        if self._is_folder:
            return Path(self._root).is_dir()
        return _code(error) != "NoSuchBucket"

    @cached_property
    def _files(self) -> Any:
        import fsspec  # noqa: PLC0415 - s3fs takes a second to import

        if self._is_folder:
            return fsspec.filesystem("file")
        # Without its caches: other machines write there too, and the environment may have changed.
        return fsspec.filesystem("s3", use_listings_cache=False, skip_instance_cache=True)


def digest_of(file: Path) -> str:
    """Return the SHA-256 of a file's content, hexadecimal."""
    digest = hashlib.sha256()
    with file.open("rb") as source:
        while chunk := source.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def _reason(error: Exception) -> str:
    return str(_code(error) or (isinstance(error, OSError) and error.strerror) or type(error).__name__)


def _code(error: Exception) -> str | None:
    """Return what an S3 store calls the error."""
    response: dict[str, Any] = getattr(error.__cause__, "response", {})
    code: str | None = response.get("Error", {}).get("Code")
    return code
