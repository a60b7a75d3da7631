"""The folder of a dataset while it is made: video by video, resumable, and shown only when it is whole.

Everything is made in `.tam-part` inside the folder, which one export at a time holds. A video is there completely or
not at all. At the end all files are moved to their places; what we wrote is listed, as in `out_folder`.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tam_backend.errors import BusyError, InvalidInputError, OutputError
from tam_backend.out_folder import WRITTEN_LIST, content_digest, is_left_by_systems, listed

PART = ".tam-part"
"""What is not finished yet."""

ABOUT = "video.json"
"""In the folder of each staged video: what is to be remembered of it."""

_NAMED = 5


@dataclass(frozen=True)
class StagedVideo:
    """A video that is made, but not yet at its place.

    Args:
        name: the video's.
        folder: where its files lie.
        about: what was said of it when it was made.
    """

    name: str
    folder: Path
    about: Mapping[str, Any]


class DatasetFolder:
    """A folder that a dataset is written into; a context manager that holds it against other exports.

    Leaving the block by an error keeps the videos that are complete: the same export goes on with them.

    Args:
        folder: made if it is not there.
        plan: what is exported and how; videos of another plan are not gone on with. JSON.

    Raises:
        InvalidInputError: it holds files of others.
        BusyError: another export writes into it.
        OutputError: it cannot be written to.
    """

    def __init__(self, folder: Path, plan: Mapping[str, Any]) -> None:
        self.path = folder
        self._plan = json.dumps(plan, sort_keys=True)
        self._part = folder / PART
        self._videos = self._part / "videos"
        self._notes = self._part / "notes"
        self._lock: IO[str] | None = None

    def __enter__(self) -> DatasetFolder:
        with writing_to(self.path):
            others = _others(self.path)
            if others:
                named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if others[_NAMED:] else "")
                raise InvalidInputError(
                    f"{self.path} holds files that tam-backend did not write, or that were changed since: {named}.",
                    "Name another folder with --out.",
                )
            self._part.mkdir(parents=True, exist_ok=True)
            self._take()
            plan = self._part / "plan.json"
            if not plan.is_file() or plan.read_text(encoding="utf-8") != self._plan:
                for old in (self._videos, self._notes):
                    shutil.rmtree(old, ignore_errors=True)
                plan.write_text(self._plan, encoding="utf-8")
            for folder in (self._videos, self._notes):
                folder.mkdir(exist_ok=True)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._lock is not None:
            self._lock.close()

    def remembered(self, key: str) -> dict[str, Any] | None:
        """Return what an earlier run, or this one, noted under a key."""
        note = self._notes / f"{key}.json"
        return json.loads(note.read_text(encoding="utf-8")) if note.is_file() else None

    def remember(self, key: str, note: Mapping[str, Any]) -> None:
        """Note something for a later run; JSON.

        Raises:
            OutputError: the disk is full.
        """
        with writing_to(self.path):
            part = self._notes / f".{key}.part"
            part.write_text(json.dumps(note), encoding="utf-8")
            part.replace(self._notes / f"{key}.json")

    def staged(self, name: str) -> StagedVideo | None:
        """Return a video that an earlier run completed."""
        return self.completed(name) if (self._videos / name / ABOUT).is_file() else None

    def completed(self, name: str) -> StagedVideo:
        """Return a video that is made."""
        about = self._videos / name / ABOUT
        return StagedVideo(name, about.parent, json.loads(about.read_text(encoding="utf-8")))

    @contextmanager
    def video(self, name: str, about: Callable[[], Mapping[str, Any]]) -> Iterator[Path]:
        """Lend an empty folder for a video's files; the video counts as made when the block ends well.

        Args:
            name: the video's.
            about: asked at the end, for `StagedVideo.about`; JSON.

        Raises:
            OutputError: the disk is full.
        """
        part = self._videos / f".{name}.part"
        with writing_to(self.path):
            shutil.rmtree(part, ignore_errors=True)
            part.mkdir()
            yield part
            (part / ABOUT).write_text(json.dumps(about()), encoding="utf-8")
            shutil.rmtree(self._videos / name, ignore_errors=True)
            part.replace(self._videos / name)

    def publish(self, videos: Sequence[StagedVideo], assemble: Callable[[Sequence[StagedVideo], Path], None]) -> None:
        """Put the dataset in place of what an earlier export wrote.

        Args:
            videos: all of them.
            assemble: makes the whole dataset of the staged videos, in an empty folder; leaves them as they are.

        Raises:
            OutputError: the disk is full.
        """
        with writing_to(self.path):
            whole = self._part / "whole"
            shutil.rmtree(whole, ignore_errors=True)
            whole.mkdir()
            assemble(videos, whole)
            names = sorted(path.relative_to(whole).as_posix() for path in whole.rglob("*") if path.is_file())
            digests = "".join(f"{content_digest(whole / name)}  {name}\n" for name in names)
            self._clear()
            # Listed first: a file that is not in the list would be taken for somebody else's.
            (self.path / WRITTEN_LIST).write_text(digests, encoding="utf-8")
            for name in names:
                (self.path / name).parent.mkdir(parents=True, exist_ok=True)
                (whole / name).replace(self.path / name)
            shutil.rmtree(self._part)

    def _take(self) -> None:
        self._lock = (self._part / "lock").open("w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)  # given back by the system if we are killed
        except BlockingIOError:
            self._lock.close()
            raise BusyError(
                f"Another export is writing into {self.path}.", "Wait for it, or name another folder with --out."
            ) from None

    def _clear(self) -> None:
        """Remove what an earlier export wrote, and folders that are empty then."""
        for name, digest in listed(self.path).items():
            path = self.path / name
            if content_digest(path) != digest:
                continue
            path.unlink()
            for folder in path.parents:
                if folder == self.path:
                    break
                with suppress(OSError):  # others' files are in it
                    folder.rmdir()


def place(file: Path, target: Path) -> None:
    """Give a staged file its place, without copying it where the disk can do so."""
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(file, target)
    except OSError as error:
        if error.errno not in (errno.EPERM, errno.EXDEV, errno.ENOTSUP, errno.EMLINK, errno.EACCES):
            raise
        shutil.copyfile(file, target)


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Say what to do where files cannot be written.

    Raises:
        OutputError: in place of what the system raises.
    """
    try:
        yield
    except OSError as error:
        remedy = "Name a folder with --out that you may write to."
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            remedy = "Make room, and give the same command again: it goes on with the videos that are not done."
        raise OutputError(f"{folder} cannot be written to: {error.strerror or error}.", remedy) from error


def _others(folder: Path) -> list[str]:
    """Name the files that are not ours any more."""
    ours = listed(folder)
    found = []
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if name.split("/")[0] in (PART, WRITTEN_LIST) or (path.is_dir() and not path.is_symlink()):
            continue
        if is_left_by_systems(name) or (name in ours and content_digest(path) == ours[name]):
            continue
        found.append(name)
    return found
