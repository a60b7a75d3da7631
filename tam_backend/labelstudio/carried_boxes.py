"""Boxes on a <Video> of one project -> the results (JSON) of another, which has tags, labels and a clock of its own."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

from tam_backend.errors import RegionError
from tam_backend.labelstudio.config import Control, ControlKind, LabelingConfig, Media, MediaKind
from tam_backend.labelstudio.regions import Region, read_regions
from tam_backend.labelstudio.results import box_track_result, keyframe_result
from tam_backend.labelstudio.video_clock import VideoClock

NO_VIDEO = "tracks of boxes: the project has no <Video> with boxes (tam-backend import --config --video-boxes)"
NO_LABEL = "tracks of boxes whose label the project does not have"
NO_BOX = "other results on a <Video>, such as timeline labels and choices"


class BoxCarrier:
    """What becomes of the boxes that a team has drawn on the videos of a project.

    Args:
        source: the config of that project.
        target: of the project that the videos come to, where a <Video> shows the `video` of the tasks' data.

    Attributes:
        left_out: what stays behind -> how often.
    """

    def __init__(self, source: LabelingConfig, target: LabelingConfig) -> None:
        self._source = source
        shown = (media for media in target.media if media.kind is MediaKind.VIDEO and media.value(_DATA) == _FILE)
        self._target = next(((media, tag) for media in shown if (tag := target.box_output(media)) is not None), None)
        self.left_out: Counter[str] = Counter()

    def results(
        self, drawn: Sequence[Mapping[str, Any]], media: Media, seen_at: VideoClock, data: Mapping[str, Any]
    ) -> list[dict[str, Any]]:
        """Return the boxes on one <Video> as results of the other project.

        A box keeps its id, its keyframes, and who made them; a keyframe goes to the frame of the file that it was on.

        Args:
            drawn: all results of an annotation of the task that showed the video.
            media: the <Video>.
            seen_at: its frames -> the file's.
            data: of the task that shows the video now.

        Raises:
            PayloadError: no list of objects.
        """
        faults: list[RegionError] = []
        boxes = [
            each
            for each in read_regions(drawn, self._source, faults)
            if each.kind is ControlKind.VIDEO_BOX and each.control.to_name == media.name and each.keyframes
        ]
        self.left_out.update(fault.message for fault in faults)
        ids = {each.region_id for each in boxes}
        for result in drawn:
            of_box = result.get("id") in ids and result.get("type") in ("videorectangle", "labels")
            self.left_out[NO_BOX] += result.get("to_name") == media.name and not of_box
        return [result for each in boxes for result in self._carried(each, seen_at, data)]

    def _carried(self, box: Region, seen_at: VideoClock, data: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
        if self._target is None:
            self.left_out[NO_VIDEO] += 1
            return
        media, control = self._target
        labels = _written(box, control)
        if box.labels and not labels:
            self.left_out[NO_LABEL] += 1
            return
        shown_at = replace(seen_at, frame_rate=media.frame_rate_for(data))
        at = {}
        for keyframe in box.keyframes:
            frame = shown_at.video_frame_of(seen_at.index_of_video_frame(keyframe.frame))
            at[frame] = keyframe_result(replace(keyframe, frame=frame), shown_at)
        yield box_track_result(control, media, box.region_id, labels, [at[frame] for frame in sorted(at)], shown_at)


def video_labels(config: LabelingConfig) -> list[str]:
    """Return the labels that people give boxes on a <Video>, as the page shows them."""
    boxes = [each for each in config.controls if each.kind is ControlKind.VIDEO_BOX]
    return list(dict.fromkeys(label for each in boxes for source in each.sources for label in source.shown))


def _written(box: Region, control: Control) -> list[str]:
    written = (control.written(label, box.control.shows(label)) for label in box.labels)
    return list(dict.fromkeys(label for label in written if label is not None))


_FILE = "file"
_DATA = {"video": _FILE}
