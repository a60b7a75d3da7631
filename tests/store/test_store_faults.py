"""Killed and frozen processes, full and damaged disks: what was stored stays, and the message says what to do."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest
from stored_sessions import VIDEO, click, opened

from tam_backend.errors import BusyError, StoreError
from tam_backend.session.session import Session
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.sessions import SessionStore
from tam_backend.types import BoolMask, Prompt

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
BEGIN = """
import resource, sys, time
from pathlib import Path
from tam_backend.errors import TamError
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.sessions import SessionStore
from stored_sessions import VIDEO, click, opened
path = Path(sys.argv[1])
"""
# Tracks slowly, says each frame, and waits to be killed.
TRACKS = (
    BEGIN
    + """
session = opened(SessionStore(Database(sqlite_url(path))))
session.prompt(click(1, 5))
print("open", flush=True)
for result in session.update():
    print(result.frame, flush=True)
    time.sleep(0.02)
time.sleep(60)
"""
)
# The same, telling what ended it.
IS_FROZEN = (
    BEGIN
    + """
session = opened(SessionStore(Database(sqlite_url(path))))
session.prompt(click(1, 5))
try:
    for result in session.propagate():
        print(result.frame, flush=True)
        time.sleep(0.05)
except TamError as error:
    print(type(error).__name__, error, flush=True)
"""
)
# Finds no more room on the disk at some time, and room again later.
HAS_A_SMALL_DISK = (
    BEGIN
    + """
session = opened(SessionStore(Database(sqlite_url(path))))
session.prompt(click(1, 0))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (path.with_name("tam.sqlite-wal").stat().st_size + 20_000, hard))
said = [0]
try:
    for frame in range(1, len(VIDEO)):
        session.prompt(click(1, frame))
        said.append(frame)
except TamError as error:
    print(type(error).__name__, error, flush=True)
assert list(session.keyframes(1)) == said, "what could not be stored was not taken"
try:
    list(session.propagate())
except TamError as error:
    print(type(error).__name__, error, flush=True)
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
session.prompt(click(1, said[-1] + 1))
list(session.update())
session.close()
print(len(said) + 1)
"""
)


def start(script: str, path: Path) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, (ROOT, ROOT / "tests", HERE)))}
    return subprocess.Popen(
        [sys.executable, "-c", script, str(path)], stdout=subprocess.PIPE, text=True, env=environment
    )


@contextmanager
def killed_at_the_end(worker: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    try:
        yield worker
    finally:
        worker.kill()
        worker.wait(10)


def read_lines(worker: subprocess.Popen[str], count: int) -> list[str]:
    assert worker.stdout is not None
    return [worker.stdout.readline().strip() for _ in range(count)]


def kept(session: Session) -> dict[int, bytes]:
    return {result.frame: result.masks[1].tobytes() for result in session.tracks}


def noise() -> BoolMask:
    return np.random.default_rng(0).integers(0, 2, VIDEO.size_hw).astype(bool)


def test_a_killed_process_loses_no_more_than_a_batch_and_its_work_goes_on(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    with killed_at_the_end(start(TRACKS, path)) as worker:
        assert read_lines(worker, 1) == ["open"]
        with pytest.raises(BusyError) as refused:
            opened(SessionStore(Database(sqlite_url(path))))
        assert str(worker.pid) in refused.value.remedy
        read_lines(worker, 25)
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(10)
    with opened(SessionStore(Database(sqlite_url(path)))) as session:  # at once: its process is seen to be dead
        before = kept(session)
        assert len(before) >= 25 - 16
        assert list(session.keyframes(1)) == [5]
        again = [result.frame for result in session.update()]
        assert sorted(again) == sorted(set(range(len(VIDEO))) - set(before))
        assert before.items() <= kept(session).items()


def test_a_correction_whose_process_was_killed_is_tracked_to_its_end_and_nothing_else_changes(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    with opened(SessionStore(Database(sqlite_url(path)))) as session:
        for frame in (0, 30):
            session.prompt(Prompt(object_id=1, frame=frame, mask=VIDEO.truth(frame)))
        list(session.propagate())
        before = kept(session)
    with killed_at_the_end(start(TRACKS, path)) as worker:  # whose click is on frame 5
        assert read_lines(worker, 21)[0] == "open"
        os.kill(worker.pid, signal.SIGKILL)
        worker.wait(10)
    with opened(SessionStore(Database(sqlite_url(path)))) as session:
        assert list(session.keyframes(1)) == [0, 5, 30]
        assert {result.frame for result in session.update()} == set(range(1, 30))
        assert list(session.update()) == []
        after = kept(session)
        assert all(after[frame] == before[frame] for frame in (0, *range(30, len(VIDEO))))


def test_a_frozen_process_finds_its_session_taken_over_and_writes_nothing(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    store = SessionStore(Database(sqlite_url(path)))
    with killed_at_the_end(start(IS_FROZEN, path)) as worker:
        read_lines(worker, 3)
        worker.send_signal(signal.SIGSTOP)
        with pytest.raises(BusyError):
            opened(store)
        # As if its lease had run out: nobody waits for half a minute here.
        with Database(sqlite_url(path)).transaction() as connection:
            connection.exec_driver_sql("UPDATE sessions SET owned_until = 0")
        with opened(store) as session:
            session.prompt(Prompt(object_id=1, frame=20, mask=noise()))
            list(session.update())
            taken_over = kept(session)
            worker.send_signal(signal.SIGCONT)
            assert worker.stdout is not None
            assert "BusyError Another process took this session over" in worker.stdout.read()
        with opened(store) as session:
            assert kept(session) == taken_over
            assert list(session.keyframes(1)) == [5, 20]


def test_a_full_disk_is_named_takes_nothing_and_what_was_stored_stays(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    database = Database(sqlite_url(path))
    session = opened(SessionStore(database))
    session.prompt(click(1, 0))
    with database.reading() as connection:
        pages = connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        connection.exec_driver_sql(f"PRAGMA max_page_count = {pages}")
    with pytest.raises(StoreError, match="full") as failure:
        for frame in range(1, 40):
            session.prompt(Prompt(object_id=1, frame=frame, mask=noise()))
    assert "Make room" in failure.value.remedy
    said = list(session.keyframes(1))
    with database.reading() as connection:
        connection.exec_driver_sql("PRAGMA max_page_count = 100000")
    list(session.update())
    session.close()
    with opened(SessionStore(database)) as again:
        assert list(again.keyframes(1)) == said
        assert len(again.tracks) == len(VIDEO)


def test_a_process_that_may_write_no_more_takes_nothing_and_goes_on_when_it_may(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    with killed_at_the_end(start(HAS_A_SMALL_DISK, path)) as worker:
        said, _ = worker.communicate(timeout=60)
    assert worker.returncode == 0
    *refusals, count = said.splitlines()
    assert len(refusals) == 2
    assert all(each.startswith("StoreError") and "Make room" in each for each in refusals)
    with opened(SessionStore(Database(sqlite_url(path)))) as session:
        assert list(session.keyframes(1)) == list(range(int(count)))
        assert len(session.tracks) == len(VIDEO)
        assert list(session.update()) == []


def test_a_database_that_may_only_be_read_is_refused_with_what_to_do(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    Database(sqlite_url(path)).close()
    with pytest.raises(StoreError, match="readonly") as failure:
        Database(f"sqlite:///file:{path}?mode=ro&uri=true")
    assert "right to write" in failure.value.remedy


def test_a_folder_that_cannot_be_made_is_refused_with_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"")
    with pytest.raises(StoreError, match="cannot be made") as failure:
        sqlite_url(tmp_path / "file" / "tam.sqlite")
    assert "TAM_DATA_DIR" in failure.value.remedy


def test_a_file_that_was_damaged_is_named_when_the_damage_is_met(tmp_path: Path) -> None:
    path = tmp_path / "tam.sqlite"
    database = Database(sqlite_url(path))
    with opened(SessionStore(database)) as session:
        session.prompt(click(1, 0))
        list(session.propagate())
    with database.reading() as connection:
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)")
    database.close()
    content = path.read_bytes()
    path.write_bytes(content[:8192] + b"\xa5" * (len(content) - 8192))
    with pytest.raises(StoreError, match="malformed") as failure:
        opened(SessionStore(Database(sqlite_url(path))))
    assert "bring back a copy" in failure.value.remedy
