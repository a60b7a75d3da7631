"""One process at a time, of many that share a database, has a turn; a dead one keeps nobody waiting."""

from __future__ import annotations

import threading
from pathlib import Path

import pytest
from databases import KINDS, empty_database

from tam_backend.store.database import Database
from tam_backend.store.holder import Holder, Holders
from tam_backend.store.turns import Turns


class DeadHolders(Holders):
    """Everybody else is dead."""

    def lives(self, holder: Holder) -> bool:
        return False


@pytest.fixture(params=KINDS)
def database(request: pytest.FixtureRequest, tmp_path: Path) -> Database:
    return Database(empty_database(request.param, tmp_path))


def test_whoever_comes_second_does_not_get_it_until_it_is_given_back(database: Database) -> None:
    first, second = Turns(database), Turns(database)
    with first.taken("sweep", 60) as mine, second.taken("sweep", 60) as theirs, second.taken("cook", 60) as other:
        assert (mine, theirs, other) == (True, False, True)
        with second.taken("sweep", 60) as still:
            assert not still, "to be refused gives nothing back"
    with second.taken("sweep", 60) as now:
        assert now
    with pytest.raises(RuntimeError), first.taken("sweep", 60):
        raise RuntimeError
    with second.taken("sweep", 60) as after:
        assert after


def test_what_is_over_or_its_process_dead_is_anybodys_and_not_taken_back(database: Database) -> None:
    with Turns(database).taken("sweep", -1) as mine, Turns(database).taken("sweep", 60) as next_one:
        assert mine and next_one
    with Turns(database).taken("sweep", 60), Turns(database, DeadHolders()).taken("sweep", 60) as theirs:
        assert theirs
    with Turns(database).taken("late", -1) as late, Turns(database).taken("late", 60) as newer:
        assert late and newer
        with Turns(database).taken("late", 60) as third:
            assert not third


def test_of_many_who_ask_at_once_one_gets_it(database: Database) -> None:
    begin, all_asked, got = threading.Barrier(6), threading.Barrier(6), []

    def ask() -> None:
        begin.wait(10)
        with Turns(database).taken("sweep", 60) as mine:
            got.append(mine)
            all_asked.wait(20)

    threads = [threading.Thread(target=ask) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert sorted(got) == [False] * 5 + [True]
