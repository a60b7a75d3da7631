"""The embedded executor: in order within a project, in turns between projects, and never ended by a job."""

from __future__ import annotations

import threading
import weakref
from collections.abc import Callable

import pytest

from tam_backend.jobs.executor import InProcessExecutor


def test_projects_take_turns_and_each_keeps_its_order() -> None:
    executor, begun, ran, done = InProcessExecutor(one_a_project=True), threading.Event(), [], threading.Event()

    def work(name: str) -> Callable[[], None]:
        return lambda: ran.append(name)

    executor.submit("large", lambda: begun.wait(10) and None)
    for name in ("a1", "a2", "a3"):
        executor.submit("large", work(name))
    executor.submit("small", work("b1"))
    executor.submit("small", work("b2"))
    executor.submit("small", done.set)
    begun.set()
    assert done.wait(10)
    assert ran.index("b1") < ran.index("a2")
    assert [name for name in ran if name[0] == "a"] == ["a1", "a2", "a3"][: sum(name[0] == "a" for name in ran)]
    assert [name for name in ran if name[0] == "b"] == ["b1", "b2"]
    executor.close()


def test_a_job_that_breaks_takes_no_other_with_it() -> None:
    executor, done = InProcessExecutor(one_a_project=True), threading.Event()

    def breaks() -> None:
        raise RuntimeError("a job of the test")

    executor.submit("p", breaks)
    executor.submit("p", done.set)
    assert done.wait(10)
    executor.close()


def test_nothing_runs_after_it_was_closed() -> None:
    executor, ran = InProcessExecutor(one_a_project=True), []
    executor.submit("p", threading.Event().set)
    executor.close()
    executor.submit("p", lambda: ran.append(1))
    executor.close()
    assert ran == []


class Heavy:
    """Stands for a task with its masks."""


def test_a_thread_that_waits_holds_nothing_of_what_it_did_last() -> None:
    executor, heavy = InProcessExecutor(one_a_project=True), Heavy()
    dropped, done = threading.Event(), threading.Event()
    weakref.finalize(heavy, dropped.set)

    def works_on(held: Heavy) -> Callable[[], None]:
        return lambda: done.set() if held else None

    executor.submit("p", works_on(heavy))
    del heavy
    assert done.wait(10)
    assert dropped.wait(10)
    executor.close()


@pytest.mark.parametrize("one_a_project", [True, False])
def test_a_project_alone_has_all_threads_or_one(one_a_project: bool) -> None:
    executor = InProcessExecutor(threads=lambda: 3, one_a_project=one_a_project)
    begun, goes_on = threading.Semaphore(0), threading.Event()

    def work() -> None:
        begun.release()
        goes_on.wait(20)

    for _ in range(4):
        executor.submit("a", work)
    at_once = 0
    while begun.acquire(timeout=0.2):
        at_once += 1
    assert at_once == (1 if one_a_project else 3)
    executor.submit("b", work)
    assert begun.acquire(timeout=0.2) == one_a_project, "another project waits for no slow one"
    goes_on.set()
    executor.close()
