"""What a job would begin with, told before it is one: nothing is changed, and no network is needed."""

from __future__ import annotations

from tam_backend.jobs.records import Intent
from tam_backend.labelstudio.config import MediaKind
from tam_backend.labelstudio.config_xml import parse_config
from tam_backend.labelstudio.edits import as_left
from tam_backend.labelstudio.prompts import drawn_media, read_task
from tam_backend.labelstudio.starting_objects import StartReport
from tam_backend.service import annotation_events as events
from tam_backend.service.read_task import with_what_is_there
from tam_backend.settings import Settings
from tam_backend.store.task_memory import TaskMemories


def glance(intent: Intent, memories: TaskMemories, settings: Settings) -> tuple[int, list[StartReport]]:
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
    objects, reports = 0, []
    for medium in drawn_media(task, config, None, intent.prompt_from or settings.prompt_from) or (None,):
        prompts = read_task(
            task, None, config, propagate_label=settings.propagate_label, sent=memory.digests, medium=medium
        )
        if prompts.media.kind is MediaKind.VIDEO:
            continue  # tracks of boxes are no job's work
        source = intent.prompt_from or prompts.media.prompt_from or settings.prompt_from
        if source:
            prompts, report = with_what_is_there(task, prompts, config, memory, source, prompts.whose)
            reports.append(report)
        objects += len({*(each.key for each in prompts.objects), *memory.seeds})
    return objects, reports
