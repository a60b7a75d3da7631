"""Two processes that have a task open with networks of different versions: neither drops the other's masks."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from colour_models import ColourModels
from databases import empty_database
from fake_backend import make_settings
from synthetic import MovingDiscs

from tam_backend.engine import TrackAnything
from tam_backend.errors import BusyError
from tam_backend.problems import ProblemLog
from tam_backend.store.adapted_networks import AdaptedNetworks, Findings
from tam_backend.store.database import Database
from tam_backend.store.sessions import SessionKey, SessionStore
from tam_backend.types import Prompt, VideoSource
from tam_backend.workers.in_process import InProcessWorkers
from tam_backend.workers.networks import Networks
from tam_backend.workers.project_networks import ProjectNetworks
from tam_backend.workers.workers import View

DISCS = MovingDiscs(frames=6)
VIEW = View(SessionKey("7", "1", "media"), "discs")
CLICK = [Prompt(object_id=1, frame=0, points=[(*DISCS.centre(0), True)])]


class Fetcher:
    """Has the one video."""

    def open_media(self, address: Any, *, task_id: int | None, timeout_s: float) -> VideoSource:
        return MovingDiscs(frames=6)


class Process:
    """One of those that share a database."""

    def __init__(self, folder: Path, url: str) -> None:
        database = Database(url)
        self.adapted = AdaptedNetworks(database)
        self.store = SessionStore(database)
        self.networks = Networks(make_settings(folder, device="cpu"))
        own = ProjectNetworks(self.networks, self.adapted, self.store, ProblemLog())
        self.workers = InProcessWorkers(self.networks, Fetcher(), self.store, 4, own)  # type: ignore[arg-type]  # all that is asked

    def learn(self) -> str:
        return self.adapted.add("7", self.networks.version, "stamp", Findings("Better."), {"tracker": b"w"}).name

    def click(self) -> str:
        with self.workers.lent(VIEW, 60, "click") as opened:
            opened.click(CLICK, lambda: False)
            return opened.video.version

    def track(self) -> tuple[str, int]:
        """Track the task; return with which networks, and how many frames were still to be tracked."""
        with self.workers.lent(VIEW, 60, "background") as opened, opened.tracking_in_background(CLICK) as tracking:
            before = tracking.frames_done
            while not tracking.done:
                tracking.advance()
            return opened.video.version, tracking.frames_total - before


@pytest.fixture
def process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], Process]]:
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: TrackAnything(ColourModels().models()))
    monkeypatch.setattr(TrackAnything, "adapted", lambda *_: TrackAnything(ColourModels().models()))
    url = empty_database("sqlite", tmp_path)
    with ExitStack() as until_tested:

        def begun() -> Process:
            made = Process(tmp_path, url)
            until_tested.callback(made.workers.close)
            return made

        yield begun


def test_who_opened_a_task_before_a_promotion_goes_on_with_what_another_tracked_after_it(
    process: Callable[[], Process],
) -> None:
    before, after = process(), process()
    assert before.click() == before.networks.version
    name = before.learn()
    assert after.track() == (name, 6)
    assert [each.track() for each in (before, after, before)] == [(name, 0)] * 3
    assert before.click() == name


def test_what_was_tracked_before_a_promotion_is_not_dropped_by_who_opens_the_task_after_it(
    process: Callable[[], Process],
) -> None:
    before, after = process(), process()
    assert before.click() == after.networks.version
    name = after.learn()
    assert after.click() == name
    assert before.track() == (after.networks.version, 6)
    assert after.track() == before.track() == (after.networks.version, 0)


def test_masks_that_are_stored_while_another_process_has_the_task_lent_are_not_dropped(
    process: Callable[[], Process],
) -> None:
    before, after = process(), process()
    with before.workers.lent(VIEW, 60, "background") as opened:
        name = before.learn()
        assert after.track() == (name, 6)
        with pytest.raises(BusyError, match="other networks"), opened.tracking_in_background(CLICK):
            pytest.fail("it would have dropped them")
    assert before.track() == (name, 0)


def test_what_was_made_by_networks_that_were_taken_back_is_tracked_anew(process: Callable[[], Process]) -> None:
    first, second = process(), process()
    name = first.learn()
    assert second.track() == (name, 6)
    first.adapted.roll_back("7", first.networks.version)
    assert first.track() == (first.networks.version, 6)
