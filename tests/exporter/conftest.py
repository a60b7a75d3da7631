"""A project whose frames show two discs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import pytest
from annotated_studio import AnnotatedStudio, serving
from exported_discs import CONFIG, DISCS


@pytest.fixture
def studio() -> Iterator[AnnotatedStudio]:
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        yield served


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """The frames as files, whose paths stand in tasks."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for index, picture in enumerate(DISCS):
        cv2.imwrite(str(folder / f"discs_{index}.jpg"), picture[..., ::-1])
    return [str(folder / f"discs_{index}.jpg") for index in range(DISCS.frames)]
