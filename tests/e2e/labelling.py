"""What most end-to-end tests label: a small video of which the truth is known, and a project with it."""

from __future__ import annotations

import os
import subprocess
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from synthetic import MovingDiscs

from demo.annotator import Annotator, Page, TagNames
from demo.backend import BackendServer, console_script

DISCS = MovingDiscs(
    frames=10,
    height=240,
    width=320,
    radius=30,
    starts_xy=((70, 80), (240, 170)),
    steps_xy=((6, 3), (-5, -2)),
    name="discs.mp4",
)
"""A red disc and a blue disc that pass each other; what most end-to-end tests label."""

_PROMPTS = """
  <KeyPointLabels name="clicks" toName="pages" smart="true" smartOnly="true">
    <Label value="Red"/><Label value="Blue"/><Label value="Propagate"/>
  </KeyPointLabels>
  <RectangleLabels name="boxes" toName="pages" smart="true" smartOnly="true">
    <Label value="Red"/><Label value="Blue"/><Label value="Propagate"/>
  </RectangleLabels>
"""
FRAME_CONFIGS = {
    kind: f"""<View>
  <Image name="pages" valueList="$frames"/>
  <{kind} name="shapes" toName="pages" smart="false"><Label value="Red"/><Label value="Blue"/></{kind}>
  {_PROMPTS}
</View>"""
    for kind in ("BrushLabels", "BitmaskLabels")
}


def write_video(path: Path, discs: MovingDiscs) -> Path:
    """Write the discs as H.264."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(24))
        stream.width, stream.height, stream.pix_fmt = discs.width, discs.height, "yuv420p"
        stream.options = {"crf": "12"}
        for image in discs:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    return path


@dataclass(frozen=True)
class Project:
    """A project with one imported frame task and a connected backend."""

    annotator: Annotator
    id: int
    ml_backend: int
    task: int
    tags: TagNames

    def page(self, index: int) -> Page:
        return Page(self.tags.frames, index, (DISCS.width, DISCS.height))


def import_video(backend: BackendServer, video: Path, project: int, *options: str) -> None:
    """Run the real `tam-backend import`."""
    done = subprocess.run(
        [console_script(), "import", str(video), "--project", str(project), *options],
        env={**os.environ, **backend.env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
