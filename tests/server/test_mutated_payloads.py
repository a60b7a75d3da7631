"""Whatever is sent, nothing unexpected happens to us: no error that no errors.py names, and the next one is served."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from fake_backend import make_settings
from mutated_payloads import Mutations, Sent, as_text, good_requests
from test_backend import backend, data
from test_video_boxes import data as clip

from tam_backend.server.app import create_app
from tam_backend.service.backend import Backend

__all__ = ["backend", "clip", "data"]  # fixtures

COUNT = 400


@pytest.mark.parametrize("seed", [1])
def test_mutated_requests_are_refused_or_answered_and_spoil_nothing(
    backend: Backend, data: dict[str, Any], clip: dict[str, Any], tmp_path: Path, seed: int
) -> None:
    client = create_app(make_settings(tmp_path / "data"), backend).test_client()
    media = {**data, **clip}

    def send(sent: Sent) -> int:
        path = sent.path.replace("{secret}", backend.webhook_secret)
        reply = client.open(path, method=sent.method, data=sent.body, content_type=sent.content_type)
        return reply.status_code

    mutations = Mutations(seed, media)
    for number in range(COUNT):
        status = send(mutations[number])
        unexpected = [each for each in backend.problems.recent() if each.type == "InternalError"]
        assert status != 500, as_text(mutations[number])
        assert not unexpected, as_text(mutations[number])
    for path, payload in good_requests(media):
        reply = client.post(path.replace("{secret}", backend.webhook_secret), json=payload)
        assert reply.status_code in (200, 201), path
