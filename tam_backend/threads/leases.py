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
class _Entry(Generic[K, V]):
    key: K
    value: V
    users: int = 0
    evicted: bool = False


class LeaseCache(Generic[K, V]):
    """Lends values by key; of those not lent the least recently lent are closed beyond `limit`. Thread-safe.

    A value that is lent stays, and counts: while more than `limit` are lent at once, so many are there. Who asks for
    a key that somebody has gets that very value; for one that is being closed, waits, and gets a new one.

    Args:
        close: called once per value, outside of any lock.
        limit: how many values stay.
    """

    def __init__(self, close: Callable[[V], None], limit: int) -> None:
        self._close = close
        self._limit = limit
        self._entries: OrderedDict[K, _Entry[K, V]] = OrderedDict()
        self._closing: set[K] = set()
        self._lock = threading.Condition()

    @contextmanager
    def lend(self, key: K, make: Callable[[], V]) -> Iterator[V]:
        """Lend the value of `key`, made by `make` if there is none.

        `make` runs outside of the lock, because it may take seconds; of two made at once one is closed again.
        """
        entry = self._find(key)
        if entry is None:
            entry = self._add(key, _Entry(key, make()))
        try:
            yield entry.value
        finally:
            with self._lock:
                entry.users -= 1
                unwanted = [entry] if entry.evicted and entry.users == 0 else self._beyond_limit()
            self._close_all(unwanted)

    def drop(self, key: K, value: V) -> None:
        """Lend this value to nobody any more, as what it was made from has changed; for who has been lent it.

        It is closed when its last user gives it back. A newer value of the key stays.
        """
        with self._lock:
            entry = self._entries.get(key)
            if entry is not None and entry.value is value:
                entry.evicted = True
                del self._entries[key]

    def clear(self) -> None:
        """Close everything: what is lent, when its last user gives it back."""
        with self._lock:
            idle = [entry for entry in self._entries.values() if entry.users == 0]
            for entry in self._entries.values():
                entry.evicted = True
            self._entries.clear()
        self._close_all(idle)

    def _find(self, key: K) -> _Entry[K, V] | None:
        with self._lock:
            self._lock.wait_for(lambda: key not in self._closing)
            entry = self._entries.get(key)
            if entry is not None:
                self._entries.move_to_end(key)
                entry.users += 1
            return entry

    def _add(self, key: K, made: _Entry[K, V]) -> _Entry[K, V]:
        unwanted: list[_Entry[K, V]] = []
        with self._lock:
            entry = self._entries.setdefault(key, made)
            if entry is not made:
                unwanted.append(made)
            entry.users += 1
            unwanted += self._beyond_limit()
        self._close_all(unwanted)
        return entry

    def _beyond_limit(self) -> list[_Entry[K, V]]:
        """Take out the least recently lent that nobody uses, until few enough are left. The lock is held."""
        idle = [key for key, entry in self._entries.items() if entry.users == 0]
        unwanted = [self._entries.pop(key) for key in idle[: max(0, len(self._entries) - self._limit)]]
        self._closing.update(entry.key for entry in unwanted)
        return unwanted

    def _close_all(self, unwanted: list[_Entry[K, V]]) -> None:
        for entry in unwanted:
            try:
                self._close(entry.value)
            finally:
                with self._lock:
                    self._closing.discard(entry.key)
                    self._lock.notify_all()
