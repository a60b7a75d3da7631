"""YouTube-VIS JSON: one annotation per object and video, with a mask or nothing for every frame.

train/instances.json and train/JPEGImages/VIDEO/00000.jpg. Where an object is absent, or ignored, it has null.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from tam_backend.export.coco import box_xywh, categories, coco_runs
from tam_backend.export.dataset import DatasetVideo, frame_name
from tam_backend.export.dataset_folder import StagedVideo
from tam_backend.export.dataset_format import DatasetFormat, Whole, Work, lines_of, place_pictures, write_joined

_VIDEO, _TRACKS = "video.jsonl", "tracks.jsonl"
IGNORED = "doubtful masks, which the format has no place for: they are left out"
OTHER_SIZE = "masks on frames of another size than their video's first: they are left out"


class YoutubeVis(DatasetFormat):
    """See the module."""

    name = "ytvis"
    title = "YouTube-VIS"

    def write(self, video: DatasetVideo, folder: Path, work: Work) -> None:
        """Write a line of JSON for the video, and one for each object."""
        names = []
        tracks: dict[int, dict[str, list[Any]]] = {
            each.object_id: {"segmentations": [], "bboxes": [], "areas": []} for each in video.objects
        }
        for frame in video.frames():
            names.append(f"{video.name}/{frame_name(frame.index)}.{work.suffix}")
            fits = frame.size_hw in (None, video.size_hw)
            by_id = {each.object_id: each for each in frame.shown if fits and not each.ignored}
            work.lost[IGNORED] += sum(each.ignored for each in frame.shown)
            work.lost[OTHER_SIZE] += 0 if fits else len(frame.shown)
            for object_id, track in tracks.items():
                shown = by_id.get(object_id)
                box = None if shown is None else box_xywh(shown)
                track["segmentations"].append(None if shown is None else coco_runs(shown))
                track["bboxes"].append(box)
                area = None if shown is None or box is None else box[2] * box[3]
                track["areas"].append(area if shown is None or shown.runs is None else shown.runs.area)
        height, width = video.size_hw
        head = {"height": height, "width": width, "length": len(names)}
        (folder / _VIDEO).write_text(json.dumps({**head, "file_names": names}) + "\n", encoding="utf-8")
        with (folder / _TRACKS).open("w", encoding="utf-8") as file:
            for each in video.objects:
                track = tracks[each.object_id]
                about = {"category_id": work.classes.number(each.category), "iscrowd": 0, **head}
                if any(box is not None for box in track["bboxes"]):
                    file.write(json.dumps({**about, **track}) + "\n")

    def assemble(self, videos: Sequence[StagedVideo], whole: Whole) -> None:
        """Number everything, and write one file for each part of the split."""
        for split, part in whole.splits(videos).items():
            folder = whole.folder / split
            folder.mkdir()
            with (folder / "instances.json").open("w", encoding="utf-8") as file:
                about = {"description": f"Exported by tam-backend from {whole.source}."}
                file.write(f'{{"info": {json.dumps(about)},\n"categories": {json.dumps(categories(whole.work))},\n')
                file.write('"videos": [')
                numbered = list(enumerate(part, start=1))
                write_joined(
                    file.write,
                    (
                        _with_ids(line, id=number)
                        for number, each in numbered
                        for line in lines_of(each.folder / _VIDEO)
                    ),
                )
                file.write('],\n"annotations": [')
                tracks = ((number, line) for number, each in numbered for line in lines_of(each.folder / _TRACKS))
                write_joined(
                    file.write,
                    (_with_ids(line, id=at, video_id=number) for at, (number, line) in enumerate(tracks, start=1)),
                )
                file.write("]}\n")
            for each in part:
                place_pictures(each, folder / "JPEGImages" / each.name, whole.work.suffix)


def _with_ids(line: str, **ids: int) -> str:
    return json.dumps({**ids, **json.loads(line)})
