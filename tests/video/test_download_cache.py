"""The cache of downloads: what is lent stays whole, the bound holds, and several processes may share the folder."""

from __future__ import annotations

import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import Bundle, RuleBasedStateMachine, consumes, initialize, invariant, rule

from tam_backend.errors import MediaNotFoundError, OutputError
from tam_backend.settings import Settings
from tam_backend.video.download_cache import BorrowedFile, DownloadCache

BOUND = 1000


def filling(content: bytes) -> Callable[[Path], None]:
    def fill(path: Path) -> None:
        path.write_bytes(content)

    return fill


def refuse(path: Path) -> None:
    raise AssertionError("it is there already")


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


def bytes_in(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())


@pytest.fixture
def cache(tmp_path: Path) -> DownloadCache:
    return DownloadCache(tmp_path, BOUND)


def test_what_was_fetched_is_not_fetched_again(cache: DownloadCache, tmp_path: Path) -> None:
    cache.borrow("a", "a.mp4", filling(b"x")).give_back()
    again = DownloadCache(tmp_path, BOUND).borrow("a", "a.mp4", refuse)
    assert again.path.read_bytes() == b"x"


def test_the_least_recently_used_go_first(cache: DownloadCache, tmp_path: Path) -> None:
    for key in ("a", "b", "c", "a", "d"):
        cache.borrow(key, key, filling(bytes(300))).give_back()
    assert names_in(tmp_path) == ["a", "c", "d"]


def test_what_another_process_used_lately_stays(cache: DownloadCache, tmp_path: Path) -> None:
    for key in ("a", "b", "c"):
        cache.borrow(key, key, filling(bytes(300))).give_back()
    DownloadCache(tmp_path, BOUND).borrow("a", "a", refuse).give_back()
    cache.borrow("d", "d", filling(bytes(300))).give_back()
    assert names_in(tmp_path) == ["a", "c", "d"]


def test_a_file_larger_than_the_bound_can_be_used_as_long_as_one_likes(cache: DownloadCache, tmp_path: Path) -> None:
    large = cache.borrow("large", "large", filling(bytes(3 * BOUND)))
    for key in ("a", "b"):
        cache.borrow(key, key, filling(bytes(10))).give_back()
    assert large.path.stat().st_size == 3 * BOUND
    large.give_back()
    cache.borrow("c", "c", filling(bytes(10))).give_back()
    assert "large" not in names_in(tmp_path)


def test_a_folder_can_be_kept_too_and_counts_with_all_that_is_in_it(cache: DownloadCache, tmp_path: Path) -> None:
    def fill(path: Path) -> None:
        path.mkdir()
        for name in ("1.png", "2.png"):
            (path / name).write_bytes(bytes(400))

    cache.borrow("frames", "frames", fill).give_back()
    cache.borrow("a", "a", filling(bytes(300))).give_back()
    assert names_in(tmp_path) == ["a"]


def test_giving_back_twice_takes_nobody_else_s_file_away(cache: DownloadCache, tmp_path: Path) -> None:
    once, other = (cache.borrow("a", "a", filling(bytes(10))) for _ in range(2))
    once.give_back()
    once.give_back()
    cache.borrow("b", "b", filling(bytes(BOUND))).give_back()
    assert other.path.exists()


def test_what_was_discarded_is_fetched_anew_and_only_once(cache: DownloadCache) -> None:
    first, second = (cache.borrow("a", "a", filling(b"bad")) for _ in range(2))
    first.discard()
    fresh = cache.borrow("a", "a", filling(b"good"))
    second.discard()
    assert cache.borrow("a", "a", refuse).path.read_bytes() == fresh.path.read_bytes() == b"good"


def test_a_failed_fetch_leaves_nothing(cache: DownloadCache, tmp_path: Path) -> None:
    def fail(path: Path) -> None:
        path.write_bytes(b"half")
        raise MediaNotFoundError("It is not there.")

    with pytest.raises(MediaNotFoundError):
        cache.borrow("a", "a", fail)
    assert list(tmp_path.iterdir()) == []
    assert cache.borrow("a", "a", filling(b"whole")).path.read_bytes() == b"whole"


def test_a_folder_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    (tmp_path / "downloads").write_text("a file")
    with pytest.raises(OutputError, match=r"downloads: .* TAM_DATA_DIR"):
        DownloadCache(tmp_path / "downloads", BOUND).borrow("a", "a", filling(b"x"))


def test_what_a_crash_left_is_swept_out_and_what_is_being_fetched_is_not(cache: DownloadCache, tmp_path: Path) -> None:
    (tmp_path / "0123.part").mkdir()
    (tmp_path / "0123.part" / "left.mp4").write_bytes(b"half")
    (tmp_path / "of-an-earlier-version.part").write_bytes(b"half")
    (tmp_path / "4567.lock").touch()

    def fill_slowly(path: Path) -> None:
        path.write_bytes(b"half")
        DownloadCache(tmp_path, BOUND).borrow("b", "b", filling(b"x")).give_back()
        path.write_bytes(path.read_bytes() + b" and half")

    assert cache.borrow("a", "a", fill_slowly).path.read_bytes() == b"half and half"
    assert names_in(tmp_path) == ["a", "b"]


def test_an_entry_that_an_earlier_version_left_empty_is_fetched(cache: DownloadCache, tmp_path: Path) -> None:
    cache.borrow("a", "a", filling(b"x")).path.unlink()
    assert cache.borrow("a", "a", filling(b"new")).path.read_bytes() == b"new"


@pytest.mark.parametrize(("given", "bound"), [({}, 4e9), ({"cache_mb": 7}, 7e6)])
def test_the_bound_is_a_setting(given: dict[str, float], bound: float, tmp_path: Path) -> None:
    cache = DownloadCache.of(Settings(data_dir=tmp_path, media_max_mb=1000, **given))  # type: ignore[arg-type]
    assert cache._max_bytes == bound


# Several processes

HOLDER = """
import sys
from pathlib import Path
from tam_backend.video.download_cache import DownloadCache

def fill(path):
    path.write_bytes(bytes(600))
    print("filling", flush=True)
    sys.stdin.readline()

held = DownloadCache(Path(sys.argv[1]), 1000).borrow("a", "a", fill)
print("held", flush=True)
sys.stdin.readline()
"""


def start_holder(folder: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HOLDER, str(folder)]
    return subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)


def said(process: subprocess.Popen[str]) -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def go_on(process: subprocess.Popen[str]) -> None:
    assert process.stdin is not None
    process.stdin.write("\n")
    process.stdin.flush()


def test_no_process_deletes_what_another_one_uses_until_that_one_ends(cache: DownloadCache, tmp_path: Path) -> None:
    with start_holder(tmp_path) as holder:
        assert said(holder) == "filling"
        go_on(holder)
        assert said(holder) == "held"
        cache.borrow("b", "b", filling(bytes(600))).give_back()
        cache.borrow("c", "c", filling(bytes(600))).give_back()
        assert names_in(tmp_path) == ["a", "c"]
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        cache.borrow("d", "d", filling(bytes(600))).give_back()
        assert names_in(tmp_path) == ["d"]


def test_a_process_waits_for_another_that_fetches_the_same_file(cache: DownloadCache, tmp_path: Path) -> None:
    borrowed: list[BorrowedFile] = []
    with start_holder(tmp_path) as holder:
        assert said(holder) == "filling"
        waiting = threading.Thread(target=lambda: borrowed.append(cache.borrow("a", "a", refuse)))
        waiting.start()
        waiting.join(0.2)
        assert waiting.is_alive()
        go_on(holder)
        waiting.join(20)
        assert borrowed[0].path.read_bytes() == bytes(600)
        go_on(holder)


def test_what_a_killed_process_was_fetching_is_fetched_by_the_next(cache: DownloadCache, tmp_path: Path) -> None:
    with start_holder(tmp_path) as holder:
        assert said(holder) == "filling"
        waiting = threading.Timer(0.2, holder.kill)
        waiting.start()
        assert cache.borrow("a", "a", filling(b"whole")).path.read_bytes() == b"whole"
    assert names_in(tmp_path) == ["a"]


CROWD = """
import random, sys
from pathlib import Path
from tam_backend.video.download_cache import DownloadCache

folder, seed, discards = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3] == "discards"
chance = random.Random(seed)
cache = DownloadCache(folder, 1000)
held = []
for _ in range(400):
    key = str(chance.randrange(8))
    content = key.encode() * 40 * (1 + int(key))
    file = cache.borrow(key, key, lambda path: path.write_bytes(content))
    held.append((file, content))
    if discards and chance.random() < 0.1:
        file.discard()
    while len(held) > 2:
        file, content = held.pop(chance.randrange(len(held)))
        # What somebody discarded may go while others have it: it is damaged for them too.
        assert discards or file.path.read_bytes() == content
        file.give_back()
"""


@pytest.mark.parametrize("discards", ["discards", "discards nothing"])
def test_a_crowd_of_processes_never_meets_an_error(tmp_path: Path, discards: str) -> None:
    commands = [[sys.executable, "-c", CROWD, str(tmp_path), str(seed), discards] for seed in range(3)]
    crowd = [subprocess.Popen(command, stderr=subprocess.PIPE, text=True) for command in commands]
    for process in crowd:
        _, errors = process.communicate(timeout=120)
        assert process.returncode == 0, errors
    DownloadCache(tmp_path, BOUND).borrow("last", "last", filling(b"x")).give_back()
    assert bytes_in(tmp_path) <= BOUND
    assert not [path for path in tmp_path.iterdir() if path.suffix]


# Every order of events


class Caches(RuleBasedStateMachine):
    """Two caches on one folder: what one process does to another, since a lock belongs to who opened it."""

    lent = Bundle("lent")

    @initialize()
    def begin(self) -> None:
        self.place = TemporaryDirectory()
        self.folder = Path(self.place.name) / "downloads"
        self.caches = [DownloadCache(self.folder, BOUND) for _ in range(2)]
        self.in_use: dict[int, tuple[BorrowedFile, bytes]] = {}
        self.most_in_use = 0

    def teardown(self) -> None:
        for file, _ in self.in_use.values():
            file.give_back()
        self.place.cleanup()

    @rule(target=lent, which=st.integers(0, 1), key=st.sampled_from("abcdefgh"))
    def borrow(self, which: int, key: str) -> int:
        content = key.encode() * 60 * (1 + ord(key) - ord("a"))
        file = self.caches[which].borrow(key, f"{key}.mp4", filling(content))
        number = max(self.in_use, default=0) + 1
        self.in_use[number] = (file, content)
        self.most_in_use = max(self.most_in_use, sum(map(len, {each for _, each in self.in_use.values()})))
        return number

    @rule(number=consumes(lent))
    def give_back(self, number: int) -> None:
        if number in self.in_use:
            self.in_use.pop(number)[0].give_back()

    @rule(number=consumes(lent))
    def discard(self, number: int) -> None:
        if number not in self.in_use:
            return
        file, content = self.in_use.pop(number)
        file.discard()
        for other in [each for each, (_, same) in self.in_use.items() if same == content]:
            self.in_use.pop(other)[0].give_back()  # damaged for them too

    @rule(which=st.integers(0, 1))
    def restart(self, which: int) -> None:
        self.caches[which] = DownloadCache(self.folder, BOUND)

    @invariant()
    def what_is_lent_is_whole(self) -> None:
        for file, content in self.in_use.values():
            assert file.path.read_bytes() == content

    @invariant()
    def nothing_half_made_is_left(self) -> None:
        assert not self.folder.exists() or all(not path.suffix for path in self.folder.iterdir())

    @invariant()
    def the_bound_holds(self) -> None:
        unseen = BOUND // 16
        assert not self.folder.exists() or bytes_in(self.folder) <= BOUND + unseen + self.most_in_use


TestEveryOrderOfEvents = Caches.TestCase
TestEveryOrderOfEvents.settings = settings(max_examples=60, stateful_step_count=30, deadline=None)
