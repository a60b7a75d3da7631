"""Labeling a <Video>: a box on one frame becomes a track of boxes."""

from __future__ import annotations

from pathlib import Path

import pytest
from labelling import DISCS, import_video

from demo.annotator import Annotator
from demo.backend import BackendServer

pytestmark = pytest.mark.e2e
FRAME_RATE = 24
CONFIG = f"""<View>
  <Labels name="what" toName="film"><Label value="Red"/><Label value="Blue"/></Labels>
  <Video name="film" value="$video" frameRate="{FRAME_RATE}"/>
  <VideoRectangle name="track" toName="film" smart="true"/>
</View>"""


def test_a_box_on_a_video_becomes_a_track_of_boxes(
    annotator: Annotator, backend: BackendServer, discs_video: Path
) -> None:
    project = annotator.create_project("video", CONFIG)
    import_video(backend, discs_video, project)
    [task] = annotator.tasks(project)
    ml_backend = annotator.connect_backend(project, backend.url)
    x, y = DISCS.centre(0, 1)
    drawn = {
        "id": "drawn",
        "from_name": "track",
        "to_name": "film",
        "type": "videorectangle",
        "value": {
            "framesCount": DISCS.frames,
            "duration": DISCS.frames / FRAME_RATE,
            "labels": ["Red"],
            "sequence": [
                {
                    "frame": 1,
                    "enabled": True,
                    "rotation": 0,
                    "time": 1 / FRAME_RATE,
                    "x": 100 * (x - 32) / DISCS.width,
                    "y": 100 * (y - 32) / DISCS.height,
                    "width": 100 * 64 / DISCS.width,
                    "height": 100 * 64 / DISCS.height,
                }
            ],
        },
    }
    answer = annotator.ask(ml_backend, int(task["id"]), [drawn])
    [track] = [region for region in answer if region["type"] == "videorectangle"]
    assert track["value"]["labels"] == ["Red"]
    boxes = {box["frame"]: box for box in track["value"]["sequence"]}
    assert min(boxes) == 1
    assert max(boxes) <= DISCS.frames
    for frame, box in boxes.items():
        if not box["enabled"]:
            continue
        centre_x = (box["x"] + box["width"] / 2) / 100 * DISCS.width
        centre_y = (box["y"] + box["height"] / 2) / 100 * DISCS.height
        true_x, true_y = DISCS.centre(frame - 1, 1)
        assert abs(centre_x - true_x) < 8, (frame, box)
        assert abs(centre_y - true_y) < 8, (frame, box)
        assert box["time"] == pytest.approx(frame / FRAME_RATE, abs=0.01)
    assert any(frame > DISCS.frames * 0.7 and box["enabled"] for frame, box in boxes.items())
