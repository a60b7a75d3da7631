"""Fixtures of the tests that work in Label Studio's own editor, in a real browser."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from browser import chromium
from editor import Editor

from demo.backend import BackendServer, running_backend
from demo.label_studio import LabelStudio

_SCREENSHOTS = Path(".demo/screenshots")


@pytest.fixture(scope="module")
def backend(label_studio: LabelStudio, tmp_path_factory: pytest.TempPathFactory) -> Iterator[BackendServer]:
    """Waits for the editor's drafts, as it does for people."""
    with running_backend(label_studio, tmp_path_factory.mktemp("backend")) as running:
        yield running


@pytest.fixture(scope="module")
def editor(label_studio: LabelStudio) -> Iterator[Editor]:
    with chromium() as browser:
        yield Editor(browser, label_studio)


def shot(editor: Editor, name: str) -> None:
    """Keep a picture of what is seen now, for people to look at."""
    _SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    editor.browser.save_screenshot(str(_SCREENSHOTS / f"{name}.png"))
