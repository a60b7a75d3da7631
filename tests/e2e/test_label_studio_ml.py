"""The adapter as its users run it: `label-studio-ml init` and `start` of the real 1.0.9, with a real Label Studio."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import requests
from labelling import DISCS, FRAME_CONFIGS, Project
from masks_of import label_of, mask_of

from demo.backend import BackendServer
from demo.label_studio import LabelStudio
from demo.processes import ServerProcess, free_port

pytestmark = pytest.mark.e2e

VENV = Path(os.environ.get("TAM_LABEL_STUDIO_ML_VENV") or Path(__file__).resolve().parents[2] / ".venv-labelstudio-ml")
CONFIG = FRAME_CONFIGS["BrushLabels"]


@dataclass(frozen=True)
class Served:
    """A project of label-studio-ml that runs."""

    url: str
    folder: Path
    process: ServerProcess

    def post(self, path: str, payload: Any) -> requests.Response:
        return requests.post(self.url + path, json=payload, timeout=60)


@pytest.fixture(scope="module")
def served(
    label_studio: LabelStudio, backend: BackendServer, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Served]:
    """What docs/label-studio-ml.md tells to do. The frames of the tasks are served by `tam-backend serve` beside it."""
    command = VENV / "bin" / "label-studio-ml"
    if not command.exists():
        pytest.fail(f"label-studio-ml is not installed in {VENV}; run `scripts/setup.sh label-studio-ml`.")
    home = tmp_path_factory.mktemp("label-studio-ml")
    (home / "model.py").write_text("from tam_backend.label_studio_ml import TrackAnythingModel\n")
    # `label-studio-ml start` runs whatever `python` is found first.
    environment = {**backend.env, "PATH": f"{VENV / 'bin'}:{os.environ['PATH']}"}
    subprocess.run(
        [command, "init", "served", "--script", "model.py:TrackAnythingModel"],
        cwd=home, env={**os.environ, **environment}, check=True, timeout=120,
    )  # fmt: skip
    port = free_port()
    url = f"http://localhost:{port}"
    start = [str(command), "start", str(home / "served"), "--host", "127.0.0.1", "--port", str(port)]
    process = ServerProcess("label-studio-ml", start, environment, home / "label-studio-ml.log")
    try:
        process.wait_until_ready(f"{url}/health", 120)
        yield Served(url, home / "served", process)
    finally:
        process.stop()


def test_setup_and_predict_answer_as_the_framework_promises(served: Served) -> None:
    schema = {
        "project": "1.1",
        "schema": CONFIG,
        "hostname": "http://localhost:8080",
        "access_token": "",
        "extra_params": None,
    }
    assert served.post("/setup", schema).json() == {"model_version": "INITIAL"}
    params = {"login": None, "password": None, "context": None}
    task = {"id": 1, "data": {"frames": []}}
    reply = served.post("/predict", {"tasks": [task], "label_config": CONFIG, "project": "1.1", "params": params})
    assert reply.status_code == 200, served.process.log_end()
    [prediction] = reply.json()["results"]
    assert prediction["result"] == []
    assert "model_version" not in prediction


def test_a_smart_click_in_label_studio_comes_back_as_our_own_server_answers_it(
    served: Served, new_project: Callable[[str], Project]
) -> None:
    project = new_project(CONFIG)
    ml_backend = project.annotator.connect_backend(project.id, served.url)
    click = project.page(2).click(project.tags.clicks, DISCS.centre(2, 1), "Red")
    [region] = project.annotator.ask(ml_backend, project.task, [click])
    [expected] = project.annotator.ask(project.ml_backend, project.task, [click])
    assert (region["item_index"], label_of(region), region["id"]) == (2, "Red", expected["id"])
    assert mask_of(region).any()
    np.testing.assert_array_equal(mask_of(region), mask_of(expected))


def test_failure_is_told_in_the_log_and_the_next_click_is_served(
    served: Served, new_project: Callable[[str], Project]
) -> None:
    project = new_project(CONFIG)
    ml_backend = project.annotator.connect_backend(project.id, served.url)
    reply = served.post("/predict", {"tasks": [{"id": 1}], "params": {}})
    assert reply.status_code == 500
    assert "'tasks[0].data' is missing" in served.process.log.read_text()
    click = project.page(0).click(project.tags.clicks, DISCS.centre(0, 1), "Red")
    assert project.annotator.ask(ml_backend, project.task, [click])


def test_a_submitted_annotation_leaves_nothing_behind_that_later_setups_stumble_over(
    served: Served, new_project: Callable[[str], Project]
) -> None:
    project = new_project(CONFIG)
    ml_backend = project.annotator.connect_backend(project.id, served.url)
    click = project.page(0).click(project.tags.clicks, DISCS.centre(0, 1), "Red")
    regions = project.annotator.ask(ml_backend, project.task, [click])
    untouched_ns = served.folder.stat().st_mtime_ns
    project.annotator.save_annotation(project.task, regions)

    def settled() -> bool:
        # The event's process makes a folder here and takes it away again: both change the time of the parent.
        touched = served.folder.stat().st_mtime_ns != untouched_ns
        return touched and not any(entry.name.isdigit() for entry in served.folder.iterdir())

    deadline = time.monotonic() + 60
    while not settled():
        assert time.monotonic() < deadline, served.process.log_end()
        time.sleep(0.5)
    assert project.annotator.ask(ml_backend, project.task, [click])
