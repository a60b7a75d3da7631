"""Ctrl-C during a long verb: what was done, what is left, and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
from exported_discs import CONFIG, DISCS, disc_regions
from rich.progress import Progress
from test_cli import Done, run
from video.video_making import make_video

from tam_backend.errors import LabelStudioError
from tam_backend.export import save_index_mask
from tam_backend.labelstudio.client import LabelStudioClient, TaskProgress
from tam_backend.labelstudio.recommended_config import recommended_config
from tam_backend.session.session import Session
from tam_backend.settings import get_settings

CTRL_C = 130


def then_ctrl_c(real: Callable[..., Any], calls: int) -> Callable[..., Any]:
    """Return what does the same so many times; then somebody presses Ctrl-C."""
    left = calls

    def called(*given: Any, **named: Any) -> Any:
        nonlocal left
        left -= 1
        if left < 0:
            raise KeyboardInterrupt
        return real(*given, **named)

    return called


@pytest.fixture
def stopped(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., str]]:
    """Run a verb, of which somebody presses Ctrl-C in the middle; return what it says."""
    for name, value in (
        ("TAM_DATA_DIR", str(tmp_path / "data")), ("LABEL_STUDIO_URL", "http://127.0.0.1:9"),
        ("LABEL_STUDIO_API_KEY", "k" * 40), ("COLUMNS", "300"),
    ):  # fmt: skip
        monkeypatch.setenv(name, value)
    get_settings.cache_clear()

    def go(*arguments: str | Path) -> str:
        done: Done = run(*arguments)
        assert done.returncode == CTRL_C, done.stderr
        assert "Stopped. " in done.stderr
        return " ".join(done.stderr.split())

    yield go
    get_settings.cache_clear()


@pytest.fixture
def no_label_studio(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """Its API, answered without it: what is here by name is what its methods return."""
    numbers = iter(range(1, 100))
    answers: dict[str, Any] = {
        "create_tasks": lambda _, project, data: [next(numbers) for _ in data],
        "update_task_data": lambda *_: None,
        "install_webhook": lambda *_: None,
        "get_project": lambda *_: {"title": "Clips", "label_config": CONFIG.format(kind="BrushLabels")},
        "task_ids": lambda *_: [1, 2, 3],
        "tasks_data": lambda *_: [],
        "predictions": lambda *_: [],
        "annotations": lambda *_: [],
    }
    for name, answer in answers.items():
        monkeypatch.setattr(LabelStudioClient, name, answer)
    return answers


def test_track(stopped: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for index, frame in enumerate(DISCS):
        cv2.imwrite(str(tmp_path / f"frame_{index}.png"), frame[..., ::-1])
    (tmp_path / "first").mkdir()
    save_index_mask(tmp_path / "first" / "mask.png", {1: DISCS.truth(0, 1)})
    monkeypatch.setattr(Progress, "advance", then_ctrl_c(Progress.advance, 1))
    said = stopped("track", tmp_path, "--prompts", tmp_path / "first" / "mask.png", "--out", tmp_path / "out")
    assert f"2 of {DISCS.frames} frames were tracked" in said
    assert "The same command begins anew" in said
    assert not (tmp_path / "out" / "result.json").exists()
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2, "what it says is there"

    def nothing_yet(*_: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Session, "propagate", nothing_yet)
    said = stopped("track", tmp_path, "--prompts", tmp_path / "first" / "mask.png", "--out", tmp_path / "out")
    assert "Nothing was tracked yet" in said
    assert len(list((tmp_path / "out" / "masks").iterdir())) == 2, "what an earlier run wrote is replaced, not lost"


def test_an_import_of_videos_names_those_that_have_arrived(
    stopped: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_label_studio: dict[str, Any]
) -> None:
    clips = [make_video(tmp_path / f"{name}.mp4", frames=4) for name in "abc"]
    told: list[str] = []
    monkeypatch.setattr(LabelStudioClient, "create_tasks", then_ctrl_c(no_label_studio["create_tasks"], 1))
    monkeypatch.setattr(LabelStudioClient, "install_webhook", lambda *_: told.append("webhook"))
    said = stopped("import", *clips, "--project", "3")
    assert "a.mp4: 4 of 4 frames, task 1" in said
    assert "1 of 3 videos have arrived" in said
    assert "Give the command again with the others only" in said
    assert told == ["webhook"], "what has arrived can be worked on"


def test_an_import_of_a_projects_videos_goes_on(
    stopped: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_label_studio: dict[str, Any]
) -> None:
    clips = [make_video(tmp_path / f"{name}.mp4", frames=4) for name in "ab"]
    videos = '<View><Video name="film" value="$clip"/></View>'
    configs = {4: videos, 5: recommended_config(["Red"])}
    monkeypatch.setenv("TAM_MEDIA_DIRS", str(tmp_path))
    monkeypatch.setattr(LabelStudioClient, "get_project", lambda _, number: {"label_config": configs[number]})
    monkeypatch.setattr(
        LabelStudioClient,
        "tasks_data",
        lambda _, project: [(7 + at, {"clip": str(clip)}) for at, clip in enumerate(clips)] if project == 4 else [],
    )
    monkeypatch.setattr(LabelStudioClient, "create_tasks", then_ctrl_c(no_label_studio["create_tasks"], 1))
    said = stopped("import", "--from-project", "4", "--project", "5")
    assert "task 7: fetching ... (0 arrived)" in said, "a log tells what it is at"
    assert "task 8: making 1 task ... (1 arrived)" in said
    assert "Task 7 of project 4, a.mp4: 4 of 4 frames, task 1" in said
    assert "The same command goes on: it brings those that are missing" in said


def test_export(
    stopped: Callable[..., str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, no_label_studio: dict[str, Any]
) -> None:
    pages = {number: {"frames": [f"/f/{number}.jpg"]} for number in (1, 2, 3)}
    drawn = [{"id": 5, "result": disc_regions(range(1)), "updated_at": "2026"}]
    monkeypatch.setattr(LabelStudioClient, "tasks_data", lambda *_: pages.items())
    monkeypatch.setattr(LabelStudioClient, "task_data", lambda _, project, task: pages[task])
    monkeypatch.setattr(LabelStudioClient, "annotations", then_ctrl_c(lambda *_: drawn, 2))
    said = stopped("export", "--project", "3", "--format", "davis", "--out", tmp_path / "out")
    assert "2 of 3 tasks are done and kept" in said
    assert "The same command goes on from there." in said
    monkeypatch.setattr(LabelStudioClient, "annotations", lambda *_: drawn)
    again = run("export", "--project", "3", "--format", "davis", "--out", tmp_path / "out")
    assert again.returncode == 0, again.stderr
    assert "3 videos" in again.stderr


def test_propagate(
    stopped: Callable[..., str], monkeypatch: pytest.MonkeyPatch, no_label_studio: dict[str, Any]
) -> None:
    read: Callable[..., Any] = lambda *_: {"id": 1, "data": {"frames": ["/f/a.jpg"]}, "annotations": []}  # noqa: E731
    monkeypatch.setattr(LabelStudioClient, "get_task", then_ctrl_c(read, 2))
    said = stopped("propagate", "--project", "3")
    assert "2 of 3 tasks are done" in said
    assert "The same command goes on" in said


def test_report(stopped: Callable[..., str], monkeypatch: pytest.MonkeyPatch, no_label_studio: dict[str, Any]) -> None:
    read: Callable[..., Any] = lambda *_: {"id": 1, "data": {"frames": ["/f/a.jpg"]}, "annotations": []}  # noqa: E731
    monkeypatch.setattr(LabelStudioClient, "get_task", then_ctrl_c(read, 2))
    assert "2 tasks were read, and nothing was written." in stopped("report", "--project", "3")


@pytest.mark.usefixtures("no_label_studio")
def test_suggest(stopped: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def lists(*_: Any) -> Iterator[TaskProgress]:
        yield TaskProgress(1, 0, 0)
        raise KeyboardInterrupt

    monkeypatch.setattr(LabelStudioClient, "progress", lists)
    said = stopped("suggest", "--project", "3")
    assert "reading tasks" in said
    assert "Nothing was changed. The same command begins anew." in said


@pytest.mark.usefixtures("no_label_studio")
def test_adapt(stopped: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def learns(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tam_backend.service.project_learning.Learning.carry_out", learns)
    said = stopped("adapt", "--project", "3")
    assert "the same command goes on from there once it has read anew what people submitted" in said


def test_weights_fetch(stopped: Callable[..., str], monkeypatch: pytest.MonkeyPatch) -> None:
    def arrives(*_: Any, **__: Any) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("tam_backend.models.weights_store.WeightsStore.fetch", arrives)
    assert "What has arrived is kept" in stopped("weights", "fetch", "mobile-sam+xmem")


def test_a_project_that_takes_no_webhook_still_gets_all_videos_and_says_so_at_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, stopped: Callable[..., str], no_label_studio: dict[str, Any]
) -> None:
    def refuses(*_: Any) -> None:
        raise LabelStudioError("Webhooks are not allowed.", "Ask an administrator.")

    del stopped, no_label_studio  # they set the scene
    monkeypatch.setattr(LabelStudioClient, "install_webhook", refuses)
    clips = [make_video(tmp_path / f"{name}.mp4", frames=4) for name in "ab"]
    done = run("import", *clips, "--project", "3")
    assert done.returncode == 2
    assert "a.mp4: 4 of 4 frames" in done.stderr
    assert "b.mp4: 4 of 4 frames" in done.stderr
    assert done.stderr.index("b.mp4: 4") < done.stderr.index("Webhooks are not allowed.")
