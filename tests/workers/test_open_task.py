"""An open task: clicks and propagations keep out of each other's way, and of clicks the newest one counts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
from colour_models import ColourModels
from synthetic import MovingDiscs, iou

from tam_backend.engine import TrackAnything
from tam_backend.errors import CancelledError
from tam_backend.session.session import Session
from tam_backend.types import Mask, Prompt, RgbFrame
from tam_backend.workers.load import Load
from tam_backend.workers.open_task import OpenTask

VIDEO = MovingDiscs(frames=10, starts_xy=((30, 40), (100, 64)), steps_xy=((3, 1), (-3, 0)))


class Decoder(MovingDiscs):
    """Notes which frames are asked of it, and whether it was closed."""

    def __init__(self) -> None:
        super().__init__(frames=10, starts_xy=((30, 40), (100, 64)), steps_xy=((3, 1), (-3, 0)))
        self.read: list[int] = []
        self.closed = 0

    def __getitem__(self, index: int) -> RgbFrame:
        self.read.append(index)
        return super().__getitem__(index)

    def close(self) -> None:
        self.closed += 1


def never() -> bool:
    return False


def click(disc: int, frame: int) -> list[Prompt]:
    return [Prompt(disc, frame, points=[(*VIDEO.centre(frame, disc), True)])]


def no_other(*_: Any) -> Any:
    pytest.fail("a click needs no other view")


def no_session() -> Any:
    pytest.fail("a click needs no stored session")


@pytest.fixture
def decoders() -> list[Decoder]:
    return [Decoder()]


@pytest.fixture
def task(decoders: list[Decoder]) -> OpenTask:
    def again() -> Decoder:
        decoders.append(Decoder())
        return decoders[-1]

    return OpenTask(TrackAnything(ColourModels().models()), decoders[0], no_session, again, no_other, Load())


def test_clicks_have_a_decoder_of_their_own(task: OpenTask, decoders: list[Decoder]) -> None:
    for frame in (3, 7, 3):
        mask = task.click(click(1, frame), never)
        assert iou(mask.array, VIDEO.truth(frame, 1)) > 0.9
    assert decoders[0].read == [], "a propagation's decoder is not sent back and forth"
    assert len(decoders) == 2
    task.close()
    assert [each.closed for each in decoders] == [1, 1]


def test_a_task_that_nobody_clicks_in_is_opened_once(task: OpenTask, decoders: list[Decoder]) -> None:
    task.close()
    assert [each.closed for each in decoders] == [1]


def test_a_click_whose_client_has_gone_is_not_looked_at(task: OpenTask, decoders: list[Decoder]) -> None:
    with pytest.raises(CancelledError, match="hung up"):
        task.click(click(1, 3), lambda: True)
    assert len(decoders) == 1
    assert task.click(click(1, 3), never).array.any()


def test_of_clicks_that_wait_the_newest_of_each_object_and_frame_is_answered(
    task: OpenTask, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun, goes_on, looked_at = threading.Event(), threading.Event(), []
    prompt = Session.prompt

    def slowly(session: Session, wanted: Prompt) -> Mask:
        looked_at.append((wanted.object_id, wanted.frame, len(wanted.points)))
        begun.set()
        assert goes_on.wait(20)
        return prompt(session, wanted)

    monkeypatch.setattr(Session, "prompt", slowly)
    ends: dict[str, str] = {}

    def ask(name: str, prompts: list[Prompt]) -> Callable[[], None]:
        def work() -> None:
            try:
                task.click(prompts, never)
                ends[name] = "answered"
            except CancelledError as error:
                ends[name] = error.message

        return work

    [of_one] = click(1, 3)
    more = [Prompt(1, 3, points=[*of_one.points, (1.0, 1.0, False)])]
    threads = []
    for name, prompts in {"first": [of_one], "second": [of_one], "another": click(2, 3), "newest": more}.items():
        before = dict(task._newest_clicks)
        threads.append(threading.Thread(target=ask(name, prompts)))
        threads[-1].start()
        while task._newest_clicks == before:  # so that they come in this order
            time.sleep(0.001)
        assert begun.wait(20)
    goes_on.set()
    for thread in threads:
        thread.join(20)
    assert ends["second"].startswith("A newer click")
    assert {ends[name] for name in ("first", "another", "newest")} == {"answered"}
    assert sorted(looked_at) == [(1, 3, 1), (1, 3, 2), (2, 3, 1)]
    assert task._newest_clicks == {}
