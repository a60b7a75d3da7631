"""From the media value of a task to a `VideoSource`; everything from the network is hostile until checked."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO

import cv2
import numpy as np

from tam_backend.errors import EmptyVideoError, InvalidInputError, MediaError
from tam_backend.settings import Settings
from tam_backend.types import RgbFrame, Timeline, VideoSource
from tam_backend.video import open_video
from tam_backend.video.addresses import AddressBook, InlineImage, LocalFile, Place, RemoteFile
from tam_backend.video.base import FrameSource
from tam_backend.video.download import Downloader
from tam_backend.video.download_cache import BorrowedFile, DownloadCache
from tam_backend.video.images import image_size_hw, images_in, read_image
from tam_backend.video.limits import check_index
from tam_backend.video.source import FrameSubset

OwnFrames = Callable[[str], tuple[Path, int] | None]
OwnVideo = Callable[[str], Path | None]
_Borrow = Callable[[Place, float | None], BorrowedFile]

# Room for the media of the tasks that a team has open at the same time, in units of the largest allowed file.
_CACHE_FILES = 4

_KINDS: Mapping[type, str] = {
    type(None): "null", bool: "a boolean", int: "a number", float: "a number", list: "a list", dict: "an object",
}  # fmt: skip


class MediaFetcher:
    """Opens what tasks show: from Label Studio, allowed hosts and folders, cloud storage, or our own frame URLs.

    Args:
        settings: label_studio_url, own_url, media_hosts, media_dirs, media_max_mb, media_timeout_s, data_dir.
        label_studio_url: where Label Studio said that it is, "" = nowhere; asked for where the settings do not tell.
        authorization: headers for Label Studio, asked for whenever it is called; no other host ever sees them.
        own_frames: maps one of our own signed frame URLs to (video path, 0-based frame index), others to None.
        own_video: maps one of our own video URLs to the video's path, others to None.
        cache_max_bytes: bound of the downloads kept in data_dir/downloads; None = 4 times media_max_mb.
    """

    def __init__(
        self,
        settings: Settings,
        *,
        label_studio_url: Callable[[], str] = str,
        authorization: Callable[[], Mapping[str, str]] = dict,
        own_frames: OwnFrames = lambda _: None,
        own_video: OwnVideo = lambda _: None,
        cache_max_bytes: int | None = None,
    ) -> None:
        max_bytes = int(settings.media_max_mb * 1e6)
        self._addresses = AddressBook(settings, label_studio_url)
        self._own_frames = own_frames
        self._own_video = own_video
        self._downloader = Downloader(self._addresses.check_host, authorization, max_bytes, settings.media_timeout_s)
        self._cache = DownloadCache(
            settings.data_dir / "downloads", _CACHE_FILES * max_bytes if cache_max_bytes is None else cache_max_bytes
        )

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
        own = [self._own_frames(url) for url in value]
        path = own[0][0] if own[0] is not None else None
        indices = [frame[1] for frame in own if frame is not None and frame[0] == path]
        if path is not None and len(indices) == len(value):
            return _subset(path, indices)
        places = [self._addresses.locate(url, task_id) for url in value]
        return _FrameList(places, self._borrow, timeout_s)

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
        place = self._addresses.locate(address)
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
        frame = self._own_frames(value)
        if frame is not None:
            return _subset(frame[0], [frame[1]])
        path = self._own_video(value)
        if path is not None:
            return open_video(path)
        place = self._addresses.locate(value, task_id)
        if not isinstance(place, LocalFile):
            return _BorrowedVideo(self._borrow(place, timeout_s))
        if place.path.is_dir():
            return open_video(self._addresses.allowed_images(images_in(place.path)))
        return open_video(place.path)

    def _borrow(self, place: Place, timeout_s: float | None) -> BorrowedFile:
        if isinstance(place, LocalFile):
            return BorrowedFile(place.path, lambda: None)
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


def _subset(path: Path, indices: Sequence[int]) -> VideoSource:
    video = open_video(path)
    try:
        return FrameSubset(video, indices)
    except BaseException:
        video.close()
        raise


def _write(image: InlineImage, target: Path) -> None:
    target.write_bytes(image.content)


class _BorrowedVideo(FrameSource):
    """A downloaded video, kept from eviction until it is closed."""

    def __init__(self, file: BorrowedFile) -> None:
        self._file = file
        try:
            self._video = open_video(file.path)
        except BaseException:
            _forget(file)  # it may have been replaced by the time somebody tries again
            raise
        super().__init__(self._video.name, self._video.size_hw, self._video.fps)

    def __repr__(self) -> str:
        return f"<downloaded {self._video!r}>"

    @property
    def timeline(self) -> Timeline | None:
        return self._video.timeline

    def __len__(self) -> int:
        return len(self._video)

    def __getitem__(self, index: int) -> RgbFrame:
        return self._video[index]

    def close(self) -> None:
        self._video.close()
        self._file.give_back()


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
        place = self._places[index]
        file = self._borrow(place, timeout_s)
        try:
            frame = read_image(file.path)
        except MediaError:
            if not isinstance(place, LocalFile):
                _forget(file)
            raise
        finally:
            file.give_back()
        return frame


def _forget(file: BorrowedFile) -> None:
    """Drop a download that cannot be decoded."""
    file.path.unlink(missing_ok=True)
    file.give_back()


def _name(place: Place) -> str:
    return place.path.name if isinstance(place, LocalFile) else place.name
