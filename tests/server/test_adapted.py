"""Pages show what networks learnt from a project, figures before and after, and what its videos took of people."""

from __future__ import annotations

from pathlib import Path

import pytest
from fake_backend import FakeBackend
from flask.testing import FlaskClient
from stored_task import KEY, stored_task

from tam_backend.effort.prompts_chart import PromptedVideo, prompts_chart
from tam_backend.jobs.records import Intent
from tam_backend.server.pages.adapted import adapted_projects
from tam_backend.store.adapted_networks import AdaptedVersion, Figure, Findings

FIGURE = Figure("tracked masks, on videos kept apart", 60.0, 66.5, 3.0, 10.0)
FINDINGS = Findings("On <c> it went up.", (FIGURE,), ("a", "b"), ("c",))


def version(number: int, project: str = KEY.project, **more: object) -> AdaptedVersion:
    values = {"state": "promoted", "base": "fake-1", "fingerprints": {"tracker": "12"}, "findings": FINDINGS} | more
    return AdaptedVersion(project=project, number=number, made_at=1_795_000_000, **values)  # type: ignore[arg-type]


@pytest.fixture
def learnt(backend: FakeBackend, tmp_path: Path) -> FakeBackend:
    backend.store = stored_task(tmp_path)
    backend.adapted = [
        version(3, state="refused", fingerprints={}),
        version(2),
        version(1),
        version(1, project="99", base="older"),
    ]
    return backend


def test_the_status_page_shows_before_and_after_of_every_project(client: FlaskClient, learnt: FakeBackend) -> None:
    del learnt
    page = " ".join(client.get("/").text.split())
    assert page.count(">60.0<") == page.count(">66.5<") == 4
    assert "Gain, 95 % interval" in page
    assert "+6.5 (+3.0 to +10.0)" in page
    assert "On &lt;c&gt; it went up." in page
    assert page.count(">serves<") == 1, "the newest of the networks that are there now"
    assert ">refused<" in page
    assert "Frames that people clicked" in page


def test_a_tasks_page_shows_those_of_its_own_project(client: FlaskClient, learnt: FakeBackend) -> None:
    page = client.get(f"/tasks/{KEY.project}/{KEY.task}").text
    assert f"fake-1+p{KEY.project}.2" in page
    assert "older+p99.1" not in page
    learnt.adapted = []
    assert "Networks that learnt" not in client.get(f"/tasks/{KEY.project}/{KEY.task}").text


def test_a_status_page_without_any_says_nothing_of_them(client: FlaskClient) -> None:
    assert "learnt from a project" not in client.get("/").text


def test_an_adaptation_among_the_jobs_is_shown_as_what_it_is(client: FlaskClient, backend: FakeBackend) -> None:
    backend.jobs.enqueue(Intent.to_adapt("7", 60, only_if_new=False), 100, "adapt")
    page = " ".join(client.get("/").text.split())
    assert 'learning <span class="soft">project 7</span>' in page
    assert "0 %" in page
    [job] = client.get("/jobs").get_json()["jobs"]
    assert (job["kind"], job["task"], job["project"]) == ("adaptation", None, "7")


def test_what_videos_took_is_told_by_the_networks_they_were_worked_on_with(learnt: FakeBackend) -> None:
    found = learnt.store.prompted(KEY.project, 10)
    assert [task for task, _, _ in found] == [KEY.task]
    [_, project] = adapted_projects([version(1, project="5"), version(1)], "fake-1", learnt.store)
    assert project.curve.startswith("<svg")
    chart = prompts_chart([PromptedVideo("7", 4, by_own=False), PromptedVideo("8", 1, by_own=True)])
    columns = [part for part in chart.parts if getattr(part, "width", 0) > 50 and part.colour != "#e3e7ec"]
    assert columns[0].height == 4 * columns[1].height  # type: ignore[union-attr]
    assert columns[0].colour != columns[1].colour
