"""What goes wrong between Label Studio and the backend: refused clearly, and the next request is served."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import requests
from labelling import DISCS, FRAME_CONFIGS, Project

from demo.annotator import Annotator, TagNames
from demo.backend import BackendServer, running_backend
from demo.errors import DemoError
from demo.label_studio import LabelStudio

pytestmark = pytest.mark.e2e


def test_wrong_basic_auth_is_refused_when_the_backend_is_connected(
    annotator: Annotator, label_studio: LabelStudio, tmp_path: Path
) -> None:
    locked = {"BASIC_AUTH_USER": "studio", "BASIC_AUTH_PASS": "sesame"}
    with running_backend(label_studio, tmp_path, extra_env=locked) as backend:
        project = annotator.create_project("locked", FRAME_CONFIGS["BrushLabels"])
        with pytest.raises(DemoError, match="400"):
            annotator.connect_backend(project, backend.url, "studio", "wrong")
        refused = requests.post(f"{backend.url}/setup", json={}, auth=("studio", "wrong"), timeout=10)
        assert refused.status_code == 401
        assert "BASIC_AUTH" in refused.text
        assert annotator.connect_backend(project, backend.url, "studio", "sesame")


def test_a_click_on_a_page_that_is_not_there_is_told_and_the_next_click_is_served(
    new_project: Callable[[str], Project], backend: BackendServer
) -> None:
    project = new_project(FRAME_CONFIGS["BrushLabels"])
    ask = project.annotator.ask
    with pytest.raises(DemoError, match="did not answer"):
        ask(project.ml_backend, project.task, [project.page(99).click("clicks", (10, 10), "Red")])
    assert "99" in requests.get(backend.url, timeout=10).text, "the status page tells what the editor does not"
    assert ask(project.ml_backend, project.task, [project.page(1).click("clicks", DISCS.centre(1), "Red")])


def test_media_that_are_gone_are_told_and_nothing_is_stored(annotator: Annotator, backend: BackendServer) -> None:
    project = annotator.create_project("gone", FRAME_CONFIGS["BrushLabels"])
    gone = f"{backend.url}/frames/0123456789abcdef/0.jpg?sig=nonsense"
    task = annotator.create_task(project, {"frames": [gone, gone]})
    ml_backend = annotator.connect_backend(project, backend.url)
    page = Project(annotator, project, ml_backend, task, TagNames.of(FRAME_CONFIGS["BrushLabels"])).page(0)
    with pytest.raises(DemoError, match="did not answer"):
        annotator.ask(ml_backend, task, [page.click("clicks", (10, 10), "Red")])
    assert annotator.predictions(task) == []


def test_two_clicks_at_the_same_time_are_both_answered(new_project: Callable[[str], Project]) -> None:
    project = new_project(FRAME_CONFIGS["BrushLabels"])

    def click(disc: int, label: str) -> list[dict]:
        prompt = project.page(0).click("clicks", DISCS.centre(0, disc), label)
        return project.annotator.ask(project.ml_backend, project.task, [prompt])

    with ThreadPoolExecutor(2) as pool:
        red, blue = pool.map(click, (1, 2), ("Red", "Blue"))
    assert [region["value"]["brushlabels"] for region in (*red, *blue)] == [["Red"], ["Blue"]]


@pytest.mark.parametrize(("body", "status"), [(b"{not json", 400), (b"[]", 400), (b"{}", 400), (b'{"tasks": 7}', 400)])
def test_a_malformed_request_gets_a_sentence(backend: BackendServer, body: bytes, status: int) -> None:
    reply = requests.post(f"{backend.url}/predict", data=body, headers={"Content-Type": "application/json"}, timeout=10)
    assert reply.status_code == status
    assert "Traceback" not in reply.text
    assert reply.headers["Content-Type"].startswith("application/json")
    assert requests.get(f"{backend.url}/health", timeout=10).ok
