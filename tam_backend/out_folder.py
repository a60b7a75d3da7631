"""A folder that results are written to: what others put there stays theirs.

What we write is noted in it, with the hash of its content, in a list that `sha256sum --check` reads too. Only a file
that is in the list and still has that content is ours to delete; one that somebody has edited since is not.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from pathlib import Path

from tam_backend.errors import InvalidInputError

WRITTEN_LIST = ".tam-backend.sha256"
"""The list of what we wrote, beside it."""

# What file managers leave behind in a folder that was looked at.
_LEFT_BY_SYSTEMS = frozenset({"Thumbs.db", "desktop.ini"})
_NAMED = 5


class OutFolder:
    """A folder to write into, looked through before anything is written. Used by one thread at a time.

    Args:
        folder: made by `clear` if it is not there.
        files: what may be written into it, by name.
        filled: folders in it that hold nothing but what is written: any other file in them is in the way.
        overwrite: whether files of others may be replaced by ours of the same names; all others stay all the same.

    Attributes:
        path: the folder.

    Raises:
        InvalidInputError: files of others are in the way, or it cannot be read.
    """

    def __init__(
        self, folder: Path, *, files: Collection[str], filled: Collection[str] = (), overwrite: bool = False
    ) -> None:
        self.path = folder
        self._filled = tuple(filled)
        with self._refusing():
            self._ours = {name for name, digest in listed(folder).items() if content_digest(folder / name) == digest}
            others = self._others(files)
        if others and not overwrite:
            named = ", ".join(others[:_NAMED]) + (f" and {len(others) - _NAMED} more" if len(others) > _NAMED else "")
            raise InvalidInputError(
                f"{folder} holds files that tam-backend did not write, or that were changed since: {named}.",
                "Name another folder with --out. With --overwrite files of the same names are replaced, "
                "and all others stay.",
            )

    def clear(self) -> None:
        """Make the folder, without what an earlier run wrote: a mask of another run is worse than none.

        Raises:
            InvalidInputError: it cannot be written to.
        """
        with self._refusing():
            for folder in (self.path, *(self.path / name for name in self._filled)):
                folder.mkdir(parents=True, exist_ok=True)
            for name in sorted(self._ours):
                (self.path / name).unlink()
            (self.path / WRITTEN_LIST).unlink(missing_ok=True)
            self._ours.clear()

    @contextmanager
    def writing(self, name: str) -> Iterator[Path]:
        """Lend a path to write a file to; it gets its name when the block ends well, and is removed otherwise.

        Args:
            name: one of `files`, or a path in one of `filled`, with slashes.
        """
        target = self.path / name
        # The suffix stays, because it tells some writers the format.
        part = target.with_name(f".tam-part-{target.name}")
        try:
            yield part
            # Listed first: a file that is not in the list would be taken for somebody else's.
            with (self.path / WRITTEN_LIST).open("a", encoding="utf-8") as written:
                written.write(f"{content_digest(part)}  {name}\n")
            part.replace(target)
        finally:
            part.unlink(missing_ok=True)

    def _others(self, files: Collection[str]) -> list[str]:
        there = [name for name in files if os.path.lexists(self.path / name)]
        for folder in self._filled:
            if (self.path / folder).is_dir():
                there += sorted(f"{folder}/{path.name}" for path in (self.path / folder).iterdir())
        return [name for name in there if name not in self._ours and not is_left_by_systems(name)]

    @contextmanager
    def _refusing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise InvalidInputError(
                f"Nothing can be written to {self.path}: {error.strerror}.",
                "Name a folder with --out that you may write to.",
            ) from error


def listed(folder: Path) -> dict[str, str]:
    """Return name -> SHA-256 of what earlier runs wrote into a folder."""
    path = folder / WRITTEN_LIST
    if not path.is_file():
        return {}
    lines = (line.partition("  ") for line in path.read_text(encoding="utf-8", errors="replace").splitlines())
    return {name: digest for digest, _, name in lines if not Path(name).is_absolute() and ".." not in name}


def content_digest(path: Path) -> str | None:
    """Return the SHA-256 of a file's content; None where there is no plain file."""
    if path.is_symlink() or not path.is_file():
        return None
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def is_left_by_systems(name: str) -> bool:
    """Whether a file of this name was left behind by whoever looked at the folder."""
    last = name.rpartition("/")[2]
    return last.startswith(".") or last in _LEFT_BY_SYSTEMS
