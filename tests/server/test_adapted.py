"""Pages show what networks learnt from a project, figures before and after, and what its videos took of people."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin

import pytest
from fake_backend import FakeBackend
from flask import Flask
from flask.testing import FlaskClient
from stored_task import KEY, stored_task

from tam_backend.effort.mask_records import WorkRecord
from tam_backend.jobs.records import Intent
from tam_backend.service.project_curve import curve_of
from tam_backend.store.adapted_networks import AdaptedVersion, Figure, Findings, PictureNote
from tam_backend.store.sessions import SessionKey

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
    assert "Clicks and corrections, video by video" in page
    assert "<td>since p7.2 (and 1 change before it)</td><td>1</td><td>too few videos</td>" in page
    assert "Too few videos to compare: 1 with the package&#39;s networks, 0 with the project&#39;s own" in page


def test_damaged_weights_are_told_where_a_version_would_serve(client: FlaskClient, learnt: FakeBackend) -> None:
    learnt.is_damaged = True
    told = '<span class="state failed">damaged: the package&#39;s networks serve</span>'
    page = client.get("/").text
    assert told in page
    assert ">serves<" not in page
    assert told in client.get(f"/networks/{KEY.project}/2").text


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


def test_however_many_versions_there_are_a_page_shows_the_last_few(client: FlaskClient, learnt: FakeBackend) -> None:
    learnt.adapted = [version(number) for number in range(100, 0, -1)]
    page = client.get("/").text
    assert f"p{KEY.project}.100" in page
    assert f"fake-1+p{KEY.project}.50<" not in page
    assert len(page) < 60_000


def test_a_projects_name_is_text_wherever_it_stands(client: FlaskClient, learnt: FakeBackend) -> None:
    attack = "<script>alert(1)</script>"
    key = SessionKey(attack, attack, "discs")
    learnt.store.open(key, frames=1, size_hw=(2, 3), weights=attack).close()
    learnt.adapted = [version(1, project=attack)]
    assert "<script>alert" not in client.get("/").text


def test_networks_that_a_video_was_worked_on_with_are_told_apart() -> None:
    work = [
        WorkRecord("7", 4, "fake-1", 1.0),
        WorkRecord("8", 1, "fake-1+p7.1", 2.0),
        WorkRecord("9", 0, "fake-1", 3.0),
    ]
    curve = curve_of("7", work, [version(1, taken_back_at=1_795_000_060.0)])
    assert [(each.name, each.clicks, each.by_own) for each in curve.videos] == [("7", 4, False), ("8", 1, True)]
    assert [(turn.at, turn.what) for turn in curve.turns] == [
        (1_795_000_000, "p7.1"),
        (1_795_000_060, "p7.1 taken back"),
    ]
    assert curve_of("7", work, [version(1, state="refused")]).turns == (), "it never served"


@pytest.fixture
def pictured(learnt: FakeBackend) -> FakeBackend:
    """Version 1 of the project has two pictures, version 1 of another one has one."""
    for project, names in ((KEY.project, ("<i>.mp4", "b.mp4")), ("99", ("secret.mp4",))):
        notes = [PictureNote("the tracker", "largest loss", name, 4, 60.4, 40.0) for name in names]
        pictures = [(note, note.video.encode()) for note in notes]
        learnt.networks.add(project, "fake-1", "", FINDINGS, {}, pictures)
    return learnt


@pytest.mark.parametrize("page", ["/", f"/tasks/{KEY.project}/{KEY.task}", f"/networks/{KEY.project}/1"])
def test_pictures_before_and_after_are_shown_with_their_version(
    client: FlaskClient, pictured: FakeBackend, page: str
) -> None:
    del pictured
    shown = client.get(page).text
    sources = re.findall(r'<img loading="lazy" src="([^"]+)" alt="([^"]+)"', shown)
    own = [(source, words) for source, words in sources if "99" not in source]
    assert len(own) == 2
    assert own[0][1] == "Frame 4 of &lt;i&gt;.mp4 with the masks of the tracker before, after, and of people"
    assert "60.4 → 40.0 %" in shown
    for place, name in enumerate(("<i>.mp4", "b.mp4")):
        reply = client.get(urljoin(f"http://localhost{page}", own[place][0]))
        assert (reply.status_code, reply.mimetype, reply.text) == (200, "image/jpeg", name)
        assert reply.headers["Cache-Control"] == "private, max-age=86400"
    if page != "/":
        assert "secret.mp4" not in shown, "another project's"


def test_pictures_ask_for_the_login_as_all_pages_do(pictured: FakeBackend, make_app: Callable[..., Flask]) -> None:
    del pictured
    client = make_app(basic_auth_user="me", basic_auth_pass="secret").test_client()
    for path in (f"/networks/{KEY.project}/1", f"/networks/{KEY.project}/1/0.jpg"):
        assert client.get(path).status_code == 401
        assert client.get(path, auth=("me", "secret")).status_code == 200


@pytest.mark.parametrize(
    "path", ["7/9", "7/1/2.jpg", "8/1/0.jpg", "7%00/1", "7%00/1/0.jpg", "7/99999999999", "7/-1/0.jpg", "<b>/1"]
)
def test_what_is_not_there_is_told(client: FlaskClient, pictured: FakeBackend, path: str) -> None:
    del pictured
    reply = client.get(f"/networks/{path}")
    assert reply.status_code == 404
    assert "<b>" not in reply.text or reply.mimetype == "application/json"


@pytest.mark.parametrize("path", ["1/9", "7/99999999999", "<b>/1"])
def test_a_browser_is_told_in_a_page_what_is_not_there_and_nobody_else(
    client: FlaskClient, pictured: FakeBackend, path: str
) -> None:
    reply = client.get(f"/networks/{path}", headers={"Accept": "text/html,application/xml;q=0.9,*/*;q=0.8"})
    assert (reply.status_code, reply.mimetype) == (404, "text/html")
    assert "Not there" in reply.text
    assert "<b>" not in reply.text
    assert pictured.problems.recent() == []


def test_the_page_of_a_version_has_its_figures(client: FlaskClient, learnt: FakeBackend) -> None:
    del learnt
    page = client.get(f"/networks/{KEY.project}/2").text
    for cell in (FIGURE.name, "60.0", "66.5", "+6.5 (+3.0 to +10.0)"):
        assert f">{cell}</td>" in page


def test_the_page_of_a_version_leads_to_the_others_and_to_the_status_page(
    client: FlaskClient, learnt: FakeBackend
) -> None:
    learnt.adapted[1] = version(2, findings=Findings("Better.", seconds=350.0))
    page = client.get(f"/networks/{KEY.project}/2").text
    assert 'href="../../">Status of the backend</a>' in page
    for number in (3, 1):
        assert f'<a href="{number}">p{KEY.project}.{number}</a>' in page
    assert "took 5.8 min" in page


def test_a_version_without_pictures_has_a_page_that_says_so(client: FlaskClient, learnt: FakeBackend) -> None:
    del learnt
    page = client.get(f"/networks/{KEY.project}/3").text
    assert "There are no pictures of it" in page
    assert "On &lt;c&gt; it went up." in page
    assert ">refused<" in page
