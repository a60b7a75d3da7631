"""What keeping a session in a database costs: `python -m benchmarks.store ../shared/clips [--profile compact]`.

Tracks every clip from its first annotated frame with a stored session, and tells, of one and the same run, the
milliseconds per frame in all and those that went into the database; then the bytes of a file of SQLite per 1,000 masks,
the time to take the session up again, and the time that one more prompt takes to be stored.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import ParamSpec, TypeVar
from unittest.mock import patch

from benchmarks.clips import AnnotatedClip, find_clips
from tam_backend.engine import TrackAnything
from tam_backend.session.session import Session
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.sessions import SessionKey, SessionStore, StoredSession
from tam_backend.types import Prompt, VideoSource
from tam_backend.video import open_video

P = ParamSpec("P")
T = TypeVar("T")
_PROMPTS = 9


@dataclass(frozen=True)
class Row:
    """One clip: the masks found, milliseconds per frame in all and for writing, and what the other columns say."""

    clip: str
    masks: int
    frame_ms: float
    writing_ms: float
    kb_per_1000: float
    taken_up_ms: float
    prompt_ms: float


class Clock:
    """Adds up the seconds of calls."""

    def __init__(self) -> None:
        self.seconds = 0.0

    def timed(self, function: Callable[P, T]) -> Callable[P, T]:
        """Return the function, its time counted."""

        def call(*args: P.args, **kwargs: P.kwargs) -> T:
            start = time.perf_counter()
            try:
                return function(*args, **kwargs)
            finally:
                self.seconds += time.perf_counter() - start

        return call


def opened(tam: TrackAnything, store: SessionStore, video: VideoSource) -> Session:
    """Begin the one session of a database, or go on with it."""
    key = SessionKey("benchmark", "1", "clip")
    return tam.session(video, store.open(key, frames=len(video), size_hw=video.size_hw, weights=tam.models.version))


def size(database: Database) -> int:
    """Return the bytes of a file of SQLite."""
    with database.reading() as connection:
        pages, page = (
            connection.exec_driver_sql(f"PRAGMA {each}").scalar_one() for each in ("page_count", "page_size")
        )
    return int(pages * page)


def measure(tam: TrackAnything, clip: AnnotatedClip, path: Path) -> Row:
    """Track one clip into a database of its own, at `path`."""
    database = Database(sqlite_url(path))
    store = SessionStore(database)
    first = min(clip.ids_at)
    clock = Clock()
    with open_video(list(clip.frames)) as video:
        with (
            patch.object(StoredSession, "put", clock.timed(StoredSession.put)),
            patch.object(StoredSession, "save_changes", clock.timed(StoredSession.save_changes)),
            opened(tam, store, video) as session,
        ):
            ids = clip.ids(first)
            for object_id in sorted(clip.ids_at[first]):
                session.prompt(Prompt(object_id=object_id, frame=first, mask=ids == object_id))
            without = size(database)
            start = time.perf_counter()
            masks = sum(len(result.masks) for result in session.propagate())
            total_s = time.perf_counter() - start
        grown = size(database) - without
        start = time.perf_counter()
        with opened(tam, store, video) as session:
            taken_up_s = time.perf_counter() - start
            prompts = Clock()
            times = []
            with patch.object(StoredSession, "save_object", prompts.timed(StoredSession.save_object)):
                for frame in range(1, _PROMPTS + 1):
                    before = prompts.seconds
                    session.prompt(Prompt(object_id=min(clip.ids_at[first]), frame=frame, mask=ids > 0))
                    times.append(prompts.seconds - before)
        frames = len(video)
    database.close()
    return Row(
        clip=clip.name,
        masks=masks,
        frame_ms=total_s / frames * 1e3,
        writing_ms=clock.seconds / frames * 1e3,
        kb_per_1000=grown / masks,
        taken_up_ms=taken_up_s * 1e3,
        prompt_ms=statistics.median(times) * 1e3,
    )


def main() -> None:
    """Print one line per clip."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--profile", default="compact")
    options = parser.parse_args()
    tam = TrackAnything.load(options.profile)
    print(
        f"{'clip':<16}{'size':>11}{'masks':>7}{'frame':>10}{'writing':>18}"
        f"{'1,000 masks':>14}{'take up':>10}{'prompt':>10}"
    )
    with tempfile.TemporaryDirectory(prefix="tam-store-") as folder:
        for clip in find_clips(options.folders):
            row = measure(tam, clip, Path(folder) / f"{clip.name}.sqlite")
            height, width = clip.size_hw
            print(
                f"{row.clip:<16}{f'{width}x{height}':>11}{row.masks:>7}{row.frame_ms:>7.0f} ms"
                f"{row.writing_ms:>7.2f} ms {100 * row.writing_ms / row.frame_ms:>5.2f} %"
                f"{row.kb_per_1000:>11.0f} kB{row.taken_up_ms:>7.0f} ms{row.prompt_ms:>7.1f} ms",
                flush=True,
            )


if __name__ == "__main__":
    main()
