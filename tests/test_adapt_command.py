"""`tam-backend adapt` as people call it; what lets the networks learn is a stand-in."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import stand_in_adaptations as stand_in
from annotated_studio import TOKEN, AnnotatedStudio, serving
from exported_discs import CONFIG, DISCS, RED, mask_region, write_pictures
from sqlalchemy import text
from typer.testing import CliRunner

from tam_backend.adaptation.outcome import Progress
from tam_backend.cli import app
from tam_backend.errors import (
    BusyError,
    CancelledError,
    InvalidInputError,
    LabelStudioError,
    NotFoundError,
    TamError,
    TooLittleError,
)
from tam_backend.jobs.records import Intent
from tam_backend.jobs.registry import JobRegistry
from tam_backend.jobs.store import JobStore
from tam_backend.service import adapting_process, project_learning
from tam_backend.service.adapting_process import Order
from tam_backend.settings import Settings, get_settings
from tam_backend.store.connected import ConnectedProjects
from tam_backend.store.database import Database, sqlite_url


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnnotatedStudio]:
    """Two videos were labeled, by hand on two frames each."""
    pictures = write_pictures(tmp_path / "pictures", "png")
    masks = [mask_region(frame, DISCS.truth(frame, RED), "Red", f"hand-{frame}") for frame in (0, 4)]
    monkeypatch.setattr(adapting_process, "learn_elsewhere", adapting_process.learn)
    monkeypatch.setattr(project_learning, "Order", partial(Order, adapt=stand_in.better))
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        for _ in range(2):
            served.add_task({"frames": pictures}, masks)
        settings = Settings(
            data_dir=tmp_path / "data", media_dirs=(tmp_path,), label_studio_url=served.url, label_studio_api_key=TOKEN
        )
        get_settings.cache_clear()
        monkeypatch.setattr("tam_backend.cli.common.get_settings", lambda: settings)
        yield served


def adapt(*options: str, project: int = 3) -> str:
    """Return what it says; raise the error that it ends with."""
    done = CliRunner().invoke(app, ["adapt", "--project", str(project), *options], env={"COLUMNS": "200"})
    if done.exception is not None and not isinstance(done.exception, SystemExit):
        raise done.exception
    return " ".join(done.output.split())


@pytest.fixture
def database(tmp_path: Path, studio: AnnotatedStudio) -> Database:
    del studio
    return Database(sqlite_url(tmp_path / "data" / "tam.sqlite"))


def test_a_better_version_serves_until_it_is_rolled_back(studio: AnnotatedStudio, database: Database) -> None:
    del studio
    assert "Nothing is known here of project 3" in adapt("--list")
    said = adapt("--minutes", "1")
    assert "+p3.1" in said
    assert "tracked masks, on videos kept apart: 60.0 -> 66.5, +6.5 (+3.0 to +10.0)" in said
    assert "This version serves the project from now on" in said
    [job] = JobStore(database).all()
    assert (job.state, job.is_adaptation, job.project) == ("done", True, "3")
    said = adapt("--list")
    assert "serves" in said
    assert "1 pictures of what p3.1 learnt: http://" in said
    assert said.endswith("/networks/3/1")
    assert "+p3.1 is taken back; compact-" in adapt("--rollback")
    assert "rolled back" in adapt("--list")
    with pytest.raises(NotFoundError, match="nothing to take back"):
        adapt("--rollback")


def test_of_a_project_that_nobody_worked_on_the_list_does_not_claim_that_it_is_there(
    studio: AnnotatedStudio, database: Database
) -> None:
    del studio
    said = adapt("--list", "--url", "http://127.0.0.1:9", project=999)
    assert "Nothing is known here of project 999:" in said
    assert "this project" not in said
    ConnectedProjects(database).remark("5", [])
    assert "not learnt from this project yet" in adapt("--list", project=5)
    with pytest.raises(NotFoundError) as told:
        adapt("--rollback", project=999)
    assert "--list" not in told.value.remedy


def test_help_says_what_is_taken_back(studio: AnnotatedStudio) -> None:
    del studio
    assert "the version that serves" in adapt("--help")


def test_a_damaged_version_is_told_as_such(studio: AnnotatedStudio, database: Database) -> None:
    del studio
    adapt()
    with database.transaction() as connection:
        connection.execute(text("UPDATE adapted_weights SET file = :file"), {"file": b"none"})
    assert "damaged: the package's networks serve" in adapt("--list")
    assert "+p3.1 is taken back; compact-" in adapt("--rollback")


def test_two_things_at_once_are_refused_before_anything_is_taken_back(studio: AnnotatedStudio) -> None:
    del studio
    with pytest.raises(InvalidInputError, match="--list and --rollback"):
        adapt("--list", "--rollback")


def test_a_version_that_is_no_better_changes_nothing(studio: AnnotatedStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    del studio
    monkeypatch.setattr(project_learning, "Order", partial(Order, adapt=stand_in.no_better))
    assert "This version is thrown away; nothing has changed." in adapt()
    listed = adapt("--list")
    assert "refused" in listed
    assert "On c tracking went from 60.0 to 60.2: noise." in listed, "why, with the steps that were learnt"


def test_a_dry_run_says_what_there_is_and_learns_nothing(studio: AnnotatedStudio, database: Database) -> None:
    studio.add_task({"frames": ["/nowhere.png"]})
    said = adapt("--dry-run")
    assert said.count("2 of 6 frames to learn from") == 2
    assert "Nothing is submitted in task 13." in said
    assert JobStore(database).all() == []
    assert "no networks learnt" in adapt("--list")


@pytest.mark.parametrize(
    ("options", "says"), [(("--api-key", ""), "access token is not known"), (("--url", ""), "address or access token")]
)
def test_who_has_no_way_to_label_studio_is_told(studio: AnnotatedStudio, options: tuple[str, ...], says: str) -> None:
    del studio
    with pytest.raises(InvalidInputError, match=says):
        adapt(*options)


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_a_project_that_is_not_there_is_told_before_a_job_is_made(
    studio: AnnotatedStudio, database: Database, options: tuple[str, ...]
) -> None:
    del studio
    with pytest.raises(LabelStudioError, match="There is no project 4 in"):
        adapt(*options, project=4)
    assert JobStore(database).all() == []


def test_a_project_that_learns_already_is_left_alone(studio: AnnotatedStudio, database: Database) -> None:
    del studio
    job = JobRegistry(JobStore(database)).enqueue(Intent.to_adapt("3", 60, only_if_new=False), stage="adapt")
    with pytest.raises(BusyError, match="learning already") as told:
        adapt()
    assert "it goes on by itself" in told.value.remedy
    assert told.value.remedy.endswith(f"curl -X DELETE http://localhost:9090/jobs/{job}")


@pytest.mark.parametrize(("fails", "kind"), [(stand_in.disk_full, TamError), (stand_in.interrupted, CancelledError)])
def test_what_fails_is_told_and_leaves_no_version(
    studio: AnnotatedStudio, database: Database, monkeypatch: pytest.MonkeyPatch, fails: object, kind: type[TamError]
) -> None:
    del studio
    monkeypatch.setattr(project_learning, "Order", partial(Order, adapt=fails))
    with pytest.raises(kind):
        adapt()
    assert JobStore(database).all()[0].state == ("cancelled" if kind is CancelledError else "failed")
    assert "no networks learnt" in adapt("--list")


def test_other_profiles_do_not_learn(studio: AnnotatedStudio, monkeypatch: pytest.MonkeyPatch) -> None:
    del studio
    monkeypatch.setattr("tam_backend.cli.common.get_settings", lambda: Settings(profile="sam-vit-b+xmem"))
    with pytest.raises(InvalidInputError, match="do not learn"):
        adapt()


def test_too_little_to_learn_from_is_told_and_is_no_failure(studio: AnnotatedStudio, database: Database) -> None:
    del studio.tasks[max(studio.tasks)]
    with pytest.raises(TooLittleError, match="it takes two videos"):
        adapt()
    [job] = JobStore(database).all()
    assert job.state == "done"
    assert "it takes two videos" in job.message


def test_a_job_that_was_stopped_says_so_and_not_what_it_was_at(
    studio: AnnotatedStudio, database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    del studio

    def ctrl_c(*given: Any) -> None:
        given[4](Progress(0.5, "measuring the tracker on 0-2"))
        raise KeyboardInterrupt

    monkeypatch.setattr(project_learning, "Order", partial(Order, adapt=ctrl_c))
    assert "Stopped." in adapt()
    [job] = JobStore(database).all()
    assert (job.state, job.message) == ("cancelled", adapting_process.STOPPED)
