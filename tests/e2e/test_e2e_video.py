"""Labeling a <Video>: a box on one frame becomes a track of boxes."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import pytest
from browser import chromium
from labelling import DISCS, import_video
from selenium.webdriver.remote.webdriver import WebDriver
from synthetic import MovingDiscs

from demo.annotator import Annotator
from demo.backend import BackendServer

pytestmark = pytest.mark.e2e
FRAME_RATE = 24
CONFIG = f"""<View>
  <Labels name="what" toName="film"><Label value="Red"/><Label value="Blue"/></Labels>
  <Video name="film" value="$video" frameRate="{FRAME_RATE}"/>
  <VideoRectangle name="track" toName="film" smart="true"/>
</View>"""


def drawn_box(x: float, y: float, video: MovingDiscs) -> dict[str, Any]:
    """Return a box of 64 x 64 pixels around a place on the first frame, as the editor sends it."""
    return {
        "id": "drawn",
        "from_name": "track",
        "to_name": "film",
        "type": "videorectangle",
        "value": {
            "framesCount": video.frames,
            "duration": video.frames / FRAME_RATE,
            "labels": ["Red"],
            "sequence": [
                {
                    "frame": 1,
                    "enabled": True,
                    "rotation": 0,
                    "time": 1 / FRAME_RATE,
                    "x": 100 * (x - 32) / video.width,
                    "y": 100 * (y - 32) / video.height,
                    "width": 100 * 64 / video.width,
                    "height": 100 * 64 / video.height,
                }
            ],
        },
    }


def test_a_box_on_a_video_becomes_a_track_of_boxes(
    annotator: Annotator, backend: BackendServer, discs_video: Path
) -> None:
    project = annotator.create_project("video", CONFIG)
    import_video(backend, discs_video, project)
    [task] = annotator.tasks(project)
    ml_backend = annotator.connect_backend(project, backend.url)
    answer = annotator.ask(ml_backend, int(task["id"]), [drawn_box(*DISCS.centre(0, 1), DISCS)])
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


# --- frames that do not come at a steady rate ---

TIMES_MS = [40 * index for index in range(12)] + [480 + 200 * index for index in range(12)]
UNSTEADY = MovingDiscs(
    frames=len(TIMES_MS),
    height=240,
    width=320,
    radius=30,
    starts_xy=((60, 80),),
    steps_xy=((8, 3),),
    name="unsteady.mp4",
)


@pytest.fixture(scope="module")
def unsteady_video(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve frames 40 ms apart, then twelve 200 ms apart, as a screen recorder writes them."""
    path = tmp_path_factory.mktemp("clips") / UNSTEADY.name
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = UNSTEADY.width, UNSTEADY.height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        stream.options = {"crf": "12", "bf": "0"}
        for image, at in zip(UNSTEADY, TIMES_MS, strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = at, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def index_at(seconds: float) -> int:
    return max(index for index, at in enumerate(TIMES_MS) if at <= 1000 * seconds + 1)


def test_boxes_on_an_unsteady_video_lie_where_the_player_shows_the_thing(
    annotator: Annotator, backend: BackendServer, unsteady_video: Path
) -> None:
    project = annotator.create_project("unsteady", CONFIG)
    import_video(backend, unsteady_video, project)
    [task] = annotator.tasks(project)
    ml_backend = annotator.connect_backend(project, backend.url)
    answer = annotator.ask(ml_backend, int(task["id"]), [drawn_box(*UNSTEADY.centre(0), UNSTEADY)])
    [track] = [region for region in answer if region["type"] == "videorectangle"]
    boxes = {box["frame"]: box for box in track["value"]["sequence"] if box["enabled"]}
    assert track["value"]["framesCount"] == pytest.approx((TIMES_MS[-1] / 1000 + 0.2) * FRAME_RATE, abs=5)
    assert max(boxes) > FRAME_RATE * 2, "the slow half has boxes too"
    with chromium() as browser:
        browser.get(str(task["data"]["video"]))
        for frame in sorted(boxes)[:: max(1, len(boxes) // 8)]:
            seconds = (frame - 1) / FRAME_RATE
            x, y = shown_at(browser, seconds + 1e-6)
            true_x, true_y = UNSTEADY.centre(index_at(seconds))
            assert (x, y) == pytest.approx((true_x, true_y), abs=3), "what this test says of the player"
            box = boxes[frame]
            assert (box["x"] + box["width"] / 2) / 100 * UNSTEADY.width == pytest.approx(x, abs=8), frame
            assert (box["y"] + box["height"] / 2) / 100 * UNSTEADY.height == pytest.approx(y, abs=8), frame


def shown_at(browser: WebDriver, seconds: float) -> tuple[float, float]:
    """Return the centre of what is red in the picture that Chromium shows at a time."""
    x, y = browser.execute_async_script(_RED_AT, seconds)
    return float(x), float(y)


_RED_AT = """
const [seconds, done] = arguments;
const video = document.querySelector('video');
const look = () => {
  const canvas = document.createElement('canvas');
  canvas.width = video.videoWidth;
  canvas.height = video.videoHeight;
  const context = canvas.getContext('2d');
  context.drawImage(video, 0, 0);
  const {data} = context.getImageData(0, 0, canvas.width, canvas.height);
  const found = [0, 0, 0];
  for (let at = 0; at < data.length / 4; at++)
    if (data[4 * at] > 150 && data[4 * at + 1] < 100) {
      found[0] += at % canvas.width;
      found[1] += Math.floor(at / canvas.width);
      found[2]++;
    }
  done([found[0] / found[2], found[1] / found[2]]);
};
const seek = () => {
  video.pause();
  video.addEventListener('seeked', () => requestAnimationFrame(() => requestAnimationFrame(look)), {once: true});
  video.currentTime = seconds;
};
if (video.readyState >= 2) seek();
else video.addEventListener('loadeddata', seek, {once: true});
"""
