"""The tracker goes on while its answers are looked at: the same results, however it is stopped.

On a GPU it does so because the host only feeds it, on a CPU with cores to share beside a thread that encodes.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from itertools import islice
from pathlib import Path

import numpy as np
import pytest
import torch
from colour_models import ColourModels
from synthetic import MovingDiscs

from tam_backend.engine import TrackAnything
from tam_backend.errors import MediaError, StoreError, UnreadableMediaError
from tam_backend.session.session import Session
from tam_backend.threads.fair_lock import FairLock
from tam_backend.tracking.passes import TrackerPass, Workplace
from tam_backend.tracking.scaling import Scaling
from tam_backend.tracking.stopwatch import Stopwatch
from tam_backend.tracking.tracks import Tracks
from tam_backend.types import FrameResult, Prompt, RgbFrame
from tam_backend.video.base import FrameSource

VIDEO = MovingDiscs(starts_xy=((20, 30), (100, 70)), steps_xy=((5, 1), (-4, 0)))


@pytest.fixture(autouse=True, params=["runs_ahead", "shares_cores"])
def ahead(monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest) -> Iterator[None]:
    one_after_the_other(monkeypatch)
    monkeypatch.setattr(Workplace, request.param, True)
    before = set(threading.enumerate())
    yield
    assert not [each for each in threading.enumerate() if each not in before and each.name.startswith("tam-")]


def one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Workplace, "runs_ahead", False)
    monkeypatch.setattr(Workplace, "shares_cores", False)


def prompted() -> Session:
    """One object from frame 2 on, one from frame 8: passes in both directions, and masks that wait in a spool."""
    session = TrackAnything(ColourModels().models()).session(VIDEO)
    session.prompt(Prompt(1, 2, points=[(*VIDEO.centre(2, 1), True)]))
    session.prompt(Prompt(2, 8, points=[(*VIDEO.centre(8, 2), True)]))
    return session


def everything(session: Session) -> list[FrameResult]:
    """Propagate, correct, end an object, go on: every result that is told."""
    found = list(islice(session.propagate(), 4))
    session.prompt(Prompt(1, 6, mask=VIDEO.truth(6, 1)))
    found += session.update()
    session.end(2, 10)
    return [*found, *session.update(), *session.tracks]


def told(results: list[FrameResult]) -> list[object]:
    return [
        (each.frame, each.source, each.quality, {key: mask.tobytes() for key, mask in each.masks.items()})
        for each in results
    ]


def test_results_and_their_order_are_those_of_one_after_the_other(monkeypatch: pytest.MonkeyPatch) -> None:
    ahead = told(everything(prompted()))
    one_after_the_other(monkeypatch)
    assert told(everything(prompted())) == ahead


def test_what_was_not_told_when_it_was_stopped_was_not_kept() -> None:
    session = prompted()
    running = session.propagate()
    shown = [next(running).frame for _ in range(3)]
    running.close()  # type: ignore[attr-defined]
    assert [result.frame for result in session.tracks] == sorted(shown)


def test_a_store_that_fails_ends_it_where_it_failed(monkeypatch: pytest.MonkeyPatch) -> None:
    session, put = prompted(), Tracks.put

    def full(self: Tracks, result: FrameResult) -> None:
        if result.frame == 5:
            raise StoreError("The disk is full.", "Make room.")
        put(self, result)

    monkeypatch.setattr(Tracks, "put", full)
    shown = []
    with pytest.raises(StoreError, match="full"):
        shown.extend(result.frame for result in session.propagate())
    monkeypatch.undo()
    assert [result.frame for result in session.tracks] == [2, 3, 4]


def test_damaged_frames_are_left_out_and_a_video_that_is_gone_ends_it(monkeypatch: pytest.MonkeyPatch) -> None:
    session, read = prompted(), MovingDiscs.__getitem__
    broken = {5}

    def damaged(self: MovingDiscs, frame: int) -> np.ndarray:
        if frame in broken:
            raise UnreadableMediaError(f"Frame {frame} cannot be decoded.")
        return read(self, frame)

    monkeypatch.setattr(MovingDiscs, "__getitem__", damaged)
    assert 5 not in {result.frame for result in session.propagate()}
    assert set(session.unreadable) == {5}
    broken.clear()
    running = session.propagate()
    next(running)
    broken.update(range(12))
    with pytest.raises(UnreadableMediaError):
        list(running)


class FilesSideBySide(FrameSource):
    """Frames 5 and 6 are damaged: who reads one of them waits until another reader has come to the other one."""

    def __init__(self) -> None:
        super().__init__("files", VIDEO.size_hw)
        self._both = threading.Barrier(2, timeout=30)
        self.read = threading.local()

    def __len__(self) -> int:
        return len(VIDEO)

    def __getitem__(self, index: int) -> RgbFrame:
        if index in (5, 6):
            self._both.wait()
            self.read.damaged = index
            raise UnreadableMediaError(f"Frame {index} cannot be decoded.")
        return VIDEO[index]

    def file_of(self, index: int) -> Path:
        return Path(f"{index}.jpg")

    def close(self) -> None: ...


class Unreadable(dict[int, MediaError]):
    """Says when the reader of frame 5 is done with it."""

    def __init__(self) -> None:
        super().__init__()
        self.has_five = threading.Event()

    def __setitem__(self, frame: int, error: MediaError) -> None:
        super().__setitem__(frame, error)
        if frame == 5:
            self.has_five.set()


class SlowOnSix(Workplace):
    """The reader of frame 6 gets to the video again only when the one of frame 5 is done with its own."""

    def __getattribute__(self, name: str) -> object:
        found = super().__getattribute__(name)
        if name == "video" and getattr(found.read, "damaged", None) == 6:
            assert self.unreadable.has_five.wait(30)
        return found


def test_two_readers_that_meet_damaged_frames_side_by_side_leave_out_both(monkeypatch: pytest.MonkeyPatch) -> None:
    one_after_the_other(monkeypatch)
    monkeypatch.setattr(Workplace, "runs_ahead", True)  # only for a GPU files are read side by side
    monkeypatch.setattr("tam_backend.tracking.passes.os.cpu_count", lambda: 4)
    models, device = ColourModels().models(), torch.device("cpu")
    place = SlowOnSix(
        models, FairLock(), FilesSideBySide(), Scaling(VIDEO.size_hw, 48, device), Stopwatch(device),
        unreadable=Unreadable(),
    )  # fmt: skip
    led = TrackerPass(place).lead(range(len(VIDEO)), lambda sight: None)
    assert [frame for frame, _ in led] == [0, 1, 2, 3, 4, 7, 8, 9, 10, 11]
    assert set(place.unreadable) == {5, 6}
