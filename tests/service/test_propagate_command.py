"""`tam-backend propagate` as people type it: what it cannot do it says in a sentence, and what it would do before."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from annotated_studio import TOKEN, AnnotatedStudio, serving
from exported_discs import CONFIG, DISCS


@pytest.fixture
def studio() -> Iterator[AnnotatedStudio]:
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        yield served


def run(studio: AnnotatedStudio, tmp_path: Path, *options: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "tam_backend", "propagate", "--url", studio.url, "--api-key", TOKEN, "--project", "3",
         *options],
        capture_output=True, text=True, timeout=120, check=False,
        env={"COLUMNS": "200", "PATH": "", "PYTHONPATH": ":".join(sys.path), "TAM_DATA_DIR": str(tmp_path / "data")},
    )  # fmt: skip


def test_a_tag_that_is_not_there_is_named_with_those_that_are(studio: AnnotatedStudio, tmp_path: Path) -> None:
    done = run(studio, tmp_path, "--prompt-from", "boxen")
    assert done.returncode == 2
    assert 'Prompts cannot come from "boxen"' in done.stderr
    assert "one of the ordinary tags: outlines." in done.stderr


def test_a_dry_run_tells_how_the_tasks_would_begin(studio: AnnotatedStudio, tmp_path: Path) -> None:
    outline = {
        "id": "o", "from_name": "outlines", "to_name": "pages", "type": "polygonlabels", "item_index": 0,
        "original_width": DISCS.width, "original_height": DISCS.height, "image_rotation": 0,
        "value": {"points": [[25, 25], [75, 25], [75, 75]], "polygonlabels": ["Red"]},
    }  # fmt: skip
    first = studio.add_task({"frames": ["/f/0.png", "/f/1.png"]}, [outline])
    second = studio.add_task({"frames": ["/f/0.png"]}, [])
    done = run(studio, tmp_path, "--prompt-from", "outlines", "--dry-run")
    assert done.returncode == 0, done.stderr
    assert f'Task {first}: 1 of 1 regions of "outlines" are prompts of 1 objects' in done.stderr
    assert '"Red" begins on frames 0 (o).' in done.stderr
    assert f'Task {second} has nothing to begin with. Nothing of "outlines" lies on its frames.' in done.stderr
    assert "1 of 2 tasks would be tracked." in done.stderr


def test_a_wrong_tag_in_the_labeling_config_is_named_with_the_task(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.config = studio.config.replace("valueList", 'tamPromptFrom="boxen" valueList')
    task = studio.add_task({"frames": ["/f/0.png"]}, [])
    said = run(studio, tmp_path).stderr
    assert f"Task {task} has nothing to begin with. Nothing begins with what was asked for" in said
    assert 'is called "boxen"' in said


def test_a_project_of_videos_hears_why_it_has_no_masks_and_how_to_get_some(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    studio.config = """<View><Video name="film" value="$clip"/>
      <VideoRectangle name="track" toName="film" smart="true"/>
      <Labels name="what" toName="film"><Label value="Red"/></Labels></View>"""
    studio.add_task({"clip": "/v/a.mp4"}, [])
    for options in ((), ("--prompt-from", "predictions")):
        done = run(studio, tmp_path, *options)
        assert done.returncode == 2
        assert "Project 3 shows a <Video>, which takes boxes and no masks" in done.stderr
        assert "`tam-backend import --from-project 3`" in done.stderr


def test_who_asks_for_nothing_in_particular_is_told_what_could_be_asked_for(
    studio: AnnotatedStudio, tmp_path: Path
) -> None:
    studio.add_task({"frames": ["/f/0.png"]}, [])
    assert "--prompt-from predictions" in run(studio, tmp_path).stderr
