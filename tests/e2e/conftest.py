"""A real Label Studio and the real backend, each in a process of its own, started once for all end-to-end tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from labelling import DISCS, Project, import_video, write_video

from demo.annotator import Annotator, TagNames
from demo.backend import BackendServer, running_backend
from demo.label_studio import LabelStudio, running_label_studio


@pytest.fixture(scope="session")
def label_studio(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LabelStudio]:
    with running_label_studio(tmp_path_factory.mktemp("label-studio")) as running:
        yield running


@pytest.fixture(scope="session")
def backend(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendServer]:
    """Does not wait long for drafts: what asks it is no editor, and saves none."""
    with running_backend(
        label_studio, tmp_path_factory.mktemp("backend"), extra_env={"TAM_DRAFT_WAIT_S": "1"}
    ) as running:
        yield running


@pytest.fixture(scope="session")
def annotator(label_studio: LabelStudio) -> Annotator:
    return Annotator(label_studio.url, label_studio.token)


@pytest.fixture(scope="session")
def discs_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_video(tmp_path_factory.mktemp("clips") / "discs.mp4", DISCS)


@pytest.fixture
def new_project(annotator: Annotator, backend: BackendServer, discs_video: Path) -> Callable[[str], Project]:
    """Make a project with the given config, the discs imported, and the backend connected."""

    def make(config: str) -> Project:
        project = annotator.create_project("discs", config)
        import_video(backend, discs_video, project)
        [task] = annotator.tasks(project)
        ml_backend = annotator.connect_backend(project, backend.url)
        return Project(annotator, project, ml_backend, int(task["id"]), TagNames.of(config))

    return make
