"""What a task's video is called."""

from __future__ import annotations

from typing import Any

import pytest

from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.video_names import video_name

PAGES = parse_config(
    '<View><Image name="i" valueList="$frames"/><BrushLabels name="m" toName="i"><Label value="A"/></BrushLabels>'
    '<Video name="v" value="$film"/><VideoRectangle name="b" toName="v"/></View>'
)
OURS = "http://localhost:9090/frames/00112233aabbccdd/0.jpg?sig=x"


@pytest.mark.parametrize(
    ("data", "name"),
    [
        ({"name": "chair-1", "frames": [OURS]}, "chair-1-7"),
        ({"name": "v1.2 (a)", "frames": [OURS]}, "v1.2-a--7"),
        ({"video": "http://x/videos/0/pair1.mp4?sig=x", "name": "other", "frames": [OURS]}, "pair1-7"),
        ({"film": "http://x/pair1.mp4"}, "pair1-7"),
        ({"frames": [OURS]}, "task-7"),
        ({"frames": [OURS], "name": 5}, "task-7"),
        ({"frames": [OURS], "name": " "}, "task-7"),
        ({"frames": ["/data/local-files/?d=clips/chair-1/00000.jpg"]}, "chair-1-7"),
        ({"frames": ["http://x/chair-1/frame_0001.png"]}, "chair-1-7"),
        ({"frames": ["http://x/clips/first%20look.png"]}, "first-look-7"),
        ({"frames": ["/data/upload/3/0001.jpg"]}, "task-7"),
        ({"frames": ["data:image/png;base64,AA/0.jpg"]}, "task-7"),
        ({"frames": ["http://[x/0.jpg"]}, "task-7"),
        ({"frames": []}, "task-7"),
        ({}, "task-7"),
    ],
)
def test_a_video_is_called_by_what_people_know_it_by(data: dict[str, Any], name: str) -> None:
    assert video_name(7, data, PAGES) == name
