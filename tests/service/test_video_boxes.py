"""Boxes on a <Video>, several of them: a click on one is answered with that one and costs the others nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from test_backend import VIDEO, VIDEO_CONFIG, backend, draft, predict  # noqa: F401 - `backend` is a fixture

from tam_backend.export import OverlayWriter
from tam_backend.service.backend import Backend
from tam_backend.session.pursuit import Pursuit

# ruff: noqa: F811


@pytest.fixture
def data(backend: Backend, tmp_path: Path) -> dict[str, Any]:
    with OverlayWriter(tmp_path / "clip.mp4", VIDEO.size_hw, 24) as writer:
        for frame in VIDEO:
            writer.write(frame, {})
    record = backend.library.register(tmp_path / "clip.mp4")
    return {"video": backend.library.video_url("http://x", record.id)}


def box(disc: int, name: str, frame: int = 3) -> dict[str, Any]:
    """Return a box around a disc, drawn on a frame (0-based)."""
    (x, y), r = VIDEO.centre(frame, disc), VIDEO.radius
    height, width = VIDEO.size_hw
    keyframe = {
        "frame": frame + 1,
        "enabled": True,
        "rotation": 0,
        "time": (frame + 1) / 24,
        "x": 100 * (x - r) / width,
        "y": 100 * (y - r) / height,
        "width": 200 * r / width,
        "height": 200 * r / height,
    }
    value = {"framesCount": 10, "duration": 10 / 24, "labels": ["Rabbit"], "sequence": [keyframe]}
    return {"id": name, "from_name": "track", "to_name": "clip", "type": "videorectangle", "value": value}


def stored(backend: Backend) -> dict[int, dict[int, float]]:
    view = backend.store.find("7", "1")
    assert view is not None
    return {object_id: dict(track) for object_id, track in view.quality.items()}


def test_a_click_on_one_box_leaves_the_other_ones_tracks_alone(
    backend: Backend, data: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    [first] = predict(backend, data, box(1, "one"), config=VIDEO_CONFIG)
    before = stored(backend)
    [second] = predict(backend, data, box(2, "two"), drafts=draft(first), config=VIDEO_CONFIG)
    assert second["id"] == "two"
    after = stored(backend)
    assert {object_id: after[object_id] for object_id in before} == before
    assert len(after) == 2
    tracked = []
    advance = Pursuit.advance
    monkeypatch.setattr(Pursuit, "advance", lambda pursuit: (tracked.append(1), advance(pursuit))[1])
    [again] = predict(backend, data, box(1, "one"), drafts=draft(first, second), config=VIDEO_CONFIG)
    assert again["value"]["sequence"] == first["value"]["sequence"]
    assert tracked == [], "all is tracked already"
