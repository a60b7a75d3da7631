"""`tam-backend export` as people call it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import dataset_readers as readers
import pytest
from annotated_studio import TOKEN, AnnotatedStudio
from exported_discs import DISCS, RED, assert_same, disc_regions

from tam_backend.cli.choices import DatasetFormatName
from tam_backend.export.formats import FORMATS


def run(studio: AnnotatedStudio, *options: str, key: str = TOKEN) -> subprocess.CompletedProcess[str]:
    """Run the command line."""
    return subprocess.run(
        [sys.executable, "-m", "tam_backend", "export", "--url", studio.url, "--api-key", key, "--project", *options],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
        env={"COLUMNS": "200", "PATH": "", "PYTHONPATH": ":".join(sys.path), "TAM_DATA_DIR": "/nonexistent"},
    )


def test_the_command_line_says_what_is_in_the_dataset_and_what_is_not(studio: AnnotatedStudio, tmp_path: Path) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]}, disc_regions(range(1)))
    studio.add_task({"frames": ["/f/b.jpg"]})
    out = str(tmp_path / "out")
    done = run(studio, "3", "--format", "davis", "--out", out, "--class", "Blue=", "--annotator", "Ann@example.com")
    assert done.returncode == 0, done.stderr
    assert "1 videos, 1 frames, 1 objects, 1 masks." in done.stderr
    assert "Objects by class: Red 1." in done.stderr
    assert "Nothing to export in task 12" in done.stderr
    assert out in done.stderr
    assert_same(readers.davis(tmp_path / "out")[0], {(0, 1): DISCS.truth(0, RED)})


@pytest.mark.parametrize(
    ("options", "key", "says"),
    [
        (("4",), TOKEN, "There is no project 4"),
        (("3",), "0" * 40, "the same command goes on"),
        (("3", "--split", "half"), TOKEN, "--split"),
        (("3", "--min-quality", "7"), TOKEN, "Give 0 to 1"),
        (("3", "--annotator", "nobody@example.com"), TOKEN, "Known are ann@example.com, ben@example.com"),
        (("3", "--task", "99"), TOKEN, "no task 99"),
    ],
)
def test_what_cannot_be_exported_is_told_in_a_sentence(
    studio: AnnotatedStudio, tmp_path: Path, options: tuple[str, ...], key: str, says: str
) -> None:
    studio.add_task({"frames": ["/f/a.jpg"]}, disc_regions(range(1)))
    done = run(studio, *options, "--format", "coco", "--out", str(tmp_path / "out"), key=key)
    assert done.returncode == 2
    assert says in " ".join(done.stderr.split())
    assert "Traceback" not in done.stderr


def test_the_command_line_knows_every_format() -> None:
    assert [each.value for each in DatasetFormatName] == list(FORMATS)
