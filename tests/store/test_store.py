"""A stored session outlives its process: nothing a human said is lost, and tracked masks come back bit for bit."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from databases import KINDS, empty_database
from stored_sessions import KEY, VIDEO, click, opened

from tam_backend.errors import BusyError
from tam_backend.store.database import Database
from tam_backend.store.sessions import ObjectState, SessionKey, SessionStore, StoredSession
from tam_backend.types import Prompt


@pytest.fixture(params=KINDS)
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return empty_database(request.param, tmp_path)


@pytest.fixture
def store(url: str) -> Iterator[SessionStore]:
    database = Database(url)
    yield SessionStore(database)
    database.close()


def test_prompts_keyframes_labels_ends_and_masks_come_back_as_they_were(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 5, label="Bird"))
        session.prompt(Prompt(object_id=2, frame=0, mask=VIDEO.truth(0, 2), box=(80, 50, 120, 90)))
        list(session.propagate())
        session.end(2, 30)
        before = {result.frame: result for result in session.tracks}
        keyframes = {each: session.keyframes(each) for each in session.labels}
    with opened(store) as session:
        assert session.labels == {1: "Bird", 2: ""}
        assert session.known(1)[5].points == ((*VIDEO.centre(5), True),)
        assert session.known(2)[0].box == (80, 50, 120, 90)
        for each, masks in keyframes.items():
            assert {frame: (mask.array.tobytes(), mask.quality) for frame, mask in masks.items()} == {
                frame: (mask.array.tobytes(), mask.quality) for frame, mask in session.keyframes(each).items()
            }
        assert len(session.tracks) == len(VIDEO)
        for result in session.tracks:
            assert result.quality == before[result.frame].quality
            assert result.source == before[result.frame].source
            assert all(np.array_equal(result.masks[each], before[result.frame].masks[each]) for each in (1, 2))
        # The end was said but not tracked before the restart: it is still to be done.
        assert {result.frame for result in session.update()} == set(range(1, 40))
        assert not any(session.tracks[frame].masks[2].any() for frame in range(30, 40))


def test_what_was_tracked_is_not_tracked_again_after_a_restart(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        list(session.propagate())
    with opened(store) as session:
        assert list(session.update()) == []


def test_a_stopped_propagation_goes_on_where_it_stopped(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 5))
        running = session.propagate()
        first = [next(running).frame for _ in range(12)]
        running.close()
    with opened(store) as session:
        again = [result.frame for result in session.update()]
        assert sorted(again) == sorted(set(range(40)) - set(first))
        assert list(session.update()) == []


def test_a_cancelled_propagation_is_stored_at_once(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        running = session.propagate()
        for _ in range(5):
            next(running)
        running.close()
        assert store.summaries()[0].frames_done == 5


def test_a_prompt_writes_its_own_frame_and_no_other(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[tuple[int, ...]] = []
    save = StoredSession.save_object

    def save_and_note(stored: StoredSession, object_id: int, state: ObjectState, frames: Collection[int] = ()) -> None:
        written.append(tuple(frames))
        save(stored, object_id, state, frames)

    monkeypatch.setattr(StoredSession, "save_object", save_and_note)
    with opened(store) as session:
        for frame in range(10):
            session.prompt(Prompt(object_id=1, frame=frame, mask=VIDEO.truth(frame)))
    assert written == [(frame,) for frame in range(10)]
    with opened(store) as session:
        assert list(session.keyframes(1)) == list(range(10))
        session.clear(1, 4)
    with opened(store) as session:
        assert 4 not in session.keyframes(1)


def test_a_removed_object_is_told_apart_from_one_that_took_its_number(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        session.prompt(click(2, 0))
        list(session.propagate())
        session.remove(2)
        session.prompt(click(2, 7, label="Fish"))
    with opened(store) as session:
        assert list(session.keyframes(2)) == [7]
        assert all(2 not in result.masks for result in session.tracks)
        list(session.update())
        assert all(2 in result.masks for result in session.tracks)


def test_many_threads_work_on_a_task_each(store: SessionStore) -> None:
    def work(number: int) -> int:
        with opened(store, key=SessionKey("7", str(number), "media")) as session:
            session.prompt(click(1, number))
            return len(list(session.propagate()))

    with ThreadPoolExecutor(6) as threads:
        assert list(threads.map(work, range(6))) == [len(VIDEO)] * 6
    assert {each.frames_done for each in store.summaries()} == {len(VIDEO)}


def test_an_object_that_was_removed_stays_removed(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        session.prompt(click(2, 0))
        list(session.propagate())
        session.remove(2)
    with opened(store) as session:
        assert list(session.labels) == [1]
        assert all(list(result.masks) == [1] for result in session.tracks)


def test_other_weights_drop_tracked_masks_and_keep_what_a_human_said(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 5))
        list(session.propagate())
    with opened(store, weights="colour-2") as session:
        assert list(session.keyframes(1)) == [5]
        assert len(session.tracks) == 0
        assert len(list(session.update())) == len(VIDEO)


def test_a_session_is_read_without_holding_it(store: SessionStore) -> None:
    assert store.find("7", "12") is None
    with opened(store) as session:
        session.prompt(click(1, 5, label="Bird"))
        list(session.propagate())
        view = store.find("7", "12")
        assert view is not None
        assert view.summary.frames == view.summary.frames_done == len(VIDEO)
        assert view.summary.labels == {1: "Bird"}
        assert list(view.quality[1]) == list(range(len(VIDEO)))
        assert view.source[1][5] == "prompt"
        assert view.source[1][6] == "propagated"
        assert view.keyframes == {1: (5,)}
        assert np.array_equal(store.masks(KEY, 9)[1], session.tracks[9].masks[1])
        assert [each.key for each in store.summaries()] == [KEY]
    assert store.masks(KEY, 99) == {}


def test_two_holders_of_one_session_are_told_apart(store: SessionStore, url: str) -> None:
    with opened(store) as session:
        with pytest.raises(BusyError, match="Another process works on task 12"):
            opened(SessionStore(Database(url)))
        with opened(store, key=SessionKey("7", "13", "media")) as other:
            other.prompt(click(1, 0))
        session.prompt(click(1, 0))


def test_whoever_lost_the_session_writes_nothing_more(store: SessionStore) -> None:
    session = opened(store)
    session.prompt(click(1, 0))
    store.delete(KEY)
    with opened(store) as newer:
        newer.prompt(click(2, 0))
        with pytest.raises(BusyError, match="took this session over, or it was deleted"):
            session.prompt(click(1, 7))
        assert store.find("7", "12").keyframes == {2: (0,)}  # type: ignore[union-attr]


def test_the_last_holder_of_a_deleted_session_cannot_write_to_the_next(store: SessionStore) -> None:
    stale = opened(store)
    store.delete(KEY)
    with opened(store, key=SessionKey("7", "13", "media")):
        pass
    with pytest.raises(BusyError, match="deleted"):
        stale.prompt(click(1, 0))
    assert store.find("7", "13").keyframes == {}  # type: ignore[union-attr]
    stale.close()


def test_old_sessions_are_pruned_and_held_ones_are_not(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        assert store.prune(older_than_days=0.0) == 0
    assert store.prune(older_than_days=1.0) == 0
    assert store.prune(older_than_days=0.0) == 1
    assert store.find("7", "12") is None


def test_what_people_clicked_in_tasks_is_counted_in_the_order_in_which_they_were_begun(store: SessionStore) -> None:
    """Points, boxes and painted masks, whoever sees the task; of a task the one who clicked most counts."""
    with opened(store) as session:
        session.prompt(click(1, 0))
        session.prompt(click(1, 0))
        session.prompt(Prompt(2, 5, box=(90, 60, 110, 80)))
        session.prompt(Prompt(2, 9, mask=VIDEO.truth(9, 2)))
    with opened(store, key=SessionKey("7", "12", "media", "3")) as session:
        session.prompt(click(1, 0))
    opened(store, "own+p7.1", SessionKey("7", "untouched", "media")).close()
    with opened(store, "own+p7.1", SessionKey("7", "13", "media")) as session:
        session.prompt(click(1, 3))
    opened(store, key=SessionKey("8", "12", "media")).close()
    told = [(each.task, each.clicks, each.networks) for each in store.work("7")]
    assert told == [("12", 4, "colour-1"), ("untouched", 0, "own+p7.1"), ("13", 1, "own+p7.1")]
    begun = [each.begun_at for each in store.work("7")]
    assert begun == sorted(begun)
    assert [each.task for each in store.work("7", last=1)] == ["13"]
    assert [each.task for each in store.work("7", last=9)] == ["12", "13"], "nobody clicked in the other"
    assert store.work("9") == []


def test_when_a_session_was_begun_does_not_change_with_the_work_on_it(store: SessionStore) -> None:
    opened(store).close()
    [before] = store.work("7")
    with opened(store, weights="colour-2") as session:
        session.prompt(click(1, 0))
    [after] = store.work("7")
    assert (after.begun_at, after.clicks, after.networks) == (before.begun_at, 1, "colour-2")


def test_a_video_of_another_size_begins_anew(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
    stored = store.open(KEY, frames=3, size_hw=(10, 20), weights="colour-1")
    assert stored.objects() == {}
    stored.close()


def test_a_view_tells_where_an_object_is_absent(store: SessionStore) -> None:
    with opened(store) as session:
        session.prompt(click(1, 0))
        session.end(1, 30)
        list(session.propagate())
    view = store.find("7", "12")
    assert view is not None
    assert view.absent == {1: frozenset(range(30, 40))}
