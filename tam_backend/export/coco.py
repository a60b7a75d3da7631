"""COCO instance segmentation, with the videos: each mask knows its video, its frame and its track.

annotations/instances_train.json (instances_default.json if it is not split) and images/VIDEO/00000.jpg. Masks are run
lengths, exact and in one piece, or polygons on request. Beyond COCO, images have `video_id` and `frame_id`, annotations
`track_id` (one for each object of the dataset), `object_id` (within its video), `labels`, `attributes`, `provenance`
and `quality`; readers of plain COCO do not look at them.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tam_backend.export.dataset import DatasetVideo, Shown, frame_name
from tam_backend.export.dataset_folder import StagedVideo
from tam_backend.export.dataset_format import DatasetFormat, Whole, Work, lines_of, place_pictures, write_joined
from tam_backend.export.outlines import edge_polygons

WHOLE = "default"
"""What Datumaro and CVAT call a dataset that is not split."""

_IMAGES, _ANNOTATIONS = "images.jsonl", "annotations.jsonl"
HOLES = "masks with holes, which polygons cannot tell: they are run lengths"


class Coco(DatasetFormat):
    """See the module."""

    name = "coco"
    title = "COCO"
    has_sidecar = False

    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Write a line of JSON for every image and every annotation, numbered from 0 within the video."""
        objects = {each.object_id: each for each in video.objects}
        with (
            (folder / _IMAGES).open("w", encoding="utf-8") as images,
            (folder / _ANNOTATIONS).open("w", encoding="utf-8") as annotations,
        ):
            for number, frame in enumerate(video.frames()):
                height, width = frame.size_hw or video.size_hw
                image = {
                    "id": number,
                    "file_name": f"{video.name}/{frame_name(frame.index)}.{work.suffix}",
                    "height": height,
                    "width": width,
                    "frame_id": frame.index,
                }
                images.write(json.dumps(image) + "\n")
                for shown in frame.shown:
                    of = objects[shown.object_id]
                    line = {
                        "image_id": number,
                        "category_id": work.classes.number(of.category),
                        **_place(shown, work),
                        "iscrowd": int(shown.ignored),
                        "object_id": shown.object_id,
                        "labels": of.labels,
                        "attributes": shown.attributes,
                        "provenance": shown.provenance,
                        "quality": shown.quality,
                    }
                    annotations.write(json.dumps(line) + "\n")

    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Number everything, and write one file for each part of the split."""
        (whole.folder / "annotations").mkdir()
        for split, part in whole.splits(videos).items():
            name = f"instances_{split if whole.split_of else WHOLE}.json"
            _write_file(whole.folder / "annotations" / name, part, whole)
        for each in videos:
            place_pictures(each, whole.folder / "images" / each.name, whole.work.suffix)


def categories(work: Work) -> list[dict[str, Any]]:
    """Return the classes as COCO lists them."""
    return [{"id": work.classes.number(each), "name": each, "supercategory": "object"} for each in work.classes.names]


def coco_runs(shown: Shown) -> dict[str, Any] | None:
    """Return a mask's run lengths as JSON holds them; None without a mask."""
    if shown.runs is None:
        return None
    return {"size": list(shown.runs.size_hw), "counts": shown.runs.counts.decode("ascii")}


def box_xywh(shown: Shown) -> list[float]:
    """Return COCO's box: left, top, width, height; zeros where nothing is to be seen."""
    x0, y0, x1, y1 = shown.bounds or (0.0, 0.0, 0.0, 0.0)
    return [round(value, 3) for value in (x0, y0, x1 - x0, y1 - y0)]


def _place(shown: Shown, work: Work) -> dict[str, Any]:
    box = box_xywh(shown)
    if shown.runs is None:
        return {"segmentation": [], "area": round(box[2] * box[3], 3), "bbox": box}
    segmentation: Any = coco_runs(shown)
    if work.polygons and not shown.ignored:  # COCO's crowds are run lengths
        polygons = edge_polygons(shown.runs)
        if polygons is None:
            work.lost[HOLES] += 1
        else:
            segmentation = polygons
    return {"segmentation": segmentation, "area": shown.runs.area, "bbox": box}


def _write_file(path: Path, videos: Sequence[StagedVideo], whole: Whole) -> None:
    about = {"description": f"Exported by tam-backend from {whole.source}."}
    with path.open("w", encoding="utf-8") as file:
        file.write(f'{{"info": {json.dumps(about)},\n"categories": {json.dumps(categories(whole.work))},\n')
        file.write('"videos": [')
        write_joined(file.write, (json.dumps(_video(number, each)) for number, each in enumerate(videos, start=1)))
        file.write('],\n"images": [')
        write_joined(file.write, _images(videos))
        file.write('],\n"annotations": [')
        write_joined(file.write, _annotations(videos))
        file.write("]}\n")


def _video(number: int, video: StagedVideo) -> dict[str, Any]:
    height, width = video.about["size_hw"]
    return {
        "id": number,
        "name": video.name,
        "height": height,
        "width": width,
        "length": video.about["frames"],
        "tasks": video.about["tasks"],
    }


def _images(videos: Sequence[StagedVideo]) -> Iterator[str]:
    first = 1
    for number, video in enumerate(videos, start=1):
        for line in lines_of(video.folder / _IMAGES):
            image = json.loads(line)
            yield json.dumps({**image, "id": first + image["id"], "video_id": number})
        first += video.about["frames"]


def _annotations(videos: Sequence[StagedVideo]) -> Iterator[str]:
    first_image, first_track, annotation_id = 1, 0, 0
    for number, video in enumerate(videos, start=1):
        for line in lines_of(video.folder / _ANNOTATIONS):
            annotation_id += 1
            found = json.loads(line)
            ids = {
                "id": annotation_id,
                "image_id": first_image + found["image_id"],
                "video_id": number,
                "track_id": first_track + found["object_id"],
            }
            yield json.dumps({**found, **ids})
        first_image += video.about["frames"]
        first_track += max((each["object_id"] for each in video.about["objects"]), default=0)
