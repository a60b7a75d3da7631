"""What a video holds, counted while it is written, and a file beside the dataset for what its format has no place for.

attributes.json: {"videos": [{"name", "tasks", "objects": [{"object_id", "class", "labels"}], "shown": [{"frame",
"object_id", "provenance", "quality", "ignored", "attributes", "box_xyxy"}]}]}; the last three where they say something.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import IO, Any

from tam_backend.export.dataset import DatasetVideo, LabelledFrame, Shown
from tam_backend.export.dataset_folder import StagedVideo
from tam_backend.export.dataset_format import lines_of, write_joined

SIDECAR = "attributes.json"
"""Beside the dataset."""

_SHOWN = "shown.jsonl"


class Tally:
    """Counts a video's frames as a format takes them.

    Args:
        video: see there.
        folder: the video's, to note there who made each mask and what hangs on it; None: the format does so itself.

    Attributes:
        watched: the video, to be handed to the format.
        frames: how many were taken.
    """

    def __init__(self, video: DatasetVideo, folder: Path | None) -> None:
        self._video = video
        self.watched = replace(video, frames=self._watching)
        self._file: IO[str] | None = None if folder is None else (folder / _SHOWN).open("w", encoding="utf-8")
        self.frames = self._masks = self._boxes = self._ignored = 0

    def __enter__(self) -> Tally:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._file is not None:
            self._file.close()

    def about(self) -> dict[str, Any]:
        """Return what is remembered of the video."""
        return {
            "size_hw": self._video.size_hw,
            "tasks": self._video.tasks,
            "objects": [
                {"object_id": each.object_id, "class": each.category, "labels": each.labels}
                for each in self._video.objects
            ],
            "frames": self.frames,
            "masks": self._masks,
            "boxes": self._boxes,
            "ignored": self._ignored,
        }

    def _watching(self) -> Iterator[LabelledFrame]:
        for frame in self._video.frames():
            yield frame
            self.frames += 1
            for each in frame.shown:
                self._masks += each.runs is not None
                self._boxes += each.runs is None
                self._ignored += each.ignored
                if self._file is not None:
                    self._file.write(_line(frame, each) + "\n")


def write_sidecar(videos: Sequence[StagedVideo], path: Path) -> None:
    """Write what was noted of all videos as one file."""
    with path.open("w", encoding="utf-8") as file:
        file.write('{"videos": [')
        for number, video in enumerate(videos):
            about = {"name": video.name, "tasks": video.about["tasks"], "objects": video.about["objects"]}
            file.write((",\n" if number else "\n") + json.dumps(about)[:-1] + ', "shown": [')
            write_joined(file.write, lines_of(video.folder / _SHOWN))
            file.write("]}")
        file.write("\n]}\n")


def _line(frame: LabelledFrame, shown: Shown) -> str:
    told: dict[str, Any] = {
        "frame": frame.index,
        "object_id": shown.object_id,
        "provenance": shown.provenance,
        "quality": shown.quality,
    }
    told |= {"ignored": True} if shown.ignored else {}
    told |= {"attributes": dict(shown.attributes)} if shown.attributes else {}
    told |= {"box_xyxy": shown.box_xyxy} if shown.box_xyxy else {}
    return json.dumps(told)
