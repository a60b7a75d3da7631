"""A smart click -> the mask of the clicked object on the clicked page."""

from __future__ import annotations

from typing import Any

from tam_backend.errors import InvalidInputError, PayloadError
from tam_backend.labelstudio.attributes import brought_along
from tam_backend.labelstudio.config import ControlKind
from tam_backend.labelstudio.outputs import mask_output
from tam_backend.labelstudio.polygons import encode_polygon
from tam_backend.labelstudio.prompts import TaskPrompts
from tam_backend.labelstudio.prompts_in_pixels import resized, to_prompts, with_what_it_adds_to
from tam_backend.labelstudio.results import mask_results
from tam_backend.service.desk import Desk, Request
from tam_backend.service.read_task import in_relation
from tam_backend.types import LastingId
from tam_backend.workers.workers import OpenView


def answer_click(desk: Desk, prompts: TaskPrompts[LastingId], opened: OpenView, request: Request) -> dict[str, Any]:
    """Answer a smart click with the mask of the clicked object on the clicked page, and no other."""
    asked = prompts.asked
    if asked is None or asked.frame is None:
        raise PayloadError("The click names no frame.", "Send Label Studio's own JSON.")
    there = prompts.ours_on(asked.object, asked.frame)
    if there is not None and there.region_id in prompts.related:
        raise in_relation([asked.frame])
    output = mask_output(request.config, prompts.media, asked.object, asked.frame)
    wanted = to_prompts(asked.object, opened.video.size_hw, frames=(asked.frame,))
    mask = opened.click(wanted, request.cancelled)
    if not mask.array.any():
        raise InvalidInputError(
            f"Nothing was found at the click on frame {asked.frame}.", "Click elsewhere on it, or draw a box."
        )
    own = resized(with_what_it_adds_to(mask.array, wanted[-1]), opened.own_size_hw(asked.frame))
    is_polygon = output.control.kind is ControlKind.POLYGON
    results = mask_results(
        output.control,
        prompts.media,
        key=asked.object.key_on(asked.frame),
        frame=asked.frame,
        labels=output.labels,
        mask=own,
        quality=mask.quality,
        source="prompt",
        polygon=encode_polygon(own, desk.polygon_tolerance_px)[0] if is_polygon else None,
    )
    if there is not None:
        results = brought_along(results, there.attributes, notes=there.notes)
    return desk.answer(results, mask.quality, opened.video.version)
