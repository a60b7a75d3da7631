"""Things that must be closed, but never while somebody uses them."""

from __future__ import annotations

import itertools
import threading
from contextlib import AbstractContextManager

from hypothesis import given
from hypothesis import strategies as st

from tam_backend.threads.leases import LeaseCache


def cache(limit: int = 2) -> tuple[LeaseCache[str, str], list[str]]:
    closed: list[str] = []
    return LeaseCache(closed.append, limit), closed


def test_a_value_is_made_once_and_lent_again() -> None:
    leases, closed = cache()
    made = []
    for _ in range(3):
        with leases.lend("a", lambda: made.append(1) or "A") as value:  # type: ignore[func-returns-value]
            assert value == "A"
    assert len(made) == 1
    assert closed == []


def test_the_least_recently_lent_is_closed_beyond_the_limit() -> None:
    leases, closed = cache()
    for key in ("a", "b", "a", "c"):
        with leases.lend(key, key.upper):
            pass
    assert closed == ["B"]
    with leases.lend("a", lambda: "another A") as value:
        assert value == "A"


def test_a_value_in_use_is_never_evicted_however_many_others_are_asked_for() -> None:
    leases, closed = cache(limit=1)
    with leases.lend("a", "A".upper):
        for key in "bcdef":
            with leases.lend(key, key.upper):
                pass
        with leases.lend("a", lambda: "another A") as value:
            assert value == "A"
        assert closed == list("BCDEF")
    with leases.lend("b", lambda: "B again"):
        pass
    assert closed == [*"BCDEF", "A"]


def test_a_dropped_value_is_lent_to_nobody_else_and_closed_by_its_last_user() -> None:
    leases, closed = cache()
    with leases.lend("a", "A".upper), leases.lend("a", "never made".upper) as value:
        leases.drop("a", value)
        with leases.lend("a", "new A".lower) as newer:
            assert newer == "new a"
            leases.drop("a", value)
        assert closed == []
    assert closed == ["A"]
    with leases.lend("a", "another A".upper) as still_there:
        assert still_there == "new a", "only the value that was named"


def test_more_values_than_the_limit_may_be_in_use_and_are_closed_afterwards() -> None:
    leases, closed = cache(limit=1)
    with leases.lend("a", "A".upper), leases.lend("b", "B".upper), leases.lend("c", "C".upper):
        assert closed == []
    assert closed == ["C", "B"], "in the order in which they are given back; the last one stays"
    with leases.lend("a", lambda: "another A") as value:
        assert value == "A"


@given(steps=st.lists(st.tuples(st.sampled_from("abcde"), st.booleans()), max_size=40), limit=st.integers(1, 3))
def test_whatever_is_lent_in_whatever_order(steps: list[tuple[str, bool]], limit: int) -> None:
    """What is lent is open, one value a key; what is not lent is within the limit; each is closed once."""
    closed: list[tuple[str, int]] = []
    leases: LeaseCache[str, tuple[str, int]] = LeaseCache(closed.append, limit)
    numbers = itertools.count()
    made: list[tuple[str, int]] = []
    lent: list[tuple[AbstractContextManager[tuple[str, int]], tuple[str, int]]] = []

    def make(key: str) -> tuple[str, int]:
        made.append((key, next(numbers)))
        return made[-1]

    for key, gives_back in steps:
        if gives_back and lent:
            lent.pop(0)[0].__exit__(None, None, None)
        else:
            loan = leases.lend(key, lambda key=key: make(key))  # type: ignore[misc]
            lent.append((loan, loan.__enter__()))
        used = {value for _, value in lent}
        assert len({key for key, _ in used}) == len(used)
        assert not used & set(closed)
        assert len(set(made) - set(closed)) <= max(limit, len(used))
    leases.clear()
    while lent:
        lent.pop()[0].__exit__(None, None, None)
    assert sorted(closed) == sorted(made)


def test_clearing_closes_the_idle_now_and_the_lent_later() -> None:
    leases, closed = cache()
    with leases.lend("a", "A".upper):
        with leases.lend("b", "B".upper):
            pass
        leases.clear()
        assert closed == ["B"]
    assert closed == ["B", "A"]


def test_of_two_made_at_once_one_is_closed_and_both_users_get_the_same() -> None:
    leases, closed = cache()
    both = threading.Barrier(2)
    got: list[str] = []

    def work(name: str) -> None:
        def make() -> str:
            both.wait(10)
            return name

        with leases.lend("k", make) as value:
            got.append(value)
            both.wait(10)

    threads = [threading.Thread(target=work, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert got[0] == got[1]
    assert len(closed) == 1
    assert closed[0] != got[0]


def test_who_asks_for_what_is_being_closed_waits_for_that() -> None:
    """A task's session is free for a new holder only when the former one has given it back."""
    closing, goes_on = threading.Event(), threading.Event()
    events: list[str] = []

    def close(value: str) -> None:
        closing.set()
        assert goes_on.wait(10)
        events.append(f"closed {value}")

    leases: LeaseCache[str, str] = LeaseCache(close, 1)

    def ask_again() -> None:
        with leases.lend("a", lambda: events.append("made a new A") or "A2"):  # type: ignore[func-returns-value]
            goes_on.set()

    def ask_for_another() -> None:
        with leases.lend("b", "B".upper):
            pass

    with leases.lend("a", "A".upper):
        pass
    threads = [threading.Thread(target=ask_for_another), threading.Thread(target=ask_again)]
    threads[0].start()
    assert closing.wait(10)
    threads[1].start()
    threads[1].join(0.2)
    goes_on.set()
    for thread in threads:
        thread.join(10)
    assert events[:2] == ["closed A", "made a new A"]
