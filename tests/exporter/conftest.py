"""A project whose frames show two discs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from annotated_studio import AnnotatedStudio, serving
from exported_discs import CONFIG, write_pictures


@pytest.fixture
def studio() -> Iterator[AnnotatedStudio]:
    with serving(AnnotatedStudio(CONFIG.format(kind="BrushLabels"))) as served:
        yield served


@pytest.fixture
def pictures(tmp_path: Path) -> list[str]:
    """The frames as files, whose paths stand in tasks."""
    return write_pictures(tmp_path / "pictures", "jpg")
