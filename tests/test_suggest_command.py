"""`tam-backend suggest` as people call it: tasks of a project, those with the most to mend first."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from annotated_studio import TOKEN, AnnotatedStudio, serving
from exported_discs import CONFIG
from typer.testing import CliRunner

from tam_backend.cli import app
from tam_backend.errors import LabelConfigError
from tam_backend.settings import Settings, get_settings
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.known import Known
from tam_backend.store.sessions import ObjectState, SessionKey, SessionStore
from tam_backend.store.shown_media import ShownMedia
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import EncodedMask

MASK = EncodedMask.of(np.eye(9, dtype=np.bool_))
FRAMES = 20


@pytest.fixture
def studio(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[AnnotatedStudio]:
    """Three tasks; an annotation of the first is submitted."""
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        served.add_task({"frames": []}, [])
        served.add_task({"frames": []})
        served.add_task({"frames": []})
        settings = Settings(data_dir=tmp_path, label_studio_url=served.url, label_studio_api_key=TOKEN)
        get_settings.cache_clear()
        monkeypatch.setattr("tam_backend.cli.common.get_settings", lambda: settings)
        yield served


def store(folder: Path, task: int, quality: float) -> None:
    """Keep masks of this quality on all frames; the first is a keyframe."""
    sessions = SessionStore(Database(sqlite_url(folder / "tam.sqlite")))
    session = sessions.open(SessionKey("3", str(task), "m"), frames=FRAMES, size_hw=(9, 9), weights="w")
    keyframe = KeptMask(MASK, 1.0, "prompt")
    session.save_object(1, ObjectState("[red] dog", {0: Known(mask=MASK)}, {0: keyframe}), [0])
    for frame in range(FRAMES):
        session.put(frame, {1: KeptMask(MASK, quality, "propagated") if frame else keyframe})
    session.close()


def rows(*options: str) -> list[list[str]]:
    """Return the table's rows, and all else as rows of one cell."""
    done = CliRunner().invoke(app, ["suggest", "--project", "3", *options], env={"COLUMNS": "120"})
    assert done.exit_code == 0, done.output
    return [[cell.strip() for cell in line.strip("│ ").split("│")] for line in done.output.splitlines()]


def test_tasks_come_by_what_a_look_mends_with_the_page_to_look_at(studio: AnnotatedStudio, tmp_path: Path) -> None:
    del studio
    store(tmp_path, 11, 0.95)
    store(tmp_path, 13, 0.4)
    new, wrong, fine = (row for row in rows() if row[0] in ("11", "12", "13"))
    assert [new[0], new[2], new[5]] == ["12", "not begun", "no"]
    assert [wrong[0], wrong[2], wrong[4], wrong[5]] == ["13", "to correct", "[red] dog", "no"]
    assert 1 < int(wrong[3]) <= FRAMES, "a page, counted from 1"
    assert fine == ["11", "0.0", "nothing in doubt", "", "", "yes"]
    assert float(new[1]) > float(wrong[1]) > 1


def test_no_more_are_named_than_asked_for(studio: AnnotatedStudio, tmp_path: Path) -> None:
    store(tmp_path, 13, 0.4)
    assert [row[0] for row in rows("--count", "1") if row[0] in ("11", "12", "13")] == ["12"]
    assert [call.split("?")[0] for call in studio.calls] == ["/api/projects/3/", "/api/tasks"], (
        "one list tells what is submitted"
    )


def test_what_was_submitted_without_us_comes_last(studio: AnnotatedStudio, tmp_path: Path) -> None:
    del studio
    store(tmp_path, 13, 0.95)
    assert [(row[0], row[2]) for row in rows() if row[0] in ("11", "12", "13")] == [
        ("12", "not begun"), ("13", "nothing in doubt"), ("11", "submitted"),
    ]  # fmt: skip


def test_a_frame_of_a_video_is_not_called_a_page(studio: AnnotatedStudio, tmp_path: Path) -> None:
    """The editor counts a <Video>'s frames by the tag's rate, which says nothing without the file."""
    del studio
    for task, shows in ((12, "film.mp4"), (13, ["1.jpg", "2.jpg"])):
        store(tmp_path, task, 0.4)
        ShownMedia(Database(sqlite_url(tmp_path / "tam.sqlite"))).remember(SessionKey("3", str(task), "m"), shows, task)
    [film, pages] = (row[3] for row in rows() if row[0] in ("12", "13"))
    assert film == f"frame {int(pages) - 1}"


def test_a_skipped_task_is_not_called_submitted(studio: AnnotatedStudio) -> None:
    studio.tasks[12]["annotations"] = [studio.annotation(1, [], "2026-01-01T10:00:00Z", was_cancelled=True)]
    found = [(row[0], row[2], row[5]) for row in rows() if row[0] in ("11", "12", "13")]
    assert found == [("12", "not begun", "skipped"), ("13", "not begun", "no"), ("11", "submitted", "yes")]


def test_without_the_backends_database_all_are_not_begun_and_none_is_made(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    del studio
    printed = rows()
    assert any("Nothing is stored in" in " ".join(row) for row in printed)
    assert [row[2] for row in printed if row[0] in ("11", "12", "13")] == ["not begun", "not begun", "submitted"]
    assert not (tmp_path / "tam.sqlite").exists()


def test_a_project_without_tasks_is_told_in_a_sentence(studio: AnnotatedStudio) -> None:
    studio.tasks.clear()
    done = CliRunner().invoke(app, ["suggest", "--project", "3"], env={"COLUMNS": "200"})
    assert "Project 3 has no tasks" in done.output
    assert "Mends" not in done.output


def test_a_project_that_is_not_there_or_shows_no_video_is_refused(studio: AnnotatedStudio) -> None:
    done = CliRunner().invoke(app, ["suggest", "--project", "4"])
    assert "There is no project 4" in str(done.exception)
    studio.config = '<View><Text name="t" value="$text"/></View>'
    done = CliRunner().invoke(app, ["suggest", "--project", "3"])
    assert isinstance(done.exception, LabelConfigError)
    assert not any(call.startswith("/api/tasks") for call in studio.calls)


def test_no_bar_is_left_above_an_error(studio: AnnotatedStudio) -> None:
    studio.refuse_after = 1
    done = CliRunner().invoke(app, ["suggest", "--project", "3"])
    assert "API key" in str(done.exception)
    assert "reading tasks" not in done.output
