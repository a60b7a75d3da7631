"""A small cache of things that must be closed, but never while somebody uses them: open videos, tasks' sessions."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Generic, TypeVar

K = TypeVar("K")
V = TypeVar("V")


@dataclass
class _Entry(Generic[V]):
    value: V
    users: int = 0
    evicted: bool = False


class LeaseCache(Generic[K, V]):
    """Lends values by key; the least recently lent are closed when there are more than `limit`. Thread-safe.

    A value that is evicted while it is lent is closed when its last user gives it back.

    Args:
        close: called once per value, outside of any lock.
        limit: how many values stay.
    """

    def __init__(self, close: Callable[[V], None], limit: int) -> None:
        self._close = close
        self._limit = limit
        self._entries: OrderedDict[K, _Entry[V]] = OrderedDict()
        self._lock = threading.Lock()

    @contextmanager
    def lend(self, key: K, make: Callable[[], V]) -> Iterator[V]:
        """Lend the value of `key`, made by `make` if there is none.

        `make` runs outside of the lock, because it may take seconds; of two made at once one is closed again.
        """
        entry = self._find(key)
        if entry is None:
            entry = self._add(key, _Entry(make()))
        try:
            yield entry.value
        finally:
            with self._lock:
                entry.users -= 1
                idle = entry.evicted and entry.users == 0
            if idle:
                self._close(entry.value)

    def clear(self) -> None:
        """Evict everything."""
        with self._lock:
            idle = [entry for entry in self._entries.values() if self._evict(entry)]
            self._entries.clear()
        for entry in idle:
            self._close(entry.value)

    def _find(self, key: K) -> _Entry[V] | None:
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                entry.users += 1
            return entry

    def _add(self, key: K, made: _Entry[V]) -> _Entry[V]:
        unwanted: list[_Entry[V]] = []
        with self._lock:
            entry = self._entries.setdefault(key, made)
            if entry is not made:
                unwanted.append(made)
            entry.users += 1
            while len(self._entries) > self._limit:
                _, oldest = self._entries.popitem(last=False)
                if self._evict(oldest):
                    unwanted.append(oldest)
        for idle in unwanted:
            self._close(idle.value)
        return entry

    @staticmethod
    def _evict(entry: _Entry[V]) -> bool:
        entry.evicted = True
        return entry.users == 0
