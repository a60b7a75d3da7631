"""Threads beside the networks: what comes next is made ready, and what was found is written, while they work."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import islice, repeat
from types import TracebackType
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetched(
    items: Iterable[Item],
    make: Callable[[Item], Made],
    ahead: int = 2,
    threads: int = 1,
    begin: Callable[[], None] | None = None,
) -> Generator[tuple[Item, Made], None, None]:
    """Yield (item, make(item)) in the order of `items`; threads make up to `ahead` of them in advance.

    Each thread calls `begin` first.

    Closing the generator waits for those being made, if any; no thread outlives it.

    Raises:
        Exception: what `make` raised, when its item's turn comes.
    """
    coming = iter(items)
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    with ThreadPoolExecutor(threads, "tam-prefetch", begin) as pool:
        try:
            waiting.extend((item, pool.submit(make, item)) for item in islice(coming, ahead))
            while waiting:
                item, future = waiting.popleft()
                made = future.result()
                waiting.extend((each, pool.submit(make, each)) for each in islice(coming, 1))
                yield item, made
        finally:
            for _, future in waiting:
                future.cancel()


def run_ahead(
    steps: Generator[Made, None, None], ahead: int = 2, begin: Callable[[], None] | None = None
) -> Generator[Made, None, None]:
    """Yield what `steps` yields; a thread runs it up to `ahead` steps further than the caller has come.

    The thread calls `begin` first.

    Closing this generator waits for the step being made, if any, and closes `steps`; no thread outlives it.

    Raises:
        Exception: what `steps` raised, when its turn comes.
    """
    with closing(steps), closing(prefetched(repeat(None), lambda _: next(steps, _END), ahead, begin=begin)) as coming:
        for _, step in coming:
            if isinstance(step, _End):
                return
            yield step


class _End:
    """What comes after the last step."""


_END = _End()


class Behind:
    """Work that is done behind the caller's back, in order, by one thread; at most `waiting` pieces at a time.

    Leaving the `with` block waits for all of it, also where it is left for an error. What went wrong is raised by the
    next `do`, or there.
    """

    def __init__(self, waiting: int = 4) -> None:
        self._waiting = waiting
        self._thread = ThreadPoolExecutor(max_workers=1, thread_name_prefix="tam-behind")
        self._begun: deque[Future[None]] = deque()

    def do(self, work: Callable[[], None]) -> None:
        """Have a piece of work done; waits for an earlier one where there are too many."""
        while self._begun and (len(self._begun) >= self._waiting or self._begun[0].done()):
            self._begun.popleft().result()
        self._begun.append(self._thread.submit(work))

    def __enter__(self) -> Behind:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._thread.shutdown(wait=True)
        for each in self._begun if error is None else ():
            each.result()
