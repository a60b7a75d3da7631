"""What a job would begin with, told before it is one: nothing is changed, and no network is needed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from tam_backend.jobs.records import Intent
from tam_backend.labelstudio.config import Media, MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.edits import as_left
from tam_backend.labelstudio.prompts import drawn_media, read_task
from tam_backend.labelstudio.starting_objects import StartReport
from tam_backend.service import annotation_events as events
from tam_backend.service.read_task import with_what_is_there
from tam_backend.settings import Settings
from tam_backend.store.task_memory import TaskMemories


@dataclass(frozen=True)
class Glance:
    """What a job would begin with.

    Args:
        objects: how many it would track.
        reports: how its prompts were found.
        why_nothing: why there is nothing to track, and what to do; "" where there is something.
    """

    objects: int
    reports: Sequence[StartReport]
    why_nothing: str


def glance(intent: Intent, memories: TaskMemories, settings: Settings) -> Glance:
    """Return how many objects a job for a submitted task would track, and how it would begin with what is there.

    Args:
        intent: what the job is to do, with the task as it is now.
        memories: of all tasks.
        settings: of the backend.

    Raises:
        TamError: the task cannot be read.
    """
    task, config = intent.task, parse_config(intent.label_config)
    memory = memories.get(intent.project, str(intent.task_id))
    if events.is_event(intent):
        task = events.as_one_annotation(intent, as_left(task["annotations"], task), memory.digests)
    objects = 0
    reports: list[StartReport] = []
    looked_at: list[Media] = []
    for medium in drawn_media(task, config, None, intent.prompt_from or settings.prompt_from) or (None,):
        prompts = read_task(
            task, None, config, propagate_label=settings.propagate_label, sent=memory.digests, medium=medium
        )
        looked_at.append(prompts.media)
        if prompts.media.kind is MediaKind.VIDEO:
            continue  # tracks of boxes are no job's work
        source = intent.prompt_from or prompts.media.prompt_from or settings.prompt_from
        if source:
            prompts, report = with_what_is_there(task, prompts, config, memory, source, prompts.whose)
            reports.append(report)
        objects += len({*(each.key for each in prompts.objects), *memory.seeds})
    return Glance(objects, reports, "" if objects else _why_nothing(looked_at, reports))


def _why_nothing(looked_at: Sequence[Media], reports: Sequence[StartReport]) -> str:
    if all(media.kind is MediaKind.VIDEO for media in looked_at):
        return "Only its <Video> is drawn on, and boxes there begin no masks: click or draw on its pages of frames."
    for report in reports:
        if report.complaints():
            return " ".join(report.complaints())
    if not reports:
        return "Nobody has clicked or drawn on its frames, or accepted a mask."
    if any(report.left_out for report in reports):
        return "A human deleted what is there."
    return f'Nothing of "{reports[0].source}" lies on its frames.'
