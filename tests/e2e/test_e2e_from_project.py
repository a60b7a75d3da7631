"""Videos that lie in a real Label Studio become pages of frames in a second project, without anybody copying files."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest
import requests
from labelling import DISCS
from masks_of import mask_of
from synthetic import iou
from test_e2e_video import CONFIG, drawn_box

from demo.annotator import Annotator, Page, TagNames
from demo.backend import BackendServer, console_script
from demo.label_studio import LabelStudio

pytestmark = pytest.mark.e2e
RED = 1


def import_from(backend: BackendServer, project: int, *options: str) -> subprocess.CompletedProcess[str]:
    """Run the real `tam-backend import --from-project`."""
    return subprocess.run(
        [console_script(), "import", "--from-project", str(project), *options],
        env={**os.environ, **backend.env, "COLUMNS": "200"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


def upload(label_studio: LabelStudio, project: int, video: Path) -> None:
    """As the button Import does."""
    with video.open("rb") as file:
        reply = requests.post(
            f"{label_studio.url}/api/projects/{project}/import",
            headers={"Authorization": f"Token {label_studio.token}"},
            files={"file": (video.name, file, "video/mp4")},
            timeout=60,
        )
    assert reply.status_code == 201, reply.text


def sync_local_storage(label_studio: LabelStudio, annotator: Annotator, project: int, folder: str) -> None:
    """As Settings > Cloud Storage > Local files does."""
    path = label_studio.data_dir / "media-root" / folder
    about = {"project": project, "path": str(path), "use_blob_urls": True, "regex_filter": r".*\.mp4"}
    storage = annotator.call("POST", "/api/storages/localfiles", about)
    annotator.call("POST", f"/api/storages/localfiles/{storage['id']}/sync")


@pytest.fixture
def videos_project(label_studio: LabelStudio, annotator: Annotator, discs_video: Path) -> int:
    """A project with an uploaded video, one of its local storage, and one that is damaged; the first one has a box."""
    project = annotator.create_project("videos", CONFIG)
    upload(label_studio, project, discs_video)
    folder = label_studio.data_dir / "media-root" / f"films-{project}"
    folder.mkdir()
    shutil.copy(discs_video, folder / "stored.mp4")
    sync_local_storage(label_studio, annotator, project, folder.name)
    (folder / "damaged.mp4").write_bytes(b"no video at all")
    annotator.create_task(project, {"video": f"/data/local-files/?d={folder.name}/damaged.mp4"})
    uploaded = int(annotator.tasks(project)[0]["id"])
    annotator.save_annotation(uploaded, [drawn_box(*DISCS.centre(0, RED), DISCS)])
    return project


def test_videos_of_a_project_become_pages_that_can_be_labelled(
    annotator: Annotator, backend: BackendServer, videos_project: int
) -> None:
    uploaded, stored, damaged = (int(task["id"]) for task in annotator.tasks(videos_project))
    done = import_from(backend, videos_project)
    assert done.returncode == 2, "one video is damaged"
    assert f"task {damaged} of project {videos_project}: damaged.mp4" in done.stderr
    [made] = [
        each["id"]
        for each in annotator.call("GET", "/api/projects?page_size=1000")["results"]
        if each["title"] == f"Frames of project {videos_project}"
    ]
    tasks = annotator.tasks(made)
    assert [task["data"]["origin"]["task"] for task in tasks] == [uploaded, stored]
    assert [len(task["data"]["frames"]) for task in tasks] == [DISCS.frames] * 2
    assert f"Task {uploaded} of project {videos_project}" in done.stderr and "1 tracks of boxes" in done.stderr

    again = import_from(backend, videos_project)
    assert "has 0 more videos; 2 were there already" in again.stderr
    assert len(annotator.tasks(made)) == 2
    [carried] = annotator.predictions(int(tasks[0]["id"]))
    [track] = carried["result"]
    assert (track["from_name"], track["to_name"], track["value"]["labels"]) == ("track", "video", ["Red"])

    config = annotator.call("GET", f"/api/projects/{made}")["label_config"]
    tags = TagNames.of(config)
    ml_backend = annotator.connect_backend(made, backend.url)
    for task in tasks:
        page = Page(tags.frames, 2, (DISCS.width, DISCS.height))
        click = page.click(tags.clicks, DISCS.centre(2, RED), "Red")
        [region] = annotator.ask(ml_backend, int(task["id"]), [click])
        assert iou(mask_of(region), DISCS.truth(2, RED)) > 0.7
