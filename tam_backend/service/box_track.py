"""Boxes on a <Video> -> tracks of boxes, taken from masks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tam_backend.labelstudio.attributes import brought_along
from tam_backend.labelstudio.prompts import TaskPrompts
from tam_backend.labelstudio.prompts_in_pixels import to_prompts
from tam_backend.labelstudio.regions import mask_bounds
from tam_backend.labelstudio.results import box_track_region
from tam_backend.labelstudio.scores import task_score, worst_by_frame
from tam_backend.labelstudio.video_clock import VideoClock
from tam_backend.service.desk import Desk, Request
from tam_backend.service.propagate import advance
from tam_backend.types import Box, LastingId, Prompt
from tam_backend.workers.workers import OpenView


def answer_boxes(
    desk: Desk, task: Mapping[str, Any], prompts: TaskPrompts[LastingId], opened: OpenView, request: Request
) -> dict[str, Any]:
    """Answer boxes on a <Video> with tracks of boxes, taken from masks."""
    media, video = prompts.media, opened.video
    clock = VideoClock(media.frame_rate_for(task["data"]), video.fps, video.frames, video.timeline)
    objects = prompts.objects if prompts.asked is None else (prompts.asked.object,)
    # All objects', or the tracks of those that are not asked for would be dropped as nobody's wish.
    others = [each for each in prompts.objects if each.object_id not in {asked.object_id for asked in objects}]
    wanted: list[Prompt] = [
        prompt for each in (*objects, *others) for prompt in to_prompts(each, video.size_hw, clock=clock)
    ]
    boxes: dict[int, dict[int, Box | None]] = {each.object_id: {} for each in objects}
    qualities: dict[int, dict[int, float]] = {each.object_id: {} for each in objects}
    with opened.tracking(wanted, request.deadline_s, request.cancelled) as tracking:
        with desk.jobs.start(
            task.get("id"), request.project, tracking.frames_total, frames_done=tracking.frames_done
        ) as job:
            advance(desk, task, tracking, request, job, encode_s=0.0)
        complete = tracking.done
        desk.name_left_out(task, tracking)
        for found in tracking.results():
            for object_id, mask in found.masks.items():
                if object_id not in boxes:
                    continue
                boxes[object_id][found.frame] = mask_bounds(mask)
                if boxes[object_id][found.frame] is not None:
                    qualities[object_id][found.frame] = found.quality[object_id]
    results = [
        result
        for each in objects
        for result in brought_along(
            [
                box_track_region(
                    each.regions[0].control,
                    media,
                    region_id=each.region_id,
                    labels=each.regions[0].labels,
                    boxes=boxes[each.object_id],
                    size_hw=video.size_hw,
                    clock=clock,
                    quality=task_score(qualities[each.object_id].values()) or 0.0,
                    human=[key for region in each.regions for key in region.keyframes if key.by_human],
                )
            ],
            each.regions[0].attributes,
            notes=each.regions[0].notes,
        )
    ]
    worst = worst_by_frame(frame for track in qualities.values() for frame in track.items())
    complete = complete or request.context is not None
    return desk.answer(results, task_score(worst.values()), video.version, complete=complete)
