"""A stored session outlives its process: nothing a human said is lost, and tracked masks come back bit for bit."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from colour_models import ColourModels
from synthetic import MovingDiscs

from tam_backend.engine import TrackAnything
from tam_backend.errors import BusyError, StoreError
from tam_backend.pipeline.database import Database, sqlite_url
from tam_backend.pipeline.session import Session
from tam_backend.pipeline.store import SessionKey, SessionStore
from tam_backend.types import Prompt

VIDEO = MovingDiscs(frames=40, starts_xy=((20, 20), (100, 70)), steps_xy=((1, 1), (-1, 0)))
KEY = SessionKey("7", "12", "media")
# Runs in a process of its own: tracks slowly, says each frame, and waits to be killed.
WORKER = """
import sys, time
from pathlib import Path
sys.path.insert(0, sys.argv[2])
from tests.pipeline import test_store as here
session = here.opened(here.SessionStore(here.Database(here.sqlite_url(Path(sys.argv[1])))))
session.prompt(here.click(1, 5))
print("open", flush=True)
for result in session.propagate():
    print(result.frame, flush=True)
    time.sleep(0.02)
time.sleep(60)
"""


def click(object_id: int, frame: int, **more: object) -> Prompt:
    return Prompt(object_id, frame, points=[(*VIDEO.centre(frame, object_id), True)], **more)  # type: ignore[arg-type]


def opened(store: SessionStore, weights: str = "colour-1", key: SessionKey = KEY) -> Session:
    stored = store.open(key, frames=len(VIDEO), size_hw=VIDEO.size_hw, weights=weights)
    return TrackAnything(ColourModels().models()).session(VIDEO, stored)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SessionStore]:
    database = Database(sqlite_url(tmp_path / "tam.sqlite"))
    yield SessionStore(database)
    database.close()


def test_prompts_keyframes_labels_ends_and_masks_come_back_as_they_were(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 5, label="Bird"))
        session.prompt(Prompt(object_id=2, frame=0, mask=VIDEO.truth(0, 2), box=(80, 50, 120, 90)))
        list(session.propagate())
        session.end(2, 30)
        before = {result.frame: result for result in session.tracks}
        keyframes = {each: session.keyframes(each) for each in session.labels}
    with opened(store) as session:
        assert session.labels == {1: "Bird", 2: ""}
        assert session.known(1)[5].points == ((*VIDEO.centre(5), True),)
        assert session.known(2)[0].box == (80, 50, 120, 90)
        for each, masks in keyframes.items():
            assert {frame: (mask.array.tobytes(), mask.quality) for frame, mask in masks.items()} == {
                frame: (mask.array.tobytes(), mask.quality) for frame, mask in session.keyframes(each).items()
            }
        assert len(session.tracks) == len(VIDEO)
        for result in session.tracks:
            assert result.quality == before[result.frame].quality
            assert result.source == before[result.frame].source
            assert all(np.array_equal(result.masks[each], before[result.frame].masks[each]) for each in (1, 2))
        # The end was said but not tracked before the restart: it is still to be done.
        assert {result.frame for result in session.update()} == set(range(1, 40))
        assert not any(session.tracks[frame].masks[2].any() for frame in range(30, 40))


def test_what_was_tracked_is_not_tracked_again_after_a_restart(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        list(session.propagate())
    with opened(store) as session:
        assert list(session.update()) == []


def test_a_stopped_propagation_goes_on_where_it_stopped(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 5))
        running = session.propagate()
        first = [next(running).frame for _ in range(12)]
        running.close()
    with opened(store) as session:
        again = [result.frame for result in session.update()]
        assert sorted(again) == sorted(set(range(40)) - set(first))
        assert list(session.update()) == []


def test_an_object_that_was_removed_stays_removed(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        session.prompt(click(2, 0))
        list(session.propagate())
        session.remove(2)
    with opened(store) as session:
        assert list(session.labels) == [1]
        assert all(list(result.masks) == [1] for result in session.tracks)


def test_other_weights_drop_tracked_masks_and_keep_what_a_human_said(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 5))
        list(session.propagate())
    with opened(store, weights="colour-2") as session:
        assert list(session.keyframes(1)) == [5]
        assert len(session.tracks) == 0
        assert len(list(session.update())) == len(VIDEO)


def test_a_session_is_read_without_holding_it(store: SessionStore) -> None:
    assert store.find("7", "12") is None
    with opened(store) as session:
        session.prompt(click(1, 5, label="Bird"))
        list(session.propagate())
        view = store.find("7", "12")
        assert view is not None
        assert view.summary.frames == view.summary.frames_done == len(VIDEO)
        assert view.summary.labels == {1: "Bird"}
        assert list(view.quality[1]) == list(range(len(VIDEO)))
        assert view.source[1][5] == "prompt"
        assert view.source[1][6] == "propagated"
        assert view.keyframes == {1: (5,)}
        assert np.array_equal(store.masks(KEY, 9)[1], session.tracks[9].masks[1])
        assert [each.key for each in store.summaries()] == [KEY]
    assert store.masks(KEY, 99) == {}


def test_two_holders_of_one_session_are_told_apart(store: SessionStore, tmp_path: Path) -> None:
    with opened(store) as session:
        with pytest.raises(BusyError, match="Another process works on task 12"):
            opened(SessionStore(Database(sqlite_url(tmp_path / "tam.sqlite"))))
        with opened(store, key=SessionKey("7", "13", "media")) as other:
            other.prompt(click(1, 0))
        session.prompt(click(1, 0))


def test_whoever_lost_the_session_writes_nothing_more(store: SessionStore) -> None:
    session = opened(store)
    session.prompt(click(1, 0))
    store.delete(KEY)
    with opened(store) as newer:
        newer.prompt(click(2, 0))
        with pytest.raises(BusyError, match="took this session over, or it was deleted"):
            session.prompt(click(1, 7))
        assert store.find("7", "12").keyframes == {2: (0,)}  # type: ignore[union-attr]


def test_old_sessions_are_pruned_and_held_ones_are_not(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        assert store.prune(older_than_days=0.0) == 0
    assert store.prune(older_than_days=1.0) == 0
    assert store.prune(older_than_days=0.0) == 1
    assert store.find("7", "12") is None


def test_a_video_of_another_size_begins_anew(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
    stored = store.open(KEY, frames=3, size_hw=(10, 20), weights="colour-1")
    assert stored.objects() == {}
    stored.close()


def test_a_killed_process_loses_no_more_than_a_batch_and_its_work_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    root = str(Path(__file__).resolve().parents[2])
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join((root, f"{root}/tests"))}
    worker = subprocess.Popen(
        [sys.executable, "-c", WORKER, str(path), root], stdout=subprocess.PIPE, text=True, env=environment
    )
    assert worker.stdout is not None
    seen = []
    for line in worker.stdout:
        if line.strip() == "open":
            with pytest.raises(BusyError):
                opened(SessionStore(Database(sqlite_url(path))))
            continue
        seen.append(int(line))
        if len(seen) == 25:
            break
    os.kill(worker.pid, signal.SIGKILL)
    worker.wait(10)
    store = SessionStore(Database(sqlite_url(path)))
    started = time.monotonic()
    with opened(store) as session:
        assert time.monotonic() - started < 10, "a dead process's lease is taken over at once"
        kept = {result.frame: result.masks[1] for result in session.tracks}
        assert len(kept) >= 25 - 16
        assert list(session.keyframes(1)) == [5]
        again = [result.frame for result in session.update()]
        assert sorted(again) == sorted(set(range(40)) - set(kept))
        assert all(np.array_equal(session.tracks[frame].masks[1], mask) for frame, mask in kept.items())


def test_a_full_disk_is_named_and_what_was_stored_stays(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    database = Database(sqlite_url(path))
    store = SessionStore(database)
    session = opened(store)
    session.prompt(click(1, 0))
    noise = np.random.default_rng(0).integers(0, 2, VIDEO.size_hw).astype(bool)
    with database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full") as failure:
        for frame in range(1, 40):
            session.prompt(Prompt(object_id=1, frame=frame, mask=noise))
    assert "Make room" in failure.value.remedy
    database.close()
    view = SessionStore(Database(sqlite_url(path))).find("7", "12")
    assert view is not None
    assert 0 in view.keyframes[1]
