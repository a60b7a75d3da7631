"""From the media value of a task to a `VideoSource`; everything from the network is hostile until checked."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol

import cv2
import numpy as np

from tam_backend.errors import EmptyVideoError, InvalidInputError, MediaError
from tam_backend.settings import Settings
from tam_backend.types import RgbFrame, VideoSource
from tam_backend.video import open_video
from tam_backend.video.addresses import AddressBook, InlineImage, LocalFile, Place, RemoteFile
from tam_backend.video.base import FrameSource
from tam_backend.video.borrowed_video import BorrowedVideo
from tam_backend.video.download import Downloader
from tam_backend.video.download_cache import BorrowedFile, DownloadCache
from tam_backend.video.images import image_size_hw, images_in, read_image
from tam_backend.video.limits import check_index
from tam_backend.video.source import FrameSubset

_Borrow = Callable[[Place, float | None], BorrowedFile]

_KINDS: Mapping[type, str] = {
    type(None): "null", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object",
}  # fmt: skip


class OwnMedia(Protocol):
    """The videos that we serve ourselves; see `VideoLibrary`."""

    def own_frame(self, url: str) -> tuple[str, int] | None:
        """Return the video's id and the 0-based index of a frame, from its signed URL; None for other URLs."""

    def own_video(self, url: str) -> str | None:
        """Return the video's id, from its signed URL; None for other URLs."""

    def open(self, video_id: str) -> VideoSource:
        """Open a video."""


class MediaFetcher:
    """Opens what tasks show: from Label Studio, allowed hosts and folders, cloud storage, or our own frame URLs.

    Args:
        settings: label_studio_url, own_url, media_hosts, media_dirs, media_max_mb, media_timeout_s, cache_mb, data_dir.
        label_studio_url: where Label Studio said that it is, "" = nowhere; asked for where the settings do not tell.
        authorization: headers for Label Studio, asked for whenever it is called; no other host ever sees them.
        own: what our own URLs mean, so that they need no HTTP request to ourselves; None: they are as any others.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        label_studio_url: Callable[[], str] = str,
        authorization: Callable[[], Mapping[str, str]] = dict,
        own: OwnMedia | None = None,
    ) -> None:
        max_bytes = int(settings.media_max_mb * 1e6)
        self._addresses = AddressBook(settings, label_studio_url)
        self._own = own
        self._downloader = Downloader(self._addresses.check_host, authorization, max_bytes, settings.media_timeout_s)
        self._cache = DownloadCache.of(settings)

    def open_media(
        self, value: str | Sequence[str], *, task_id: int | None = None, timeout_s: float | None = None
    ) -> VideoSource:
        """Open the media of a task; close the source when done, so that its file may leave the cache.

        Args:
            value: a video or an image (address, path, cloud URI, data: URL), or a list of images, one per frame. The
                frames of a list are downloaded when they are read.
            task_id: the Label Studio task that shows it; needed for cloud URIs.
            timeout_s: how long the download that opening takes may last, where that is less than media_timeout_s,
                which bounds the download of each further frame.

        Raises:
            InvalidInputError: it is neither a text nor a list of texts.
            MediaForbiddenError: the settings or the host do not allow it.
            MediaNotFoundError, MediaTooLargeError, MediaTimeoutError: it does not arrive.
            UnreadableMediaError, EmptyVideoError: it is nothing that can be decoded.
            NotFoundError: one of our own URLs, of a video that is not registered any more.
        """
        if isinstance(value, str):
            return self._open_one(value, task_id, timeout_s)
        _check_list(value)
        if not value:
            raise EmptyVideoError("The task's list of frames is empty.", "Import the video again.")
        own = self._own_subset(value)
        if own is not None:
            return own
        places = [self._addresses.locate(url, task_id) for url in value]
        return _FrameList(places, self._borrow, timeout_s)

    def bring(self, value: str, folder: Path, *, task_id: int | None = None) -> Path:
        """Return the file that a task shows, to stay: one on this machine where it is, any other as `download` does.

        Args:
            value: an address, a path or a cloud URI.
            folder: for what is downloaded.
            task_id: the Label Studio task that shows it; needed for cloud URIs.

        Raises:
            MediaError, InvalidInputError: as `download` says.
        """
        place = self._addresses.locate(value, task_id)
        return place.path if isinstance(place, LocalFile) else self._kept(place, folder)

    def download(self, address: str, folder: Path) -> Path:
        """Bring a file from the web into a folder, to stay there; return its path.

        It lies in a folder of its own, named after its content: a file that has changed on the web is another one, and
        what was made of the older one goes on showing that.

        Args:
            address: http(s), or a page of Label Studio.
            folder: made if it is not there.

        Raises:
            InvalidInputError: it is no address of a single file on the web.
            MediaError: as `open_media` says.
        """
        return self._kept(self._addresses.locate(address), folder)

    def _kept(self, place: Place, folder: Path) -> Path:
        if not isinstance(place, RemoteFile):
            raise InvalidInputError("It is no web address (URL).", "Give http://... or https://..., or a file.")
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryDirectory(dir=folder, prefix=".part-") as part:
            arrived = Path(part) / place.name
            self._downloader.fetch(place, arrived)
            with arrived.open("rb") as file:
                content = _digest(file)
            kept = folder / content / place.name
            if not kept.exists():
                kept.parent.mkdir(exist_ok=True)
                arrived.replace(kept)
        return kept

    def _open_one(self, value: str, task_id: int | None, timeout_s: float | None) -> VideoSource:
        if self._own is not None:
            video_id = self._own.own_video(value)
            if video_id is not None:
                return self._own.open(video_id)
            own = self._own_subset([value])
            if own is not None:
                return own
        place = self._addresses.locate(value, task_id)
        if not isinstance(place, LocalFile):
            return BorrowedVideo(self._borrow(place, timeout_s))
        if place.path.is_dir():
            return open_video(self._addresses.allowed_images(images_in(place.path)))
        return open_video(place.path)

    def _own_subset(self, urls: Sequence[str]) -> VideoSource | None:
        """Open the frames of one of our own videos; None if not all are frames of the same one."""
        if self._own is None:
            return None
        frames = [self._own.own_frame(url) for url in urls]
        video_id = frames[0][0] if frames[0] is not None else None
        indices = [frame[1] for frame in frames if frame is not None and frame[0] == video_id]
        if video_id is None or len(indices) < len(urls):
            return None
        video = self._own.open(video_id)
        try:
            return FrameSubset(video, indices)
        except BaseException:
            video.close()
            raise

    def _borrow(self, place: Place, timeout_s: float | None) -> BorrowedFile:
        if isinstance(place, LocalFile):
            return BorrowedFile(place.path)
        if isinstance(place, InlineImage):
            return self._cache.borrow(f"data:{sha256(place.content).hexdigest()}", place.name, partial(_write, place))
        return self._cache.borrow(place.url, place.name, partial(self._downloader.fetch, place, timeout_s=timeout_s))


def _digest(file: BinaryIO) -> str:
    """Return 16 hex digits that stand for a file's content."""
    digest = sha256()
    while chunk := file.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()[:16]


def _check_list(value: object) -> None:
    """Refuse what a task's JSON can hold in place of a list of addresses."""
    wrong = (
        next((each for each in value if not isinstance(each, str)), "") if isinstance(value, (list, tuple)) else value
    )
    if not isinstance(wrong, str):
        where = "is" if wrong is value else "is a list with"
        raise InvalidInputError(
            f"The media of the task {where} {_KINDS.get(type(wrong), 'of an unknown kind')}.",
            "Give an address, or a list of addresses, one for each frame.",
        )


def _write(image: InlineImage, target: Path) -> None:
    target.write_bytes(image.content)


class _FrameList(FrameSource):
    """Images that are fetched when they are read. Opening fetches the first, to know the size.

    Pages of a list may differ in size: those of another size than the first are scaled to it, whatever their shape.
    """

    def __init__(self, places: Sequence[Place], borrow: _Borrow, timeout_s: float | None) -> None:
        self._places = places
        self._borrow = borrow
        self._own_sizes: dict[int, tuple[int, int]] = {}
        first = self._read(0, timeout_s)
        super().__init__(_name(places[0]), (first.shape[0], first.shape[1]))

    def __repr__(self) -> str:
        return f"<{len(self)} images from {self.name!r} on>"

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, index: int) -> RgbFrame:
        index = operator.index(index)
        check_index(self.name, index, len(self))
        frame = self._read(index)
        self._own_sizes[index] = (frame.shape[0], frame.shape[1])
        if self._own_sizes[index] == self.size_hw:
            return frame
        height, width = self.size_hw
        return np.ascontiguousarray(cv2.resize(frame, (width, height), interpolation=cv2.INTER_AREA))

    def own_size_hw(self, index: int) -> tuple[int, int]:
        index = operator.index(index)
        check_index(self.name, index, len(self))
        if index not in self._own_sizes:
            file = self._borrow(self._places[index], None)
            try:
                self._own_sizes[index] = image_size_hw(file.path)
            finally:
                file.give_back()
        return self._own_sizes[index]

    def file_of(self, index: int) -> Path | None:
        """Return the image on this machine that a frame is; None for one that is downloaded, as it may leave again."""
        check_index(self.name, index, len(self))
        place = self._places[index]
        return place.path if isinstance(place, LocalFile) else None

    def close(self) -> None:
        """Nothing is held between reads."""

    def _read(self, index: int, timeout_s: float | None = None) -> RgbFrame:
        file = self._borrow(self._places[index], timeout_s)
        try:
            return read_image(file.path)
        except MediaError:
            file.discard()
            raise
        finally:
            file.give_back()


def _name(place: Place) -> str:
    return place.path.name if isinstance(place, LocalFile) else place.name
