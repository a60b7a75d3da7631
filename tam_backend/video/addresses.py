"""What the media value of a task points at, decided from its text alone; everything not allowed is refused here."""

from __future__ import annotations

import base64
import binascii
import logging
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import SplitResult, parse_qs, quote, unquote, urlsplit

from tam_backend.errors import MediaForbiddenError, MediaNotFoundError, MediaTooLargeError, UnreadableMediaError
from tam_backend.settings import Settings

logger = logging.getLogger(__name__)

CLOUD_SCHEMES = frozenset({"s3", "gs", "azure-blob"})
_DEFAULT_PORTS = {"http": 80, "https": 443}
_NOWHERE = ("", 0)
_LOOPBACK = frozenset({"localhost", "127.0.0.1", "::1"})

# Pages of Label Studio 1.23 that answer with a redirect to the address it signed for its own storage ...
_PRESIGN_PATH = re.compile(r"/(tasks|projects)/\d+/(presign|resolve)/|/storage-data/uploaded/")
# ... and all that serve media. Its token is sent to these and to no other of its pages.
_MEDIA_PATH = re.compile(rf"/data/|{_PRESIGN_PATH.pattern}")
_IMAGE_TYPES = {"jpeg": "jpg", "jpg": "jpg", "png": "png", "bmp": "bmp", "webp": "webp", "tiff": "tif"}
_DATA_URL = re.compile(r"data:image/([a-z]+)(?:;[a-z-]+=[^;,]*)*;base64,", re.IGNORECASE)


@dataclass(frozen=True)
class LocalFile:
    """A file or folder on this machine that the settings allow."""

    path: Path


@dataclass(frozen=True)
class InlineImage:
    """An image inside the task itself."""

    content: bytes
    name: str


@dataclass(frozen=True)
class RemoteFile:
    """Something to download.

    Args:
        url: absolute http(s) address.
        name: a harmless file name for it.
        shown: how to call it in messages: no query, no secrets.
        at_label_studio: Label Studio serves it; its credentials go with the first request.
        trust_redirect: the address it redirects to comes from Label Studio, so any host will do.
    """

    url: str
    name: str
    shown: str
    at_label_studio: bool = False
    trust_redirect: bool = False


Place = LocalFile | InlineImage | RemoteFile


class AddressBook:
    """Tells where media may come from: Label Studio, ourselves, and the hosts and folders of the settings.

    Args:
        settings: media_hosts, media_dirs, media_max_mb, own_url, label_studio_url.
        told: where Label Studio said that it is; "" = nowhere.
    """

    def __init__(self, settings: Settings, told: Callable[[], str] = str) -> None:
        self._settings = settings
        self._told = told
        self._heard = ""

    @property
    def _label_studio_url(self) -> str:
        """Where Label Studio is: as the settings say, else as it told; "" where that is no http(s) address."""
        if self._settings.label_studio_url:
            return self._settings.label_studio_url
        url = self._told().rstrip("/")
        is_one = is_web_address(url)
        if url not in ("", self._heard):
            self._heard = url
            if is_one:
                logger.info("Label Studio is at %.200s, it says; its credentials go there.", shown(url))
            else:
                logger.warning("Label Studio told an address that is none, %.200r: set LABEL_STUDIO_URL.", url)
        return url if is_one else ""

    def locate(self, value: str, task_id: int | None = None) -> Place:
        """Read a task's media value.

        Args:
            value: an address, a path, a cloud URI or a data: URL.
            task_id: the Label Studio task that it stands in; cloud URIs need it.

        Raises:
            MediaForbiddenError: the settings do not allow that scheme, host or folder.
            MediaNotFoundError: it cannot be looked up (no Label Studio known, no task, no such file).
            UnreadableMediaError, MediaTooLargeError: a data: URL that is no image, or too large.
        """
        value = value.strip()
        try:
            parts = urlsplit(value)
        except ValueError as error:
            raise UnreadableMediaError("The media address of the task is malformed.", "Correct it.") from error
        scheme = parts.scheme.lower()
        if scheme in ("http", "https"):
            return self._remote(value)
        if scheme in CLOUD_SCHEMES:
            return self._in_cloud_storage(value, task_id)
        if scheme == "data":
            return self._inline(value)
        if scheme == "file":
            if parts.netloc not in ("", "localhost"):
                raise MediaForbiddenError(f"file://{parts.netloc} is another machine.", "Use file:///path.")
            return self._local(unquote(parts.path))
        if scheme and "://" in value:
            raise MediaForbiddenError(
                f"Media by {scheme}:// is not supported.",
                "Use http(s), a file in TAM_MEDIA_DIRS, or s3, gs or azure-blob through Label Studio.",
            )
        return self._label_studio_page(value) if self._is_label_studio_page(value) else self._local(value)

    def check_host(self, url: str) -> None:
        """Refuse an http(s) address whose host and port are not allowed.

        Raises:
            MediaForbiddenError: with the setting that would allow it.
        """
        allowed = {_host_port(self._label_studio_url), _host_port(self._settings.own_url)}
        for entry in self._settings.media_hosts:
            allowed |= _listed(entry)
        if _host_port(url) not in allowed - {_NOWHERE}:
            raise MediaForbiddenError(
                f"Media from {urlsplit(url).scheme}://{urlsplit(url).netloc.rpartition('@')[2]} is not allowed.",
                "Add the host (with its port, if it is not 80 or 443) to TAM_MEDIA_HOSTS.",
            )

    def _remote(self, url: str) -> RemoteFile:
        parts = require_web_address(url)
        self.check_host(url)
        same_scheme = parts.scheme == urlsplit(self._label_studio_url).scheme
        at_label_studio = same_scheme and _host_port(url) == _host_port(self._label_studio_url)
        path = _without_prefix(parts.path, urlsplit(self._label_studio_url).path)
        at_label_studio = at_label_studio and _MEDIA_PATH.match(path) is not None and ".." not in unquote(path)
        return RemoteFile(
            url=url,
            name=_file_name(parts),
            shown=shown(url),
            at_label_studio=at_label_studio,
            trust_redirect=at_label_studio and _PRESIGN_PATH.match(path) is not None,
        )

    def _in_cloud_storage(self, uri: str, task_id: int | None) -> RemoteFile:
        if task_id is None:
            raise MediaNotFoundError(
                f"{shown(uri)} can be read only for a task, through Label Studio.", "Send the task with its id."
            )
        encoded = base64.urlsafe_b64encode(uri.encode()).decode()
        page = self._label_studio_page(f"/tasks/{task_id}/presign/?fileuri={encoded}")
        return RemoteFile(page.url, _file_name(urlsplit(uri)), shown(uri), at_label_studio=True, trust_redirect=True)

    def _is_label_studio_page(self, value: str) -> bool:
        path = _without_prefix(value.partition("?")[0], urlsplit(self._label_studio_url).path)
        if path.startswith(("/data/upload/", "/data/local-files/")):
            return True
        # A file of an allowed folder such as /data/videos is meant before Label Studio's other /data/... pages.
        return _MEDIA_PATH.match(path) is not None and not (self._is_allowed(Path(value)) and Path(value).exists())

    def _label_studio_page(self, value: str) -> RemoteFile:
        if not self._label_studio_url:
            raise MediaNotFoundError(
                f"{shown(value)} is an address of Label Studio, but where it runs is not known.",
                "Set LABEL_STUDIO_URL, or connect the backend in the project's settings.",
            )
        base = urlsplit(self._label_studio_url)
        return self._remote(f"{base.scheme}://{base.netloc}{base.path}{_without_prefix(value, base.path)}")

    def _local(self, text: str) -> LocalFile:
        try:
            path = Path(text).resolve()
        except (OSError, ValueError, RuntimeError) as error:
            raise MediaNotFoundError("The media path of the task is malformed.", "Correct it.") from error
        if not self._is_allowed(path):
            raise MediaForbiddenError(
                f"{text[:200]} is not in a folder that media may come from.", "Add its folder to TAM_MEDIA_DIRS."
            )
        if not path.exists():
            raise MediaNotFoundError(f"{text[:200]} does not exist.", "Check the path.")
        return LocalFile(path)

    def _is_allowed(self, path: Path) -> bool:
        """Tell whether a path, its symbolic links followed, lies in one of the allowed folders."""
        try:
            resolved = path.resolve()
        except (OSError, ValueError, RuntimeError):
            return False
        return any(resolved.is_relative_to(folder.expanduser().resolve()) for folder in self._settings.media_dirs)

    def allowed_images(self, paths: Iterable[Path]) -> list[Path]:
        """Leave out symbolic links that lead out of the allowed folders."""
        return [path for path in paths if self._is_allowed(path)]

    def _inline(self, value: str) -> InlineImage:
        limit_bytes = self._settings.media_max_mb * 1e6
        match = _DATA_URL.match(value[:200])
        suffix = _IMAGE_TYPES.get(match[1].lower()) if match else None
        if match is None or suffix is None:
            raise MediaForbiddenError("Only base64 images may be given as data: URLs.", "Use data:image/png;base64,...")
        if (len(value) - match.end()) * 3 / 4 > limit_bytes:
            raise MediaTooLargeError(
                f"The data: image is larger than {limit_bytes / 1e6:g} MB.", "Raise TAM_MEDIA_MAX_MB."
            )
        try:
            return InlineImage(base64.b64decode(value[match.end() :], validate=True), f"inline.{suffix}")
        except (binascii.Error, ValueError) as error:
            raise UnreadableMediaError("The data: image of the task is not base64.", "Encode it again.") from error


def shown(address: str) -> str:
    """Return an address as it may stand in messages: without query, fragment and user, which can hold secrets."""
    if address[:5].lower() == "data:":
        return "a data: image"
    try:
        parts = urlsplit(address)
    except ValueError:
        return "a malformed address"
    host = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}" if parts.scheme else ""
    # The path of a file of local storage is no secret, and without it nobody knows which file is meant.
    inner = parse_qs(parts.query).get("d", []) if parts.path.rstrip("/").endswith("/data/local-files") else []
    return f"{host}{parts.path}{'?d=' + inner[0] if inner else ''}"[:200]


def is_web_address(url: str) -> bool:
    """Tell whether this is an http(s) address with a host."""
    try:
        parts = urlsplit(url)
        return parts.scheme in _DEFAULT_PORTS and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def require_web_address(url: str) -> SplitResult:
    """Split an http(s) address; refuse everything else.

    Raises:
        MediaForbiddenError: another scheme, or no host.
    """
    if not is_web_address(url):
        raise MediaForbiddenError(f"{shown(url)} is no http(s) address.", "Correct the media address of the task.")
    return urlsplit(url)


def percent_encoded(parts: SplitResult) -> str:
    """Return the path and query of an address as they go into a request: spaces and letters outside ASCII encoded."""
    target = quote(parts.path or "/", safe="/%:@!$&'()*+,;=~-._")
    return f"{target}?{quote(parts.query, safe='/%:@!$&()*+,;=~-._?')}" if parts.query else target


def _host_port(url: str) -> tuple[str, int]:
    """Return (host, port); the names of this machine count as one."""
    try:
        parts = urlsplit(url)
        host = (parts.hostname or "").rstrip(".").lower()
        port = parts.port or _DEFAULT_PORTS.get(parts.scheme, 0)
    except ValueError:
        return _NOWHERE
    return "localhost" if host in _LOOPBACK else host, port


def _listed(entry: str) -> set[tuple[str, int]]:
    """Return the (host, port)s that an entry of media_hosts stands for: both usual ports if it names none."""
    address = entry if "://" in entry else f"//{entry}"
    host, port = _host_port(address)
    if not host:
        return set()
    return {(host, port)} if port else {(host, default) for default in _DEFAULT_PORTS.values()}


def _without_prefix(path: str, prefix: str) -> str:
    """Cut the folder that Label Studio is served under (http://host/label-studio) off a path."""
    return path.removeprefix(prefix) if prefix and path.startswith(f"{prefix}/") else path


def _file_name(parts: SplitResult) -> str:
    """Return a file name that keeps the suffix and can do no harm."""
    inner = parse_qs(parts.query).get("d", [""])[0] if parts.path.rstrip("/").endswith("/data/local-files") else ""
    last = unquote(inner or parts.path).rstrip("/").rpartition("/")[2]
    return re.sub(r"[^A-Za-z0-9._-]", "_", last)[-80:].lstrip(".") or "media"
