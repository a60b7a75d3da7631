"""What comes next is made ready by a thread while the networks work: decoding and scaling take no time of theirs."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import islice
from typing import TypeVar

Item = TypeVar("Item")
Made = TypeVar("Made")


def prefetched(
    items: Iterable[Item], make: Callable[[Item], Made], ahead: int = 2
) -> Generator[tuple[Item, Made], None, None]:
    """Yield (item, make(item)) in the order of `items`; one thread makes up to `ahead` of them in advance.

    Closing the generator waits for the one being made, if any; no thread outlives it.

    Raises:
        Exception: what `make` raised, when its item's turn comes.
    """
    coming = iter(items)
    waiting: deque[tuple[Item, Future[Made]]] = deque()
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="tam-prefetch") as thread:
        try:
            waiting.extend((item, thread.submit(make, item)) for item in islice(coming, ahead))
            while waiting:
                item, future = waiting.popleft()
                made = future.result()
                waiting.extend((each, thread.submit(make, each)) for each in islice(coming, 1))
                yield item, made
        finally:
            for _, future in waiting:
                future.cancel()
