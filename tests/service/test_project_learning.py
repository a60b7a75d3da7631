"""Networks learn from a project as a job: visible, cancelled, gone on with, promoted or refused, in nobody's way."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import stand_in_adaptations as stand_in
from annotated_studio import TOKEN, AnnotatedStudio, serving
from colour_models import ColourModels
from exported_discs import CONFIG, DISCS, RED, mask_region, write_pictures
from fake_backend import make_settings
from sqlalchemy import text

from tam_backend.adaptation.outcome import AdaptationOutcome
from tam_backend.engine import TrackAnything
from tam_backend.errors import PayloadError
from tam_backend.jobs.records import JobView
from tam_backend.service import project_learning
from tam_backend.service.adapting_process import STOPPED, Adapt, Order, learn, learn_elsewhere
from tam_backend.service.backend import Backend
from tam_backend.store.adapted_networks import AdaptedVersion
from tam_backend.store.connected import ConnectedProjects
from tam_backend.store.database import Database, sqlite_url

MakeBackend = Callable[..., Backend]
TRAIN = {"action": "START_TRAINING", "project": {"id": 3}}
WITHIN_S = 120.0


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[AnnotatedStudio]:
    """Two videos were labeled."""
    pictures = write_pictures(tmp_path / "pictures", "png")
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        for _ in range(2):
            add_video(served, pictures)
        yield served


def add_video(studio: AnnotatedStudio, pictures: list[str]) -> int:
    masks = [mask_region(frame, DISCS.truth(frame, RED), "Red", f"hand-{frame}") for frame in (0, 4)]
    return studio.add_task({"frames": pictures}, masks)


@pytest.fixture
def make_backend(tmp_path: Path, studio: AnnotatedStudio, monkeypatch: pytest.MonkeyPatch) -> Iterator[MakeBackend]:
    """make_backend(adapt, **settings): one over the same data as those before; `elsewhere`: in a process of its own."""
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: TrackAnything(ColourModels().models()))
    monkeypatch.setattr("tam_backend.service.background._FIRST_PAUSE_S", 0.1)
    made: list[Backend] = []

    def make(adapt: Adapt, /, *, elsewhere: bool = False, **more: Any) -> Backend:
        monkeypatch.setattr(project_learning, "Order", partial(Order, adapt=adapt))
        monkeypatch.setattr("tam_backend.service.backend.learn_elsewhere", learn_elsewhere if elsewhere else learn)
        values = {"label_studio_url": studio.url, "label_studio_api_key": TOKEN, "media_dirs": (tmp_path,)}
        made.append(Backend(make_settings(tmp_path / "data", **(values | more))))
        connect(made[-1], 3)
        return made[-1]

    yield make
    for each in made:
        each.close()


def wait_for(backend: Backend, wanted: Callable[[JobView], bool]) -> JobView:
    deadline = time.monotonic() + WITHIN_S
    while True:
        jobs = [job for job in backend.jobs.all() if job.is_adaptation]
        if jobs and wanted(jobs[0]):
            return jobs[0]
        assert time.monotonic() < deadline, [str(job.as_json()) for job in jobs]
        time.sleep(0.05)


def ended(backend: Backend) -> JobView:
    return wait_for(backend, lambda job: job.ended_at is not None)


def versions(backend: Backend) -> list[AdaptedVersion]:
    return list(backend.describe()["adapted"])


def version_told(backend: Backend, project: str = "3") -> str:
    return backend.setup({"project": f"{project}.1", "schema": ""})


def test_start_training_makes_a_version_that_serves_the_project_alone(make_backend: MakeBackend) -> None:
    backend = make_backend(stand_in.better)
    before = version_told(backend)
    backend.webhook(TRAIN)
    job = ended(backend)
    assert (job.state, job.project, job.task_id, job.is_adaptation) == ("done", "3", None, True)
    assert (job.frames_done, job.frames_total) == (100, 100)
    [made] = versions(backend)
    assert (made.state, made.findings.reason) == ("promoted", "On c tracking went from 60.0 to 66.5.")
    assert [each.name for each in made.findings.figures] == [
        "tracked masks, on videos kept apart",
        "tracked masks, in general",
    ]
    [[note]] = backend.learnt_pictures("3").values()
    assert (note.choice, note.frame, note.before, note.after) == ("largest gain", 4, 60.0, 66.5)
    assert backend.learnt_picture("3", 1, 0) == b"jpeg"
    assert version_told(backend) == made.name == f"{before}+p3.1"
    assert version_told(backend, "4") == before
    assert not list((backend.settings.data_dir / "adapting").iterdir()), "nothing is left of the work"


def test_what_is_no_better_is_thrown_away_and_its_figures_are_kept(make_backend: MakeBackend) -> None:
    backend = make_backend(stand_in.no_better)
    before = version_told(backend)
    backend.webhook(TRAIN)
    message = ended(backend).message
    assert message.startswith("Refused: ")
    assert "noise" in message
    [made] = versions(backend)
    assert (made.state, dict(made.fingerprints), made.findings.figures[0].after) == ("refused", {}, 60.2)
    assert version_told(backend) == before


def test_nothing_is_learnt_twice_from_the_same(
    make_backend: MakeBackend, studio: AnnotatedStudio, tmp_path: Path
) -> None:
    backend = make_backend(stand_in.better)
    for _ in range(2):
        backend.webhook(TRAIN)
        job = ended(backend)
    assert job.message == "Nothing was submitted since the last time."
    assert len(versions(backend)) == 1
    add_video(studio, [str(tmp_path / "pictures" / f"discs_{index}.png") for index in range(DISCS.frames)])
    backend.webhook(TRAIN)
    ended(backend)
    assert [each.number for each in versions(backend)] == [2, 1]


def test_where_weights_are_damaged_label_studio_is_told_so_and_the_button_learns_anew(
    make_backend: MakeBackend,
) -> None:
    backend = make_backend(stand_in.better)
    before = version_told(backend)
    backend.webhook(TRAIN)
    ended(backend)
    backend.close()
    damage = text("UPDATE adapted_weights SET file = :file")
    with Database(sqlite_url(backend.settings.data_dir / "tam.sqlite")).transaction() as connection:
        connection.execute(damage, {"file": b"none"})
    again = make_backend(stand_in.better)
    assert version_told(again) == before
    [job] = [job for job in again.jobs.all() if job.is_adaptation]
    again.webhook(TRAIN)
    wait_for(again, lambda newest: newest.id != job.id and newest.ended_at is not None)
    assert version_told(again) == f"{before}+p3.2"


def test_a_project_learns_once_at_a_time_in_a_process_of_low_priority_and_can_be_stopped(
    make_backend: MakeBackend,
) -> None:
    backend = make_backend(stand_in.endless, elsewhere=True)
    backend.webhook(TRAIN)
    job = wait_for(backend, lambda job: "learning" in job.message)
    assert int(job.message.split()[-1]) == min(19, os.nice(0) + 10)
    assert job.frames_done == 25
    backend.webhook(TRAIN)
    assert len(backend.jobs.all()) == 1
    told = backend.problems.recent()[0]
    assert (told.where, told.type) == ("project 3, start training", "Note"), "Label Studio shows nothing"
    assert "learning already" in told.message
    assert told.remedy.endswith(f"curl -X DELETE {backend.settings.own_url}/jobs/{job.id}")
    backend.jobs.cancel(job.id)
    stopped = ended(backend)
    assert (stopped.state, stopped.message) == ("cancelled", STOPPED), "not what it was at"
    process = int(job.message.split()[3])
    assert not Path(f"/proc/{process}").exists(), "it is gone"
    assert list(backend.settings.data_dir.rglob(stand_in.LAST_WORDS)), "it had time to keep what it had learnt"
    assert not versions(backend)
    backend.webhook(TRAIN)
    assert ended(backend).state == "done", "it goes on with what it had learnt"
    assert len(versions(backend)) == 1


def test_what_a_stopped_backend_leaves_the_next_one_goes_on_with(make_backend: MakeBackend) -> None:
    first = make_backend(stand_in.endless, elsewhere=True)
    first.webhook(TRAIN)
    wait_for(first, lambda job: "learning" in job.message)
    first.close()
    second = make_backend(stand_in.endless, elsewhere=True)
    assert ended(second).state == "done"
    assert [each.state for each in versions(second)] == ["promoted"]


@pytest.mark.parametrize(
    ("adapt", "kind", "says"),
    [
        (stand_in.disk_full, "OutputError", "no space left"),
        (stand_in.killed, "AdaptationError", "ended with code -9"),
        (stand_in.faulty, "AdaptationError", "ZeroDivisionError"),
    ],
)
def test_what_fails_is_told_and_nothing_is_promoted(
    make_backend: MakeBackend, adapt: Adapt, kind: str, says: str
) -> None:
    backend = make_backend(adapt, elsewhere=kind == "AdaptationError")
    backend.webhook(TRAIN)
    job = ended(backend)
    assert job.state == "failed"
    assert says in job.message
    problem = backend.problems.recent()[0]
    assert (problem.where, problem.type) == ("project 3, its networks", kind)
    assert not versions(backend)


def test_one_video_is_too_little(make_backend: MakeBackend, studio: AnnotatedStudio) -> None:
    del studio.tasks[max(studio.tasks)]
    backend = make_backend(stand_in.better)
    backend.webhook(TRAIN)
    job = ended(backend)
    assert job.state == "done", "nothing failed"
    assert "it takes two videos" in job.message
    assert not backend.problems.recent()


def connect(backend: Backend, project: int) -> None:
    """Let a project be known, as if it had been connected."""
    ConnectedProjects(Database(sqlite_url(backend.settings.data_dir / "tam.sqlite"))).remark(str(project), ())


def test_nobody_can_have_work_done_on_projects_that_were_never_connected(
    make_backend: MakeBackend, studio: AnnotatedStudio
) -> None:
    backend = make_backend(stand_in.better)
    for number in range(4, 50):
        backend.webhook({**TRAIN, "project": {"id": number}})
    assert backend.jobs.all() == []
    [problem] = backend.problems.recent()
    assert "never connected" in problem.message
    backend.setup({"project": "4.1", "schema": studio.config})
    backend.webhook({**TRAIN, "project": {"id": 4}})
    assert [job.project for job in backend.jobs.all()] == ["4"]


def test_so_many_projects_wait_to_learn_and_no_more(make_backend: MakeBackend) -> None:
    backend = make_backend(stand_in.better)
    backend.close()  # nobody takes them
    for number in range(4, 44):
        connect(backend, number)
        backend.webhook({**TRAIN, "project": {"id": number}})
    assert len(backend.jobs.all()) == 20


def test_a_project_that_was_deleted_in_label_studio_is_told(make_backend: MakeBackend) -> None:
    backend = make_backend(stand_in.better)
    connect(backend, 99)
    backend.webhook({**TRAIN, "project": {"id": 99}})
    assert "There is no project 99" in ended(backend).message


def test_without_a_key_it_waits_and_says_why(make_backend: MakeBackend) -> None:
    backend = make_backend(stand_in.better, label_studio_api_key="")
    backend.webhook(TRAIN)
    assert "LABEL_STUDIO_API_KEY" in wait_for(backend, lambda job: job.state == "waiting").message


@pytest.mark.parametrize(
    ("settings", "says"),
    [({"adapt": "off"}, "switched off"), ({"profile": "sam-vit-b+xmem"}, "do not learn")],
)
def test_where_it_cannot_be_the_status_page_says_so(
    make_backend: MakeBackend, settings: dict[str, Any], says: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tam_backend.models.zoo.Profile.version", "sam-1.0")
    backend = make_backend(stand_in.better, **settings)
    backend.webhook(TRAIN)
    assert backend.jobs.all() == []
    assert says in backend.problems.recent()[0].message


def test_an_event_that_names_no_project_is_refused(make_backend: MakeBackend) -> None:
    backend = make_backend(stand_in.better)
    with pytest.raises(PayloadError):
        backend.webhook({"action": "START_TRAINING", "project": {"id": "x"}})


@pytest.mark.parametrize(("mode", "jobs"), [("auto", 1), ("asked", 0)])
def test_with_auto_it_begins_by_itself_after_so_many_videos(
    make_backend: MakeBackend, studio: AnnotatedStudio, mode: str, jobs: int
) -> None:
    backend = make_backend(stand_in.better, adapt=mode, adapt_after=2)
    first, second = studio.tasks
    assert [submit(backend, studio, each) for each in (first, first, second)] == [0, 0, jobs]


@pytest.mark.parametrize("adapt", [stand_in.disk_full, stand_in.interrupted])
def test_what_came_to_nothing_is_tried_again_with_the_next_video(
    make_backend: MakeBackend, studio: AnnotatedStudio, tmp_path: Path, adapt: Adapt
) -> None:
    backend = make_backend(adapt, adapt="auto", adapt_after=2)
    for task in studio.tasks:
        submit(backend, studio, task)
    assert ended(backend).state in ("failed", "cancelled")
    assert submit(backend, studio, next(iter(studio.tasks))) == 1, "once more the same is not what it waits for"
    third = add_video(studio, [str(tmp_path / "pictures" / f"discs_{index}.png") for index in range(DISCS.frames)])
    assert submit(backend, studio, third) == 2


def test_what_is_submitted_while_networks_learn_is_counted_for_the_next_time(
    make_backend: MakeBackend, studio: AnnotatedStudio, tmp_path: Path
) -> None:
    pictures = [str(tmp_path / "pictures" / f"discs_{index}.png") for index in range(DISCS.frames)]
    made: list[Backend] = []

    def meanwhile(*given: Any) -> AdaptationOutcome:
        if len(studio.tasks) == 2:
            submit(made[0], studio, add_video(studio, pictures))
        return stand_in.better(*given)

    made.append(make_backend(meanwhile, adapt="auto", adapt_after=2))
    for task in list(studio.tasks):
        submit(made[0], studio, task)
    assert ended(made[0]).state == "done"
    assert submit(made[0], studio, add_video(studio, pictures)) == 2


def submit(backend: Backend, studio: AnnotatedStudio, task: int) -> int:
    """Tell of a task's annotation; return how many adaptations there were by then."""
    there = studio.tasks[task]
    payload = {
        "action": "ANNOTATION_CREATED",
        "annotation": there["annotations"][0],
        "task": {"id": task, "data": there["data"]},
        "project": {"id": 3, "label_config": studio.config},
    }
    backend.webhook(payload, backend.webhook_secret)
    return sum(job.is_adaptation for job in backend.jobs.all())
