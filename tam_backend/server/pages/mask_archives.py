"""The masks of a stored session as a dataset in one zip, which its page offers.

It is made on disk, frame by frame, before a byte is sent: whoever downloads it gets all of it, or an error. One is made
at a time, and few are sent: each holds one of the server's threads, and clicks need the others.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryFile, mkdtemp
from typing import IO, NoReturn
from zipfile import ZIP_DEFLATED, ZIP_STORED, ZipFile

from tam_backend.errors import BusyError, CancelledError, MediaNotFoundError, NotFoundError, OutputError
from tam_backend.export.dataset import ClassTable, DatasetObject, DatasetVideo, LabelledFrame, Shown, safe_name
from tam_backend.export.dataset_folder import DatasetFolder
from tam_backend.export.dataset_format import Work
from tam_backend.export.formats import FORMATS
from tam_backend.export.overlays import Overlays
from tam_backend.export.staging import publish, stage_video
from tam_backend.out_folder import WRITTEN_LIST
from tam_backend.store.sessions import SessionStore, SessionView

DOWNLOADABLE = {name: form for name, form in FORMATS.items() if not isinstance(form, Overlays)}
"""The formats that need no frames."""

ARCHIVES = "mask-archives"
"""The folder in data_dir. Not that of the downloaded media: their cache takes all that lies there for its own."""

_WAIT_S = 0.8
# A folder younger than this may be about to be locked.
_YOUNG_S = 60.0
_UNNAMED = "object"
# A client that stalls is cut off after this, one on a line of 1 Mbit/s is not.
_PATIENCE_S, _SLOWEST_BYTES_S = 30.0, 125_000


class Downloads:
    """Makes datasets of sessions. Thread-safe.

    Args:
        store: where the masks are.
        folder: for what is being made; made if it is not there. Processes of one machine may share it: what those that
            were killed left there is deleted now.
        at_once: how many may be made or sent at the same time.
    """

    def __init__(self, store: SessionStore, folder: Path, at_once: int) -> None:
        self._store = store
        self._folder = folder
        self._held = threading.BoundedSemaphore(at_once)
        self._made = threading.BoundedSemaphore(1)
        _sweep(folder)

    @contextmanager
    def make(self, view: SessionView, form: str, hung_up: Callable[[], bool]) -> Iterator[IO[bytes]]:
        """Make a zip, to be sent inside the block from its beginning; no file of it stays afterwards.

        Args:
            view: whose masks; they are read frame by frame, as they are then.
            form: one of `DOWNLOADABLE`.
            hung_up: whether nobody waits for it any more.

        Raises:
            NotFoundError: there is no such format, or nothing was tracked yet.
            InvalidInputError: the format cannot hold so many objects.
            BusyError: another one is being made, or too many are being sent.
            CancelledError: nobody waits for it.
            OutputError: the disk is full.
        """
        if form not in DOWNLOADABLE:
            raise NotFoundError(
                f"Masks cannot be downloaded as {form[:40]!r}.", f"Known are {', '.join(DOWNLOADABLE)}."
            )
        if not view.quality:
            raise NotFoundError("Nothing has been tracked yet.", "Click an object, and Propagate.")
        with _turn(self._held, "Other downloads are being sent."):
            with _turn(self._made, "Another download is under way."):
                archive = self._archive(view, form, hung_up)
            with archive:
                yield archive

    def _archive(self, view: SessionView, form: str, hung_up: Callable[[], bool]) -> IO[bytes]:
        try:
            with _place_in(self._folder) as place:
                out = place / f"{download_name(view)}-{form}"
                self._write(view, form, out, hung_up)
                return self._zipped(out)
        except (OSError, OutputError) as error:
            raise OutputError(
                "The download cannot be written to the server's disk.",
                "Make room in TAM_DATA_DIR, and see who may write there.",
            ) from error

    def _write(self, view: SessionView, form: str, out: Path, hung_up: Callable[[], bool]) -> None:
        labels = {each: view.summary.labels.get(each) or _UNNAMED for each in sorted(view.quality)}
        video = DatasetVideo(
            download_name(view),
            view.summary.size_hw,
            lambda: self._frames(view, hung_up),
            tuple(DatasetObject(each, label, (label,)) for each, label in labels.items()),
            (int(view.summary.key.task),) if view.summary.key.task.isdecimal() else (),
            _NoPictures(),
        )
        work = Work(ClassTable(list(labels.values())))
        with DatasetFolder(out, {}) as folder:
            staged = stage_video(folder, DOWNLOADABLE[form], video, work, {})
            publish(folder, DOWNLOADABLE[form], [staged], work, f"what was tracked for task {view.summary.key.task}")

    def _frames(self, view: SessionView, hung_up: Callable[[], bool]) -> Iterator[LabelledFrame]:
        """Yield the frames that were tracked; an object that is absent is not shown."""
        for index in sorted({frame for track in view.quality.values() for frame in track}):
            if hung_up():
                raise CancelledError("The download was called off.", "")
            masks = self._store.encoded_masks(view.summary.key, index)
            yield LabelledFrame(
                index,
                tuple(
                    Shown(
                        each,
                        mask,
                        provenance=view.source[each][index],
                        quality=view.quality[each][index],
                    )
                    for each, mask in masks.items()
                    if mask.area and index in view.quality.get(each, ())
                ),
            )

    def _zipped(self, out: Path) -> IO[bytes]:
        archive = TemporaryFile(dir=self._folder)  # noqa: SIM115 - whoever sends it closes it
        try:
            with ZipFile(archive, "w") as zipped:
                for path in sorted(out.rglob("*")):
                    if path.is_file() and path.name != WRITTEN_LIST:
                        method = ZIP_STORED if path.suffix == ".png" else ZIP_DEFLATED  # a PNG is packed already
                        zipped.write(path, path.relative_to(out.parent), method)
            archive.seek(0)
        except BaseException:
            archive.close()
            raise
        return archive


def download_name(view: SessionView) -> str:
    """Return what the dataset of a session is called."""
    return safe_name(f"task-{view.summary.key.task}")


def sending_limit_s(size: int) -> float:
    """Return how many seconds the sending of so many bytes may take."""
    return _PATIENCE_S + size / _SLOWEST_BYTES_S


@contextmanager
def _turn(turns: threading.Semaphore, busy: str) -> Iterator[None]:
    if not turns.acquire(timeout=_WAIT_S):
        raise BusyError(busy, "Try again when one is done.")
    try:
        yield
    finally:
        turns.release()


@contextmanager
def _place_in(folder: Path) -> Iterator[Path]:
    """Make a folder in `folder` that is gone afterwards, and locked until then, so that `_sweep` leaves it alone."""
    folder.mkdir(parents=True, exist_ok=True)
    place = Path(mkdtemp(dir=folder))
    lock = os.open(place, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_SH)
        yield place
    finally:
        shutil.rmtree(place, ignore_errors=True)  # what cannot be deleted now is swept out later
        os.close(lock)


def _sweep(folder: Path) -> None:
    """Delete what is in `folder` and locked by nobody: the system gives a lock back when its process ends."""
    for place in list(folder.glob("*")):
        with suppress(OSError):  # it is locked, or another process sweeps too
            if time.time() - place.stat().st_mtime < _YOUNG_S:
                continue
            lock = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                shutil.rmtree(place, ignore_errors=True)
            finally:
                os.close(lock)


class _NoPictures:
    """The frames stay where they are."""

    def picture(self, index: int) -> NoReturn:
        raise MediaNotFoundError(f"Frame {index} does not leave with the masks.", "")

    def file(self, index: int) -> None:  # noqa: ARG002 - see `Pictures`
        return None

    def fps(self) -> None:
        return None
