"""Things that must be closed, but never while somebody uses them."""

from __future__ import annotations

import threading

from tam_backend.leases import LeaseCache


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


def test_a_value_in_use_is_closed_only_when_it_is_given_back() -> None:
    leases, closed = cache(limit=1)
    with leases.lend("a", "A".upper), leases.lend("a", "A".upper):
        with leases.lend("b", "B".upper):
            assert closed == []
        assert closed == []
    assert closed == ["A"]


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
