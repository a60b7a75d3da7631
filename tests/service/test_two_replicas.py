"""Two backends on one database, as behind a proxy that alternates: what one is told the other knows."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from colour_models import ColourModels
from databases import KINDS, empty_database
from fake_backend import make_settings
from label_studio_double import LabelStudioDouble, running_double
from test_backend import BRUSH
from test_background import data_of, event, idle, propagated

from tam_backend.engine import TrackAnything
from tam_backend.service.backend import Backend

Pair = tuple[Backend, Backend]
WAND = BRUSH.replace("</View>", '<MagicWand name="wand" toName="image" smart="true"/></View>')


@pytest.fixture
def label_studio() -> Iterator[LabelStudioDouble]:
    with running_double() as double:
        yield double


@pytest.fixture(params=KINDS)
def pair(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Pair]:
    """Two of separate folders: they share a database, a secret, and nothing else."""
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: TrackAnything(ColourModels().models()))
    url = empty_database(request.param, tmp_path)
    both = tuple(
        Backend(
            make_settings(
                tmp_path / name,
                database_url=url,
                secret="one secret for all",
                basic_auth_user="label-studio",
                basic_auth_pass="pass",
                media_dirs=(tmp_path,),
            )
        )
        for name in ("first", "second")
    )
    yield both[0], both[1]
    for backend in both:
        backend.close()


def until(condition: Callable[[], Any], within_s: float = 20) -> Any:
    deadline = time.monotonic() + within_s
    while not (found := condition()):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    return found


def nobody_installs() -> bool:
    return not any(thread.name == "install-webhook" for thread in threading.enumerate())


def told(label_studio: LabelStudioDouble, schema: str = BRUSH) -> dict[str, str]:
    return {"project": "7.123", "schema": schema, "hostname": label_studio.url, "access_token": "a" * 40}


def test_either_may_be_told_where_label_studio_is_and_one_webhook_is_installed(
    pair: Pair, label_studio: LabelStudioDouble
) -> None:
    first, second = pair
    assert first.webhook_secret == second.webhook_secret
    first.setup(told(label_studio, WAND))
    assert second._label_studio.authorization() == {"Authorization": f"Token {'a' * 40}"}
    assert second._label_studio.url == label_studio.url
    assert [project for project, _ in second.describe()["remarks"]] == ["7"]
    until(lambda: label_studio.webhooks)
    until(nobody_installs)
    calls = label_studio.calls
    for backend in pair:
        backend.setup(told(label_studio, WAND))
    until(nobody_installs)
    assert (len(label_studio.webhooks), label_studio.calls) == (1, calls), "it is not asked again"


def test_two_that_are_told_at_once_install_one_webhook(pair: Pair, label_studio: LabelStudioDouble) -> None:
    begin = threading.Barrier(2)

    def tell(backend: Backend) -> None:
        begin.wait(10)
        backend.setup(told(label_studio))

    threads = [threading.Thread(target=tell, args=(backend,)) for backend in pair]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    until(lambda: label_studio.webhooks)
    until(nobody_installs)
    assert len(label_studio.webhooks) == 1


def test_problems_and_jobs_of_one_are_seen_at_the_other(
    pair: Pair, label_studio: LabelStudioDouble, tmp_path: Path
) -> None:
    first, second = pair
    first.setup(told(label_studio))
    first.problems.note("task 9", "It went wrong.")
    until(lambda: [problem.where for problem in second.problems.recent()] == ["task 9"])
    data_of(first, tmp_path, range(10))
    data = {"frames": [str(tmp_path / "frames" / f"{index}.png") for index in range(10)]}  # both can read them
    regions = propagated(first, data)
    assert [(view.state, view.frames_done) for view in second.jobs.all()] == [("done", 10)]
    payload = event(data, list(regions.values()))
    label_studio.tasks[1] = {**payload["task"], "annotations": [payload["annotation"]]}
    first.webhook(payload, first.webhook_secret)
    states = [view.state for view in idle(second)]
    assert states == ["done", "done"]
    assert len(label_studio.stored()) == 1
