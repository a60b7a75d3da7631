"""The folder of fetched weights: what is in it, and the only ways into it."""

from __future__ import annotations

import fcntl
import os
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from tam_backend.errors import WeightsError
from tam_backend.models.downloads import Partial, Progress, download
from tam_backend.models.published import PublishedFile
from tam_backend.models.weights import fingerprint, record_fingerprint, recorded_or_computed


@dataclass(frozen=True)
class WeightsStore:
    """Installs published files after checking them: size, SHA-256 where known, and that they are of their network.

    Args:
        folder: where they go; made when needed.
        mirrors: addresses of folders that are tried, in order, before a file's official address.
        offline: never download.
        pause_s: before a broken download goes on; doubled each time.
    """

    folder: Path
    mirrors: Sequence[str] = ()
    offline: bool = False
    pause_s: float = 1.0

    def path(self, file: PublishedFile) -> Path:
        """Return where a file is, or would be."""
        return self.folder / file.name

    def is_there(self, file: PublishedFile) -> bool:
        """Whether there is nothing to fetch: the file is there with the bytes that it was installed with.

        Reads all of it. A file that somebody put there by hand is left alone as well.
        """
        path = self.path(file)
        return path.is_file() and fingerprint(path) == recorded_or_computed(path)

    def fetch(self, file: PublishedFile, on_progress: Progress = lambda *_: None) -> Path:
        """Download a file, from the first place that has it right, and install it.

        Returns:
            Where it is.

        Raises:
            WeightsError: offline; or no place has it, the last one's reason is told.
        """
        if self.offline:
            raise WeightsError(
                f"{file.name} would have to be downloaded, but TAM_OFFLINE is set.",
                f"Bring it from {file.url} by hand: `tam-backend weights fetch PROFILE --from FILE`.",
            )
        with self._alone():
            self._require_room(file)
            partial = Partial(self.folder / f"{file.name}.part")
            for mirror in self.mirrors:
                with suppress(WeightsError):  # the official address comes last and tells what is wrong
                    return self._fetch_from(f"{mirror}/{file.name}", file, partial, on_progress)
            return self._fetch_from(file.url, file, partial, on_progress)

    def take(self, file: PublishedFile, source: Path) -> Path:
        """Install a copy of a file that was brought by hand.

        Returns:
            Where the copy is.

        Raises:
            WeightsError: it is not there, not the published file, or there is no room.
        """
        if not source.is_file():
            raise WeightsError(f"There is no file {source}.", "Give the path of the file that you brought.")
        _check(source, file)
        with self._alone():
            copy = self.folder / f"{file.name}.copy"
            try:
                shutil.copyfile(source, copy)
            except OSError as error:
                copy.unlink(missing_ok=True)
                raise WeightsError(f"{source} cannot be copied to {self.folder}: {error.strerror}.") from error
            return self._install(file, Partial(copy))

    def take_any(self, files: Sequence[PublishedFile], source: Path) -> Path:
        """Install a copy of a file brought by hand, whichever of `files` it is: by its name, or else by what is in it.

        Returns:
            Where the copy is.

        Raises:
            WeightsError: it is none of them, or as `take`.
        """
        named = [file for file in files if file.name == source.name]
        if named or not source.is_file():
            return self.take((named or list(files))[0], source)
        for file in files:
            try:
                _check(source, file)
            except WeightsError:
                continue
            return self.take(file, source)
        raise WeightsError(
            f"{source} is none of the published files {', '.join(file.name for file in files)}.",
            "Download it again; keep its name to be told what is wrong with it.",
        )

    def _fetch_from(self, url: str, file: PublishedFile, partial: Partial, on_progress: Progress) -> Path:
        download(url, partial, size_bytes=file.size_bytes, on_progress=on_progress, pause_s=self.pause_s)
        try:
            return self._install(file, partial)
        except WeightsError as error:
            partial.discard()
            raise WeightsError(f"What {url} sent was refused. {error.message}", error.remedy) from error

    def _install(self, file: PublishedFile, partial: Partial) -> Path:
        sha256 = _check(partial.path, file)
        path = self.path(file)
        partial.move_to(path)
        record_fingerprint(path, sha256)
        return path

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """Make the folder, and keep other processes from writing into it meanwhile."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle = os.open(self.folder, os.O_RDONLY)
        except OSError as error:
            raise WeightsError(
                f"The folder {self.folder} cannot be made: {error.strerror}.", "Set TAM_WEIGHTS_DIR to another one."
            ) from error
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            yield
        except BlockingIOError as error:
            raise WeightsError(
                f"Another process is bringing weights to {self.folder}.", "Wait for it, or end it."
            ) from error
        finally:
            os.close(handle)  # gives the lock back

    def _require_room(self, file: PublishedFile) -> None:
        missing = (file.size_bytes or 0) - Partial(self.folder / f"{file.name}.part").size_bytes
        free = shutil.disk_usage(self.folder).free
        if missing > free:
            raise WeightsError(
                f"{file.name} needs {missing / 1e6:,.0f} MB in {self.folder}, where {free / 1e6:,.0f} MB are free.",
                "Make room, or set TAM_WEIGHTS_DIR to another disk.",
            )


def _check(path: Path, file: PublishedFile) -> str:
    """Return the SHA-256 of a file that is what it is taken for.

    Raises:
        WeightsError: its size, hash or layout is wrong.
    """
    remedy = "Download it again. Weights of your own go into the folder of weights under the same name, unchecked."
    size_bytes = path.stat().st_size
    if file.size_bytes is not None and size_bytes != file.size_bytes:
        raise WeightsError(
            f"{path} is not the published {file.name}: {size_bytes:,} bytes, not {file.size_bytes:,}.", remedy
        )
    sha256 = fingerprint(path)
    if file.sha256 is not None and sha256 != file.sha256:
        raise WeightsError(
            f"{path} is not the published {file.name}: SHA-256 {sha256[:8]}..., not {file.sha256[:8]}... .", remedy
        )
    file.check(path, file.layout)
    return sha256
