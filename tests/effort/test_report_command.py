"""`tam-backend report` against a server that answers as Label Studio does; the real one is in tests/e2e."""

from __future__ import annotations

import csv
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import numpy as np
import pytest
from annotated_studio import TOKEN, serving

from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.labelstudio.results import mask_results
from tam_backend.models import zoo
from tam_backend.store.adapted_networks import AdaptedNetworks, Findings
from tam_backend.store.database import Database, sqlite_url
from tam_backend.store.known import Known
from tam_backend.store.sessions import ObjectState, SessionKey, SessionStore
from tam_backend.tracking.tracks import KeptMask
from tam_backend.types import EncodedMask, Point

XML = recommended_config(["Dog"])


class Studio:
    """Project 3 and its tasks; `listed` may name tasks that are gone when they are asked for.

    A task cannot be read by itself: the real Label Studio would have the backend predict it first.
    """

    def __init__(self) -> None:
        self.tasks: dict[int, dict[str, Any]] = {}
        self.listed: list[int] = []
        self.url = ""

    def answer(self, path: str, authorization: str | None) -> tuple[int, Any]:
        if authorization != f"Token {TOKEN}":
            return 401, {"detail": "Invalid token."}
        if path == "/api/projects/3/":
            return 200, {"id": 3, "title": "Dogs", "label_config": XML}
        if path.startswith("/api/tasks?project=3&"):
            return 200, {"tasks": [{"id": each} for each in self.listed], "total": len(self.listed)}
        asked = urlsplit(path)
        query = dict(parse_qsl(asked.query))
        if asked.path == "/api/tasks/":
            included = json.loads(query["query"])["selectedItems"]["included"]
            return 200, {"tasks": [self.tasks[each] for each in included if each in self.tasks]}
        parts = {f"/api/tasks/{number}/annotations/": task["annotations"] for number, task in self.tasks.items()}
        if asked.path == "/api/predictions/":
            parts[asked.path] = self.tasks[int(query["task"])]["predictions"]
        if asked.path in parts:
            return 200, parts[asked.path]
        return 404, {"detail": "Not found."}


@pytest.fixture
def studio() -> Iterator[Studio]:
    with serving(Studio()) as made:
        yield made


def submitted(number: int) -> dict[str, Any]:
    """A task of four frames on which one mask was submitted as we proposed it, in 40 s."""
    config = parse_config(XML)
    media = next(each for each in config.media if each.name == "frames")
    control = config.mask_output(media)
    assert control is not None
    mask = np.zeros((60, 80), np.bool_)
    mask[10:30, 20:50] = True
    result = mask_results(
        control, media, key="k", frame=1, labels=("Dog",), mask=mask, quality=0.8, source="propagated"
    )  # fmt: skip
    prediction = {"id": 8, "result": list(result), "created_at": "2026-01-01T10:00:00Z"}
    annotation = {
        "id": 9, "result": list(result), "lead_time": 40, "parent_prediction": 8, "created_at": "2026-01-01T11:00:00Z",
    }  # fmt: skip
    return {
        "id": number, "data": {"frames": ["a", "b", "c", "d"], "video": f"/clip{number}.mp4"},
        "annotations": [annotation], "predictions": [prediction],
    }  # fmt: skip


def report(
    studio: Studio, *options: str, project: int = 3, key: str = TOKEN, columns: int = 200, data: str = "/nonexistent"
) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "tam_backend", "report", "--project", str(project), "--url", studio.url]
    return subprocess.run(
        [*command, "--api-key", key, *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={"COLUMNS": str(columns), "PATH": "", "PYTHONPATH": ":".join(sys.path), "TAM_DATA_DIR": data},
    )


def test_a_task_that_is_deleted_while_the_report_is_made_is_named_and_leaves_the_others(
    studio: Studio, tmp_path: Path
) -> None:
    studio.listed, studio.tasks = [11, 12], {12: submitted(12)}
    done = report(studio, "--out", str(tmp_path), "--seconds-per-mask", "50")
    assert done.returncode == 0, done.stderr
    assert "Task 11 is left out" in done.stdout
    assert "clip12.mp4" in done.stdout
    told = json.loads((tmp_path / "report.json").read_text())
    assert [each["task"] for each in told["tasks"]] == [12]
    assert (told["total"]["kept"], told["total"]["agreement"], told["total"]["saved_s"]) == (1, 1.0, 10)


def test_networks_that_learnt_from_the_project_are_counted(studio: Studio, tmp_path: Path) -> None:
    studio.listed, studio.tasks = [12], {12: submitted(12)}
    adapted = AdaptedNetworks(Database(sqlite_url(tmp_path / "tam.sqlite")))
    base = zoo.profile("compact").version
    adapted.add("3", base, "", Findings("Worse."), {})
    made = adapted.add("3", base, "", Findings("Better."), {"tracker": b"weights"})
    adapted.add("4", base, "", Findings("Better."), {"tracker": b"weights"})
    said = report(studio, data=str(tmp_path)).stdout
    assert f"Networks learnt from the project twice, once for the better; {made.name} serves." in said
    assert "learnt" not in report(studio).stdout


def test_clicks_and_the_moments_when_networks_changed_come_from_the_backends_database(
    studio: Studio, tmp_path: Path
) -> None:
    studio.listed, studio.tasks = [12, 13], {12: submitted(12), 13: submitted(13)}
    database = Database(sqlite_url(tmp_path / "tam.sqlite"))
    AdaptedNetworks(database).add("3", "base", "", Findings("Better."), {"tracker": b"weights"})
    session = SessionStore(database).open(SessionKey("3", "12", "m"), frames=4, size_hw=(2, 2), weights="base+p3.1")
    mask = EncodedMask.of(np.ones((2, 2), np.bool_))
    points = (Point(1, 1, positive=True), Point(0, 1, positive=False))
    state = ObjectState("Dog", {0: Known(points)}, {0: KeptMask(mask, 1.0, "prompt")})
    session.save_object(1, state, [0])
    session.close()
    done = report(studio, "--out", str(tmp_path / "out"), data=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Too few videos to compare: 1 with the package's networks, 1 with the project's own" in done.stdout
    told = json.loads((tmp_path / "out" / "report.json").read_text())
    assert [(each["clicks"], each["networks"]) for each in told["tasks"]] == [(2, "base+p3.1"), (None, "")]
    assert told["total"]["clicks"] == 2
    assert [stage["videos"] for stage in told["curve"]["stages"]] == [1, 1]
    lines = list(csv.DictReader((tmp_path / "out" / "report.csv").open(encoding="utf-8")))
    assert [line["clicks"] for line in lines] == ["2", ""]
    assert lines[1]["begun_at"] == "2026-01-01T10:59:20+00:00", "40 s before it was submitted"
    assert "since p3.1" in (tmp_path / "out" / "report.html").read_text()


def test_a_database_that_is_away_is_a_note_and_costs_nothing_else(studio: Studio, tmp_path: Path) -> None:
    studio.listed, studio.tasks = [12], {12: submitted(12)}
    (tmp_path / "tam.sqlite").write_bytes(b"no database" * 100)
    done = report(studio, data=str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "clip12.mp4" in done.stdout
    assert "what networks learnt from the project, is left out" in done.stderr
    assert "learnt" not in done.stdout


def test_a_narrow_terminal_shows_fewer_columns_rather_than_cut_ones(studio: Studio) -> None:
    studio.listed, studio.tasks = [12], {12: submitted(12)}
    for columns, has_details in ((80, False), (200, True)):
        table = report(studio, columns=columns).stdout
        assert "clip12.mp4" in table
        assert "touched" in table
        assert "39 s" in table
        assert "\N{HORIZONTAL ELLIPSIS}" not in table
        assert ("erased" in table) == has_details


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        ({"key": "0" * 40}, "does not take the API key"),
        ({"project": 4}, "There is no project 4"),
        ({}, "Submit an annotation"),
    ],
)
def test_a_wrong_key_no_such_project_and_a_project_without_annotations_are_told_apart(
    studio: Studio, asked: dict[str, Any], says: str
) -> None:
    done = report(studio, **asked)
    assert done.returncode != 0
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr
