"""Frames are made ready ahead of their turn, in order, and by a thread that ends with the pass."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Generator

import pytest

from tam_backend.tracking.prefetch import Behind, prefetched, run_ahead


@pytest.fixture
def threads() -> Callable[[], int]:
    """Count the threads for frames ahead and work behind that were begun since the test began."""
    before = set(threading.enumerate())

    def begun() -> int:
        names = [thread.name for thread in threading.enumerate() if thread not in before]
        return sum(name.startswith(("tam-prefetch", "tam-behind")) for name in names)

    return begun


def test_everything_comes_in_order_and_no_thread_is_left(threads: Callable[[], int]) -> None:
    assert list(prefetched(range(9, 3, -1), lambda frame: frame * 10)) == [(f, f * 10) for f in range(9, 3, -1)]
    assert list(prefetched([], str)) == []
    assert threads() == 0


def test_the_next_ones_are_made_while_the_caller_works_and_no_more_than_asked() -> None:
    made: list[int] = []
    coming = prefetched(range(10), made.append, ahead=2)
    next(coming)
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2]
    coming.close()


def test_several_threads_work_side_by_side_and_the_order_stays() -> None:
    together = threading.Barrier(3)  # broken, and an error, unless three come

    def make(frame: int) -> int:
        together.wait(timeout=20)
        time.sleep(0.01 * (3 - frame % 3))  # the later ones are done first
        return 10 * frame

    assert list(prefetched(range(9), make, ahead=6, threads=3)) == [(frame, 10 * frame) for frame in range(9)]


def test_closing_stops_it_at_once(threads: Callable[[], int]) -> None:
    made: list[int] = []
    coming = prefetched(range(1000), made.append)
    next(coming)
    coming.close()
    assert threads() == 0
    assert len(made) <= 3


def test_an_error_comes_when_its_turn_comes_and_ends_it(threads: Callable[[], int]) -> None:
    def make(frame: int) -> int:
        if frame == 2:
            raise OSError("frame 2 is damaged")
        return frame

    coming = prefetched(range(5), make)
    assert [next(coming), next(coming)] == [(0, 0), (1, 1)]
    with pytest.raises(OSError, match="frame 2"):
        next(coming)
    assert threads() == 0


def test_work_behind_is_done_in_order_and_all_of_it_by_the_end(threads: Callable[[], int]) -> None:
    done: list[int] = []
    with Behind(waiting=2) as behind:
        for number in range(20):
            behind.do(lambda number=number: done.append(number))  # type: ignore[misc]
    assert done == list(range(20))
    assert threads() == 0


def test_work_behind_is_done_though_somebody_stops_the_caller() -> None:
    done: list[int] = []
    begin = threading.Event()

    def is_slow() -> None:
        assert begin.wait(10)

    with pytest.raises(KeyboardInterrupt), Behind() as behind:
        behind.do(is_slow)
        for number in range(3):
            behind.do(lambda number=number: done.append(number))  # type: ignore[misc]
        begin.set()
        raise KeyboardInterrupt
    assert done == [0, 1, 2]


def test_what_went_wrong_behind_is_raised_and_no_thread_is_left(threads: Callable[[], int]) -> None:
    def fails() -> None:
        raise OSError(28, "No space left on device")

    with pytest.raises(OSError, match="No space"), Behind() as behind:
        behind.do(fails)
    with pytest.raises(OSError, match="No space"), Behind(waiting=1) as behind:
        for _ in range(3):
            behind.do(fails)
    with pytest.raises(ValueError, match="the caller's own"), Behind() as behind:
        behind.do(fails)
        raise ValueError("the caller's own")
    assert threads() == 0


def counted(made: list[int], stop: int, closed: list[bool]) -> Generator[int, None, None]:
    try:
        for number in range(stop):
            made.append(number)
            yield number
    finally:
        closed.append(True)


def test_steps_run_ahead_in_order_and_no_further_than_asked(threads: Callable[[], int]) -> None:
    made: list[int] = []
    closed: list[bool] = []
    assert list(run_ahead(counted(made, 7, closed))) == list(range(7))
    assert list(run_ahead(counted(made, 0, closed))) == []
    assert closed == [True, True]
    made.clear()
    steps = run_ahead(counted(made, 1000, closed), ahead=2)
    assert next(steps) == 0
    deadline = time.monotonic() + 5
    while len(made) < 3 and time.monotonic() < deadline:
        time.sleep(0.01)
    time.sleep(0.05)
    assert made == [0, 1, 2]
    steps.close()
    assert closed == [True] * 3
    assert threads() == 0


def test_what_goes_wrong_ahead_is_raised_when_its_turn_comes(threads: Callable[[], int]) -> None:
    def fails() -> Generator[int, None, None]:
        yield from (0, 1)
        raise OSError("frame 2 is damaged")

    steps = run_ahead(fails())
    assert [next(steps), next(steps)] == [0, 1]
    with pytest.raises(OSError, match="frame 2"):
        next(steps)
    assert threads() == 0
