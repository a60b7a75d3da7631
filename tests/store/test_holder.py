"""Which processes live: by their numbers where those can be seen, else by a file that each keeps locked."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest

from tam_backend.store.holder import Holder, Holders

# Holds a mark until it is told to end.
LIVES = """
import sys
from pathlib import Path
from tam_backend.store.holder import Holders
holders = Holders(Path(sys.argv[1]))
print(holders.new(), flush=True)
sys.stdin.read()
"""


def test_a_name_reads_back_as_it_was_written(tmp_path: Path) -> None:
    for holders in (Holders(), Holders(tmp_path)):
        mine = holders.new()
        assert Holder.parse(str(mine)) == mine
        assert len(str(mine)) <= 200
        assert holders.lives(mine)
        holders.close()


def test_a_process_number_that_was_given_again_holds_nothing() -> None:
    holders = Holders()
    mine = holders.new()
    assert not holders.lives(replace(mine, born="another-time"))
    assert not holders.lives(replace(mine, process=2**22 + 1))


def test_a_machine_that_changes_its_name_still_knows_its_processes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("socket.gethostname", lambda: "before:the-restart" * 10)
    before = replace(Holders().new(), process=2**22 + 1)
    monkeypatch.setattr("socket.gethostname", lambda: "after")
    assert not Holders().lives(Holder.parse(str(before)))


def test_two_containers_of_one_name_do_not_take_each_other_for_dead() -> None:
    holders = Holders()
    elsewhere = replace(holders.new(), numbers="another-space", process=2**22 + 1)
    assert holders.lives(elsewhere), "its number means nothing here"


def test_in_a_shared_folder_the_lock_tells(tmp_path: Path) -> None:
    """A process in another container: its number cannot be seen, its lock can."""
    command = [sys.executable, "-c", LIVES, str(tmp_path)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    with process as other:
        assert other.stdout is not None
        there = replace(Holder.parse(other.stdout.readline().strip()), numbers="another-space")
        shared, alone, elsewhere = Holders(tmp_path), Holders(), Holders(tmp_path / "another")
        assert shared.lives(there)
        other.kill()
        other.wait(10)
    assert not shared.lives(there)
    assert not shared.lives(replace(there, token="another taking")), "asked once more, the answer is the same"
    assert alone.lives(there)
    assert elsewhere.lives(there), "it may live where we do not look"


@pytest.mark.parametrize("text", ["host:12:boot-77:token", "a:host:12::token"])
def test_names_that_older_versions_wrote_count_as_living_until_their_lease_ends(text: str) -> None:
    assert Holders().lives(Holder.parse(text))


def test_the_files_of_processes_that_ended_long_ago_are_cleared_away(tmp_path: Path) -> None:
    for name, age_s in (("long-ago", 100_000), ("just-now", 60)):
        (tmp_path / name).touch()
        os.utime(tmp_path / name, (time.time() - age_s,) * 2)
    living = Holders(tmp_path)
    [mark] = {path.name for path in tmp_path.iterdir()} - {"just-now"}
    os.utime(tmp_path / mark, (0, 0))
    Holders(tmp_path)
    names = {path.name for path in tmp_path.iterdir()}
    assert {"just-now", mark} < names
    assert len(names) == 3
    living.close()
    assert mark not in {path.name for path in tmp_path.iterdir()}
