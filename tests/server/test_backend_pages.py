"""What was propagated stands on the task's page at once, on the video itself, and after a restart too."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from colour_models import ColourModels
from fake_backend import make_settings
from test_backend import PROPAGATE, VIDEO, draft, point, predict

# Its fixtures, for these tests too.
from test_backend import backend, data  # noqa: F401  # isort: skip

from tam_backend.engine import TrackAnything
from tam_backend.server.app import create_app
from tam_backend.service.backend import Backend


def test_a_propagated_task_has_a_page_on_its_own_video(
    backend: Backend,  # noqa: F811
    data: dict[str, Any],  # noqa: F811
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    [clicked] = predict(backend, data, point(4, "Rabbit"))
    predict(backend, data, PROPAGATE, drafts=draft(clicked))
    backend.close()
    monkeypatch.setattr(TrackAnything, "load", lambda *_, **__: TrackAnything(ColourModels().models()))
    settings = make_settings(tmp_path / "data")
    client = create_app(settings, Backend(settings)).test_client()
    assert 'href="tasks/7/1"' in client.get("/").text
    page = client.get("/tasks/7/1").text
    assert "Rabbit" in page
    assert "10 <span>of 10" in page
    reply = client.get("/tasks/7/1/frames/6.jpg")
    assert reply.headers["Cache-Control"] == "private, no-cache", "it is drawn on the video"
    drawn = cv2.imdecode(np.frombuffer(reply.data, np.uint8), cv2.IMREAD_COLOR)[..., ::-1].astype(int)
    away = ~(cv2.dilate(VIDEO.truth(6).astype(np.uint8), np.ones((41, 41))) > 0) & ~VIDEO.truth(6, 2)
    assert np.abs(drawn - VIDEO[6])[away].mean() < 6
