"""The examples of docstrings and of the README run as they stand, in a folder that holds a `clip.mp4`."""

from __future__ import annotations

import doctest
import importlib
import re
from pathlib import Path

import numpy as np
import pytest
from synthetic import MovingDiscs

from tam_backend.export import OverlayWriter

ROOT = Path(__file__).resolve().parent.parent
FILES_WITH_EXAMPLES = [path for path in sorted((ROOT / "tam_backend").rglob("*.py")) if ">>> " in path.read_text()]
DISC = MovingDiscs(3, 360, 640, radius=60, starts_xy=((320, 180),))
"""It lies where the examples click."""


def folder_with_clip(folder: Path, in_doubt: bool = False) -> Path:
    """Write three frames of the disc, or one and then noise, in which no tracker can be sure of it."""
    with OverlayWriter(folder / "clip.mp4", DISC.size_hw, fps=24) as writer:
        for index in range(len(DISC)):
            noise = np.random.default_rng(index).integers(0, 255, (*DISC.size_hw, 3), dtype=np.uint8)
            writer.write(noise if in_doubt and index else DISC[index], {})
    return folder


@pytest.fixture(scope="module")
def shared_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return folder_with_clip(tmp_path_factory.mktemp("examples"))


def module_of(path: Path) -> str:
    parts = path.relative_to(ROOT).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


@pytest.mark.parametrize("path", FILES_WITH_EXAMPLES, ids=module_of)
def test_the_examples_of_a_module_say_what_happens(
    path: Path, shared_folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(shared_folder)
    outcome = doctest.testmod(importlib.import_module(module_of(path)))
    assert outcome.failed == 0, capsys.readouterr().out
    assert outcome.attempted == path.read_text().count(">>> "), "some stand where doctest does not look, or are skipped"


@pytest.mark.parametrize("in_doubt", [False, True])
def test_the_python_example_of_the_readme_runs_whether_or_not_a_mask_is_in_doubt(
    in_doubt: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    [example] = re.findall(r"^```python\n(.*?)^```$", (ROOT / "README.md").read_text(), re.DOTALL | re.MULTILINE)
    monkeypatch.chdir(folder_with_clip(tmp_path, in_doubt))
    exec(compile(example, "README.md", "exec"), {})
    tracked = [line.split()[0] for line in capsys.readouterr().out.splitlines()]
    assert tracked[:3] == ["0", "1", "2"]
    assert bool(tracked[3:]) == in_doubt, "frames are tracked again where a correction was suggested, and only there"
