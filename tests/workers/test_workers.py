"""What every kind of worker does the same: in this process, and elsewhere behind a line that carries only bytes."""

from __future__ import annotations

import pickle
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from colour_models import ColourModels
from fake_backend import make_settings
from synthetic import MovingDiscs, iou

from tam_backend import errors
from tam_backend.engine import TrackAnything
from tam_backend.errors import (
    BusyError,
    CancelledError,
    InvalidInputError,
    MediaNotFoundError,
    OverloadedError,
    StoreError,
    TamError,
    UnreadableMediaError,
)
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.types import EncodedMask, Prompt, RgbFrame, VideoSource
from tam_backend.workers import borrowed, remote
from tam_backend.workers.borrowed import BorrowedView
from tam_backend.workers.in_process import InProcessWorkers
from tam_backend.workers.networks import Networks
from tam_backend.workers.remote import RemoteWorker
from tam_backend.workers.workers import Cancelled, OpenView, View, Work

DISCS = MovingDiscs(frames=10, starts_xy=((30, 25), (100, 70)), steps_xy=((3, 0), (-3, 0)))
PATIENCE_S = 20.0
Lend = Callable[..., AbstractContextManager[OpenView]]


class Video(MovingDiscs):
    """May have a damaged frame."""

    def __init__(self, damaged: int | None = None) -> None:
        super().__init__(frames=10, starts_xy=DISCS.starts_xy, steps_xy=DISCS.steps_xy)
        self.damaged = damaged

    def __getitem__(self, index: int) -> RgbFrame:
        if index == self.damaged:
            raise UnreadableMediaError(f"Frame {index} is damaged.", "Leave it out.")
        return super().__getitem__(index)

    def close(self) -> None:
        """Nothing is open."""


class Fetcher:
    """Has one video by each address."""

    def open_media(self, address: Any, *, task_id: int | None, timeout_s: float) -> VideoSource:
        del task_id, timeout_s
        if address == "gone":
            raise MediaNotFoundError("There is no such video.", "Import it again.")
        if address == "small":
            return MovingDiscs(frames=2, height=48, width=64)
        return Video(damaged=4 if address == "damaged" else None)


class BytesLine:
    """Calls a worker by what is pickled, as any engine does; counts the bytes of the largest answer."""

    def __init__(self, worker: RemoteWorker) -> None:
        self.worker = worker
        self.largest = 0

    def ask(self, what: str, *args: Any, limit_s: float, cancelled: Cancelled | None = None, **named: Any) -> Any:
        answers: list[bytes] = []
        said = pickle.dumps((args, named))

        def work() -> None:
            heard, by_name = pickle.loads(said)
            answers.append(pickle.dumps(getattr(self.worker, what)(*heard, **by_name)))

        thread = threading.Thread(target=work)
        thread.start()
        while thread.is_alive():
            thread.join(0.01)
            if cancelled is not None and cancelled():
                raise CancelledError("The client hung up.")
        self.largest = max(self.largest, len(answers[0]))
        return pickle.loads(answers[0])

    def tell(self, what: str, *args: Any) -> None:
        getattr(self.worker, what)(*args)


def local(folder: Path, fetcher: Fetcher) -> InProcessWorkers:
    networks = Networks(make_settings(folder))
    store = SessionStore(Database(sqlite_url(folder / "tam.sqlite")))
    return InProcessWorkers(networks, fetcher, store, 4)  # type: ignore[arg-type]  # all that is asked of a fetcher


@pytest.fixture
def fetcher(monkeypatch: pytest.MonkeyPatch) -> Fetcher:
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: TrackAnything(ColourModels().models()))
    return Fetcher()


@pytest.fixture(params=["in process", "elsewhere"])
def lend(request: pytest.FixtureRequest, tmp_path: Path, fetcher: Fetcher) -> Iterator[Lend]:
    if request.param == "in process":
        workers = local(tmp_path, fetcher)
        yield lambda view, work="track": workers.lent(view, PATIENCE_S, work)
        workers.close()
        return
    worker = RemoteWorker("w", lambda: local(tmp_path, fetcher), most_waiting=8)

    @contextmanager
    def borrowed(view: View, work: Work = "track") -> Iterator[OpenView]:
        del work
        yield BorrowedView(BytesLine(worker), view, PATIENCE_S)

    yield borrowed
    worker.close()


def view(address: str = "discs", annotator: str = "") -> View:
    return View(SessionKey("1", "7", address, annotator), address, 7)


def never() -> bool:
    return False


def soon() -> float:
    return time.monotonic() + PATIENCE_S


def on_disc(disc: int = 1, frame: int = 0) -> list[Prompt]:
    return [Prompt(disc, frame, points=[(*DISCS.centre(frame, disc), True)])]


def test_a_view_tells_what_is_known_of_its_video(lend: Lend) -> None:
    with lend(view()) as opened:
        assert (opened.video.name, opened.video.frames, opened.video.size_hw) == ("discs", 10, (96, 128))
        assert opened.own_size_hw(3) == (96, 128)


def test_a_click_is_answered_by_one_mask(lend: Lend) -> None:
    with lend(view(), "click") as opened:
        mask = opened.click(on_disc(2, 5), never)
        assert iou(mask.array, DISCS.truth(5, 2)) > 0.9
        assert opened.own_size_hw(5) == (96, 128)


def test_a_propagation_comes_to_every_frame_and_is_there_the_next_time(lend: Lend) -> None:
    wanted = on_disc(1) + on_disc(2)
    with lend(view()) as opened, opened.tracking(wanted, soon(), never) as tracking:
        frames: list[int] = []
        while not tracking.done:
            frames += tracking.advance()
        assert sorted(frames) == list(range(10))
        assert (tracking.frames_done, tracking.frames_total) == (10, 10)
        found = list(tracking.results())
    assert [each.frame for each in found] == list(range(10))
    assert all(iou(each.masks[disc], DISCS.truth(each.frame, disc)) > 0.9 for each in found for disc in (1, 2))
    with lend(view()) as opened, opened.tracking(wanted, soon(), never) as tracking:
        assert tracking.done
        last = tracking.result_on(9)
        assert last is not None
        np.testing.assert_array_equal(last.masks[2], found[9].masks[2])
        assert last.quality == found[9].quality
        assert tracking.result_on(10) is None


def test_damaged_frames_are_named_and_left_out(lend: Lend) -> None:
    with lend(view("damaged")) as opened, opened.tracking(on_disc(), soon(), never) as tracking:
        while not tracking.done:
            tracking.advance()
        assert {frame: type(error) for frame, error in tracking.unreadable.items()} == {4: UnreadableMediaError}
        assert "Leave it out" in tracking.unreadable[4].remedy
        assert 4 not in [each.frame for each in tracking.results()]


def test_media_that_cannot_be_had_are_told_by_their_own_error(lend: Lend) -> None:
    with pytest.raises(MediaNotFoundError, match="no such video"), lend(view("gone")):
        pytest.fail("there is nothing to lend")


def test_pages_of_an_image_that_shows_one_are_refused(lend: Lend) -> None:
    alone = View(SessionKey("1", "8", "media"), "discs", 8, one_page=True)
    with pytest.raises(UnreadableMediaError, match="10 pages"), lend(alone):
        pytest.fail("there is nothing to lend")


def test_an_error_in_the_middle_is_told_and_ends_the_loan(lend: Lend) -> None:
    only_negative = [Prompt(1, 0, points=[(1, 1, False)])]
    with (
        pytest.raises(errors.InvalidPromptError),
        lend(view()) as opened,
        opened.tracking(only_negative, soon(), never),
    ):
        pytest.fail("such prompts make no mask")
    with lend(view()) as opened, opened.tracking(on_disc(), soon(), never) as tracking:
        assert tracking.advance() is not None


def test_who_asks_for_other_prompts_takes_over(lend: Lend) -> None:
    begun, ended = threading.Event(), threading.Event()

    def first() -> None:
        with lend(view()) as opened, opened.tracking(on_disc(1), soon(), never) as tracking:
            begun.set()
            while not tracking.superseded:
                tracking.advance()  # also where nothing is left to track: it is the worker that tells
                time.sleep(0.01)
        ended.set()

    threading.Thread(target=first, daemon=True).start()
    assert begun.wait(PATIENCE_S)
    with lend(view()) as opened, opened.tracking(on_disc(2), soon(), never) as tracking:
        assert ended.wait(PATIENCE_S)
        while not tracking.done:
            tracking.advance()
        assert {object_id for each in tracking.results() for object_id in each.masks} == {2}


def test_a_job_makes_way_for_whoever_waits(lend: Lend) -> None:
    done: list[int] = []

    def wait() -> None:
        with lend(view()) as opened, opened.tracking(on_disc(), soon(), never) as tracking:
            done.append(tracking.frames_done)

    with lend(view(), "background") as opened, opened.tracking_in_background(on_disc()) as tracking:
        tracking.advance()
        waiter = threading.Thread(target=wait)
        waiter.start()
        until = soon()
        while not tracking.contested and time.monotonic() < until:
            tracking.advance()
            time.sleep(0.01)
        assert tracking.contested
    waiter.join(PATIENCE_S)
    assert done, "what the job tracked is there"


def test_a_job_does_not_wait_for_somebody_at_work(lend: Lend) -> None:
    with (
        lend(view()) as opened,
        opened.tracking(on_disc(), soon(), never),
        pytest.raises(BusyError),
        lend(view(), "background") as again,
        again.tracking_in_background(on_disc()),
    ):
        pytest.fail("it is lent")


def test_what_a_job_did_is_free_for_any_other_process_at_once(lend: Lend, tmp_path: Path) -> None:
    with lend(view(), "background") as opened, opened.tracking_in_background(on_disc()) as tracking:
        while not tracking.done:
            tracking.advance()
        store = SessionStore(Database(sqlite_url(tmp_path / "tam.sqlite")))
        assert store.holder_of(view().key) is not None
    assert store.holder_of(view().key) is None


def test_who_hangs_up_while_waiting_is_let_go(lend: Lend) -> None:
    hung_up = threading.Event()
    with lend(view()) as opened, opened.tracking(on_disc(), soon(), never):
        threading.Timer(0.1, hung_up.set).start()
        with pytest.raises(CancelledError), lend(view()) as again, again.tracking(on_disc(), soon(), hung_up.is_set):
            pytest.fail("it is lent")
    with lend(view()) as opened, opened.tracking(on_disc(), soon(), never) as tracking:
        assert tracking.frames_total == 10, "nobody has it any more"


def test_masks_cross_the_border_of_two_videos(lend: Lend) -> None:
    last = {3: EncodedMask.of(DISCS.truth(9, 1))}
    with lend(view()) as opened:
        found = opened.carried_over(last, view("following"), PATIENCE_S)
        assert iou(found[3].array, DISCS.truth(0, 1)) > 0.9
        with pytest.raises(InvalidInputError, match="another size"):
            opened.carried_over(last, view("small"), PATIENCE_S)


def test_a_worker_refuses_what_it_could_not_come_to(tmp_path: Path, fetcher: Fetcher) -> None:
    worker = RemoteWorker("w", lambda: local(tmp_path, fetcher), most_waiting=1)
    with (
        BorrowedView(BytesLine(worker), view(), PATIENCE_S).tracking(on_disc(), soon(), never),
        pytest.raises(OverloadedError, match="add workers"),
    ):
        BorrowedView(BytesLine(worker), view("other"), PATIENCE_S)
    assert BorrowedView(BytesLine(worker), view("other"), PATIENCE_S).video.frames == 10
    worker.close()


def test_a_loan_that_nobody_asks_for_is_taken_back(
    tmp_path: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_IDLE_S", 0.2)
    monkeypatch.setattr(remote, "_LOOK_S", 0.05)
    worker = RemoteWorker("w", lambda: local(tmp_path, fetcher), most_waiting=8)
    opened = BorrowedView(BytesLine(worker), view(), PATIENCE_S)
    with opened.tracking(on_disc(), soon(), never) as of_one_who_died:
        of_one_who_died.advance()
        with opened.tracking(on_disc(2), soon(), never) as tracking:
            while not tracking.done:
                tracking.advance()
        with pytest.raises(BusyError, match="taken the propagation back"):
            of_one_who_died.advance()
    worker.close()


def test_a_loan_is_kept_for_who_has_much_to_do_between_two_questions(
    tmp_path: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_IDLE_S", 0.5)
    monkeypatch.setattr(remote, "_LOOK_S", 0.05)
    monkeypatch.setattr(borrowed, "KEEP_S", 0.05)
    worker = RemoteWorker("w", lambda: local(tmp_path, fetcher), most_waiting=8)
    with BorrowedView(BytesLine(worker), view(), PATIENCE_S).tracking(on_disc(), soon(), never) as tracking:
        time.sleep(1.0)
        assert tracking.advance() is not None
    worker.close()


def test_a_worker_that_cannot_begin_tells_why_and_goes_on_trying(
    tmp_path: Path, fetcher: Fetcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(remote, "_LOOK_S", 0.05)
    database_is_back = threading.Event()

    def make() -> InProcessWorkers:
        if not database_is_back.is_set():
            raise StoreError("The database refuses.")
        return local(tmp_path, fetcher)

    worker = RemoteWorker("w", make, most_waiting=8)
    state = worker.presence().state
    assert (state.name, state.ready, state.failure) == ("w", False, "The database refuses.")
    with pytest.raises(BusyError, match="The database refuses"):
        BorrowedView(BytesLine(worker), view(), PATIENCE_S)
    database_is_back.set()
    until = soon()
    while worker.presence().state.failure and time.monotonic() < until:
        time.sleep(0.01)
    assert BorrowedView(BytesLine(worker), view(), PATIENCE_S).video.frames == 10
    worker.close()


def test_what_another_worker_did_meanwhile_is_found_when_the_view_is_lent_again(
    lend: Lend, tmp_path: Path, fetcher: Fetcher
) -> None:
    def tracked(lent: AbstractContextManager[OpenView], disc: int) -> set[int]:
        with lent as opened, opened.tracking(on_disc(disc), soon(), never) as tracking:
            while not tracking.done:
                tracking.advance()
            return {object_id for each in tracking.results() for object_id in each.masks}

    assert tracked(lend(view()), 1) == {1}
    database = Database(sqlite_url(tmp_path / "tam.sqlite"))
    with database.transaction() as connection:  # as its lease would be over by itself
        connection.exec_driver_sql("UPDATE sessions SET owned_until = 0")
    elsewhere = local(tmp_path, fetcher)
    assert tracked(elsewhere.lent(view(), PATIENCE_S, "track"), 2) == {2}
    elsewhere.close()
    assert tracked(lend(view()), 1) == {1}


def test_results_come_in_small_parts(tmp_path: Path, fetcher: Fetcher) -> None:
    worker = RemoteWorker("w", lambda: local(tmp_path, fetcher), most_waiting=8)
    line = BytesLine(worker)
    with BorrowedView(line, view(), PATIENCE_S).tracking(on_disc(), soon(), never) as tracking:
        while not tracking.done:
            tracking.advance()
        assert len(list(tracking.results())) == 10
    assert line.largest < 20_000, "masks travel encoded"
    worker.close()


def test_a_worker_tells_how_busy_it_is(tmp_path: Path, fetcher: Fetcher) -> None:
    worker = RemoteWorker("w", lambda: local(tmp_path, fetcher), most_waiting=8)
    opened = BorrowedView(BytesLine(worker), view(), PATIENCE_S)
    opened.click(on_disc(), never)
    with opened.tracking(on_disc(), soon(), never) as tracking:
        while not tracking.done:
            tracking.advance()
        state = worker.presence().state
        assert (state.name, state.ready, state.waiting, state.frames, state.clicks) == ("w", True, 1, 10, 1)
        assert state.busy_s > 0
    assert worker.presence().state.waiting == 0
    worker.close()


def every_error() -> list[type[TamError]]:
    found, left = [], [TamError]
    while left:
        found.append(left.pop())
        left += found[-1].__subclasses__()
    return [each for each in found if each.__module__ == errors.__name__]


@pytest.mark.parametrize("kind", every_error(), ids=lambda kind: kind.__name__)
def test_every_error_travels_whole(kind: type[TamError]) -> None:
    first: dict[type[TamError], Any] = {errors.HttpError: 418, errors.RegionError: "region"}
    error = kind(*([first[kind]] if kind in first else []), "A sentence.", "A remedy.")
    again = pickle.loads(pickle.dumps(error))
    assert type(again) is kind
    assert (again.message, again.remedy, again.status) == ("A sentence.", "A remedy.", error.status)
    assert vars(again) == vars(error)
