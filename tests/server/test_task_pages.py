"""A stored session's page and pictures: complete, cacheable, private, and never in the way of others."""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import quote

import cv2
import numpy as np
import pytest
from fake_backend import FakeBackend, make_settings
from flask.testing import FlaskClient
from stored_task import DOUBTFUL, KEY, VIDEO, stored_task

from tam_backend.errors import MediaNotFoundError
from tam_backend.server.app import create_app
from tam_backend.store.sessions import SessionKey
from tam_backend.types import RgbFrame

PAGE = "/tasks/7/12"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[FakeBackend]:
    backend = FakeBackend(tmp_path / "data")
    backend.store = stored_task(tmp_path)
    backend.on_frame = lambda session, frame: VIDEO[frame]
    yield backend


def decoded(jpeg: bytes) -> RgbFrame:
    image = cv2.imdecode(np.frombuffer(jpeg, np.uint8), cv2.IMREAD_COLOR)
    assert image is not None
    return np.asarray(image[..., ::-1], np.uint8)


def test_page_shows_frames_curves_and_where_to_look(client: FlaskClient) -> None:
    page = client.get(PAGE)
    assert (page.status_code, page.mimetype) == (200, "text/html")
    assert page.text.count("<figure") == 24 + page.text.count('<figure class="suggested">') / 2
    assert page.text.count("<polyline") == 2
    for text in ("Red", "Blue", "60 <span>of 60", "keyframe", "Where to look next", f"below {0.7}"):
        assert text in page.text
    first = re.search(r"Frame (\d+): Blue, \d+ frames from the nearest keyframe", page.text)
    assert int(first[1]) in DOUBTFUL


def test_every_picture_that_the_page_names_is_there(client: FlaskClient) -> None:
    names = set(re.findall(r'(?:href|data-src)="\./12/(frames/[^"]+)"', client.get(PAGE).text))
    assert len(names) > 48
    for name in names:
        assert client.get(f"{PAGE}/{name.replace('&amp;', '&')}").mimetype == "image/jpeg", name


def test_a_task_of_several_media_and_annotators_has_a_page_for_each(client: FlaskClient, backend: FakeBackend) -> None:
    others = [replace(KEY, media="b" * 32), replace(KEY, annotator="12")]
    for key, frames in zip(others, (3, 4), strict=True):
        backend.store.open(key, frames=frames, size_hw=(8, 8), weights="w").close()
    seen: list[SessionKey] = []
    backend.on_frame = lambda session, frame: seen.append(session)
    status = client.get("/").text
    for key, frames in ((KEY, 60), *zip(others, (3, 4), strict=True)):
        address = f"/tasks/7/12?view={quote(key.view, safe='')}"
        assert f'href="{address[1:]}"' in status
        page = client.get(address).text
        assert f"<span>of {frames}</span>" in page
        assert ("As Label Studio's user 12" in page) == bool(key.annotator)
        assert page.count('href="../../tasks/7/12?view=') == 2, "the way to the two others"
        client.get(f"/tasks/7/12/frames/0.jpg?view={quote(key.view, safe='')}")
    assert seen == [KEY, *others]
    assert client.get("/tasks/7/12?view=other").status_code == 404


def test_picture_shows_the_frame_with_its_masks(client: FlaskClient) -> None:
    picture = decoded(client.get(f"{PAGE}/frames/20.jpg").data)
    assert picture.shape == (*VIDEO.size_hw, 3)
    changed = np.abs(picture.astype(int) - VIDEO[20]).max(2) > 40
    assert changed[VIDEO.truth(20, 2)].mean() > 0.5
    assert not changed[80:, :40].any(), "where there is no mask the frame is as it was"


def test_masks_are_drawn_on_grey_where_the_video_cannot_be_read(client: FlaskClient, backend: FakeBackend) -> None:
    backend.on_frame = lambda session, frame: None
    reply = client.get(f"{PAGE}/frames/20.jpg?small=1&v=1")
    picture = decoded(reply.data).astype(int)
    assert np.abs(picture[80:, :40] - 96).max() < 12
    assert np.ptp(picture, 2)[VIDEO.truth(20, 2)].mean() > 20
    assert reply.headers["Cache-Control"] == "no-store", "the video may be back"


def test_a_video_of_another_size_is_not_drawn_on(client: FlaskClient, backend: FakeBackend) -> None:
    backend.on_frame = lambda session, frame: np.zeros((10, 20, 3), np.uint8)
    assert decoded(client.get(f"{PAGE}/frames/20.jpg").data).shape == (*VIDEO.size_hw, 3)


def test_pictures_are_cached_by_version_and_by_etag(client: FlaskClient) -> None:
    named = client.get(f"{PAGE}/frames/3.jpg?small=1&v=abc")
    assert named.headers["Cache-Control"] == "private, max-age=86400"
    plain = client.get(f"{PAGE}/frames/3.jpg")
    assert plain.headers["Cache-Control"] == "private, no-cache"
    again = client.get(f"{PAGE}/frames/3.jpg", headers={"If-None-Match": plain.headers["ETag"]})
    assert (again.status_code, again.data) == (304, b"")


def test_a_thumbnail_is_not_drawn_twice(client: FlaskClient, backend: FakeBackend) -> None:
    reads: list[int] = []
    backend.on_frame = lambda session, frame: reads.append(frame) or VIDEO[frame]
    first, again = (client.get(f"{PAGE}/frames/3.jpg?small=1") for _ in range(2))
    assert first.data == again.data
    assert reads == [3]


def test_a_changed_mask_changes_the_version_of_its_frame_only(client: FlaskClient, backend: FakeBackend) -> None:
    def versions() -> dict[str, str]:
        return dict(re.findall(r"frames/(\d+)\.jpg\?small=1&amp;v=(\w+)", client.get(PAGE).text))

    before = versions()
    session = backend.store.open(KEY, frames=60, size_hw=VIDEO.size_hw, weights="colour-1")
    tracks = session.tracks()
    session.put(0, {each: replace(mask, quality=0.8) for each, mask in tracks[0].items()})
    session.close()
    after = versions()
    assert {frame for frame in before.keys() & after.keys() if after[frame] != before[frame]} == {"0"}


def test_pictures_wait_for_one_another_only_for_a_moment(client: FlaskClient, backend: FakeBackend) -> None:
    entered, leave = threading.Event(), threading.Event()

    def slow(session: SessionKey, frame: int) -> RgbFrame:
        entered.set()
        leave.wait(20)
        return VIDEO[frame]

    backend.on_frame = slow
    app = client.application
    drawing = threading.Thread(target=lambda: app.test_client().get(f"{PAGE}/frames/1.jpg"))
    drawing.start()
    assert entered.wait(10)
    try:
        busy = client.get(f"{PAGE}/frames/2.jpg")
        assert (busy.status_code, busy.headers["Retry-After"]) == (503, "5")
        assert client.get("/health").status_code == 200
        assert client.get(PAGE).status_code == 200, "the page itself waits for nothing"
    finally:
        leave.set()
        drawing.join()


@pytest.mark.parametrize("path", ["/tasks/7/99", "/tasks/8/12", "/tasks/7/99/frames/0.jpg", f"{PAGE}/frames/60.jpg"])
def test_what_is_not_there_is_said(client: FlaskClient, path: str) -> None:
    reply = client.get(path)
    assert reply.status_code == 404
    assert reply.json["error"]["remedy"]


def test_page_shows_the_jobs_and_problems_of_its_task_only(client: FlaskClient, backend: FakeBackend) -> None:
    backend.problems.note("task 12", "The time is used up.", "Propagate again.")
    backend.problems.note("task 123", "Something of another task.")
    backend.problems.failed("POST /predict", MediaNotFoundError("The clip of task 12 is gone.", "Upload it."))
    with backend.jobs.start(12, "7", 60), backend.jobs.start(13, "7", 77):
        page = client.get(PAGE).text
    for text in ("The time is used up.", "The clip of task 12 is gone.", "0 of 60", 'content="5"', "data-job="):
        assert text in page
    assert "another task" not in page
    assert "0 of 77" not in page
    assert 'content="60"' in client.get(PAGE).text, "an idle page is not loaded again and again"


def test_status_page_leads_to_the_task(client: FlaskClient, backend: FakeBackend) -> None:
    with backend.jobs.start(12, "7", 60), backend.jobs.start(99, "7", 60):
        page = client.get("/").text
    assert page.count('href="tasks/7/12"') == 2, "from the list of tasks, and from the job"
    assert "tasks/7/99" not in page, "nothing is stored of it"


def test_page_leads_to_label_studio_where_that_is_known(make_app: object) -> None:
    page = make_app(label_studio_url="http://ls:8080").test_client().get(PAGE).text  # type: ignore[operator]
    assert 'href="http://ls:8080/projects/7/data?task=12"' in page


def test_page_asks_for_the_same_login_as_the_others(make_app: object) -> None:
    client = make_app(basic_auth_user="me", basic_auth_pass="secret").test_client()  # type: ignore[operator]
    for path in (PAGE, f"{PAGE}/frames/0.jpg"):
        assert client.get(path).status_code == 401
        assert client.get(path, auth=("me", "secret")).status_code == 200


def test_page_escapes_what_others_wrote_and_allows_only_its_own(tmp_path: Path) -> None:
    attack = "<script>alert(1)</script>\"'><img src=x onerror=alert(1)>"
    backend = FakeBackend(tmp_path / "data")
    backend.store = stored_task(
        tmp_path, SessionKey("javascript:alert(1)", "javascript:alert(2)", "m"), (attack, attack)
    )
    client = create_app(make_settings(tmp_path / "data"), backend).test_client()
    page = client.get("/tasks/javascript%3Aalert(1)/javascript%3Aalert(2)")
    assert page.status_code == 200
    for text in (page.text, client.get("/").text):
        assert "<script>alert" not in text
        assert "<img src" not in text
        assert not re.search(r'href="javascript', text)
    nonce = re.search(r'<script nonce="([^"]+)"', page.text)[1]
    policy = page.headers["Content-Security-Policy"]
    assert f"script-src 'nonce-{nonce}'" in policy
    assert "default-src 'none'" in policy
    assert "img-src 'self' data:" in policy
    assert not re.search(r'\sstyle="|\son\w+="', page.text), "the policy forbids them"


def test_a_task_without_a_project_has_a_page(tmp_path: Path) -> None:
    backend = FakeBackend(tmp_path / "data")
    backend.store = stored_task(tmp_path, SessionKey("", "12", "m"))
    client = create_app(make_settings(tmp_path / "data"), backend).test_client()
    assert 'href="tasks/-/12"' in client.get("/").text
    assert client.get("/tasks/-/12").status_code == 200


def test_a_picture_reads_its_own_frame_and_not_what_is_known_of_all_others(
    client: FlaskClient, backend: FakeBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = client.get(f"{PAGE}/frames/20.jpg?small=1").data
    read: list[int] = []
    masks = backend.store.masks

    def of_one_frame(key: SessionKey, frame: int) -> object:
        read.append(frame)
        return masks(key, frame)

    monkeypatch.setattr(backend.store, "find", lambda *_: pytest.fail("the whole session is read"))
    monkeypatch.setattr(backend.store, "masks", of_one_frame)
    assert client.get(f"{PAGE}/frames/20.jpg?small=1").data == whole
    assert set(read) == {20}
