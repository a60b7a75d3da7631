"""Two discs that somebody labelled, and their project as it is exported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import dataset_readers as readers
import numpy as np
from annotated_studio import TOKEN, AnnotatedStudio
from synthetic import MovingDiscs

from tam_backend.exporter import ExportRequest, ExportSummary, export_project
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.labelstudio.encoding import encode_bitmask, encode_brush
from tam_backend.settings import Settings
from tam_backend.types import BoolMask
from tam_backend.video.fetch import MediaFetcher

DISCS = MovingDiscs(frames=6, height=60, width=80, radius=9, starts_xy=((20, 20), (60, 40)), steps_xy=((3, 1), (-2, 0)))


CONFIG = """<View>
  <Image name="pages" valueList="$frames"/>
  <{kind} name="shapes" toName="pages"><Label value="Red"/><Label value="Blue"/></{kind}>
  <PolygonLabels name="outlines" toName="pages"><Label value="Red"/><Label value="Blue"/></PolygonLabels>
  <RectangleLabels name="prompts" toName="pages" smart="true"><Label value="Red"/></RectangleLabels>
  <Choices name="seen" toName="pages" perRegion="true"><Choice value="whole"/><Choice value="part"/></Choices>
</View>"""


RED, BLUE = 1, 2


def mask_region(
    frame: int, mask: BoolMask, label: str, region_id: str, kind: str = "BrushLabels", **more: Any
) -> dict[str, Any]:
    is_brush = kind == "BrushLabels"
    drawn = {"rle": encode_brush(mask), "format": "rle"} if is_brush else {"imageDataURL": encode_bitmask(mask)}
    return {
        "id": region_id,
        "from_name": "shapes",
        "to_name": "pages",
        "type": kind.lower(),
        "original_width": mask.shape[1],
        "original_height": mask.shape[0],
        "image_rotation": 0,
        "item_index": frame,
        "value": {**drawn, kind.lower(): [label]},
        **more,
    }


def disc_regions(frames: range, first: int = 0, kind: str = "BrushLabels", **more: Any) -> list[Any]:
    """The discs as we propagate them: with our ids; frame 0 answers a click."""
    return [
        mask_region(
            frame - first, DISCS.truth(frame, disc), label, f"tam-{label.lower()}-{frame - first}f", kind,
            origin="prediction", score=0.9 - 0.1 * frame,
            meta={"tam_source": "propagated" if frame else "prompt"}, **more,
        )
        for disc, label in ((RED, "Red"), (BLUE, "Blue"))
        for frame in frames
    ]  # fmt: skip


def export(
    studio: AnnotatedStudio, out: Path, form: str = "coco", pictures: list[str] | None = None, **more: Any
) -> ExportSummary:
    client = LabelStudioClient(studio.url, TOKEN)
    folders = (Path(pictures[0]).parent,) if pictures else ()
    fetcher = MediaFetcher(Settings(media_dirs=folders, data_dir=out.parent / "data"))
    request = ExportRequest(3, form, **more)
    return export_project(client, request, out, lambda value, task: fetcher.open_media(value, task_id=task))


def truth(frames: range = range(DISCS.frames)) -> dict[tuple[int, int], BoolMask]:
    return {(frame, disc): DISCS.truth(frame, disc) for frame in frames for disc in (RED, BLUE)}


def assert_same(found: readers.Masks, expected: dict[tuple[int, int], BoolMask]) -> None:
    by_place = {(frame, object_id): mask for (_, frame, object_id), mask in found.items()}
    assert by_place.keys() == expected.keys()
    for place, mask in expected.items():
        assert np.array_equal(by_place[place], mask), place


def write_pictures(folder: Path, suffix: str) -> list[str]:
    """Write the frames as files of one kind, and return their paths."""
    folder.mkdir()
    paths = [str(folder / f"discs_{index}.{suffix}") for index in range(DISCS.frames)]
    for path, picture in zip(paths, DISCS, strict=True):
        cv2.imwrite(path, picture[..., ::-1])
    return paths
