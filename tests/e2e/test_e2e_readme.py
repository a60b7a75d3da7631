"""The way from a video to a COCO file, by the commands of README.md as they stand there."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import sysconfig
import venv
from pathlib import Path

import dataset_readers as readers
import numpy as np
import pytest
from labelling import DISCS
from masks_of import mask_of
from synthetic import iou

from demo.annotator import Annotator, Page, Region, TagNames
from demo.label_studio import LabelStudio
from demo.processes import ServerProcess, free_port

pytestmark = pytest.mark.e2e
ROOT = Path(__file__).resolve().parents[2]
BLUE = 2


def commands() -> list[str]:
    """The commands below the sentence that counts them, without what is said of them."""
    [block] = re.findall(
        r"^Five commands lead from a video to a COCO file:\n\n((?: {4}.+\n)+)", (ROOT / "README.md").read_text(), re.M
    )
    return [shlex.join(shlex.split(line, comments=True)) for line in block.splitlines()]


@pytest.fixture
def folder(tmp_path: Path, discs_video: Path) -> Path:
    """What a user has: this repository, and a video in it."""
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True).stdout.decode()
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file() and name.startswith(("tam_backend/", "pyproject", "README", "LICENSE")):
            (tmp_path / "tam" / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, tmp_path / "tam" / name)
    shutil.copyfile(discs_video, tmp_path / "tam" / "clip.mp4")
    return tmp_path / "tam"


def fresh_environment(place: Path) -> Path:
    """Make a virtual environment that borrows no more than dependencies from this one; return its programs' folder."""
    venv.create(place, with_pip=True)
    borrowed = sysconfig.get_path("purelib")
    [packages] = place.glob("lib/python*/site-packages")
    (packages / "borrowed.pth").write_text(f"{borrowed}\n")
    return place / "bin"


def submit(annotator: Annotator, project: int, backend_url: str) -> list[Region]:
    """What a person does between the last two commands: connect, click a car, Propagate, submit."""
    tags = TagNames.of(annotator.call("GET", f"/api/projects/{project}")["label_config"])
    ml_backend = annotator.connect_backend(project, backend_url)
    [task] = (int(each["id"]) for each in annotator.tasks(project))
    page = Page(tags.frames, 0, (DISCS.width, DISCS.height))
    place = DISCS.centre(0, BLUE)
    clicked = annotator.ask(ml_backend, task, [page.click(tags.clicks, place, "Car")])
    annotator.save_draft(task, clicked)
    answer = annotator.ask(ml_backend, task, [page.click(tags.clicks, place, "Propagate")])
    regions = list({each["id"]: each for each in (*clicked, *answer)}.values())
    annotator.save_annotation(task, regions)
    return regions


def test_the_five_commands_lead_from_a_video_to_a_coco_file(
    label_studio: LabelStudio, annotator: Annotator, folder: Path
) -> None:
    install, config, import_video, serve, export = commands()
    project = annotator.create_project("as in the README", "<View/>")
    programs, port = fresh_environment(folder.parent / "environment"), free_port()
    env = {
        **os.environ,
        "PIP_NO_DEPS": "1",
        "PIP_IGNORE_INSTALLED": "1",  # what is borrowed is not to be replaced
        "PATH": os.pathsep.join((str(programs), os.environ["PATH"])),
        "PYTHONPATH": "",
        "LABEL_STUDIO_URL": label_studio.url,
        "LABEL_STUDIO_API_KEY": label_studio.token,
        "TAM_DATA_DIR": str(folder.parent / "data"),
        "TAM_DRAFT_WAIT_S": "1",
        "TAM_PORT": str(port),
    }

    def run(command: str) -> None:
        done = subprocess.run(
            command.replace("--project 7", f"--project {project}"),
            shell=True, cwd=folder, env=env, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}\n{done.stdout}{done.stderr}"

    for command in (install, config, import_video):
        run(command)
    verb = [str(programs / "tam-backend"), *shlex.split(serve)[1:]]
    server = ServerProcess("The backend", verb, env, folder / "log")
    try:
        server.wait_until_ready(f"http://localhost:{port}/health", 120)
        regions = submit(annotator, project, f"http://localhost:{port}")
    finally:
        server.stop()
    run(export)
    submitted = {each["item_index"]: mask_of(each) for each in regions}

    masks, read = readers.coco(folder / "dataset" / "annotations" / "instances_default.json")
    assert [each["name"] for each in read.dataset["categories"]] == ["Car", "Bus"]
    assert len(masks) == len(submitted) == DISCS.frames
    for (_, frame, _), mask in masks.items():
        assert np.array_equal(mask, submitted[frame])
        assert iou(mask, DISCS.truth(frame, BLUE)) > 0.7
    assert (folder / "dataset" / "images" / read.dataset["images"][3]["file_name"]).is_file()
