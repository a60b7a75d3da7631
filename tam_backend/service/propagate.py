"""Propagate, or a batch call with prompts -> every object's mask on every frame that fits the time budget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from tam_backend.errors import CancelledError
from tam_backend.jobs.records import Intent
from tam_backend.jobs.registry import Job
from tam_backend.service.background import Loop
from tam_backend.service.desk import Desk, Request
from tam_backend.service.read_task import ReadTask
from tam_backend.workers.workers import OpenView, Tracking

# Reading a mask back, writing it as brush or bitmask and as JSON: seconds per million pixels, measured 4 to 10 ms at
# 720p and 50 ms at 4K. It must fit the time budget too.
ENCODE_S_PER_MPX = 0.012


def answer_propagate(
    desk: Desk,
    background: Loop,
    task: Mapping[str, Any],
    known: ReadTask,
    opened: OpenView,
    request: Request,
    unsaved: Sequence[Mapping[str, Any]],
) -> dict[str, Any]:
    """Answer Propagate, or a batch call with prompts: every object's mask on every frame that fits the budget.

    What does not fit goes on as a job, and is stored as a prediction when it is done.
    """
    size_hw = opened.video.size_hw
    encode_s = ENCODE_S_PER_MPX * size_hw[0] * size_hw[1] / 1e6 * len(known.followed)
    intent = _intent(background, task, request, unsaved, known.whose)
    is_human = request.context is not None
    wanted = known.wanted(size_hw)
    with opened.tracking(wanted, request.deadline_s, request.cancelled, takes_over=is_human) as tracking:
        with desk.jobs.start(
            task.get("id"), request.project, tracking.frames_total, frames_done=tracking.frames_done, intent=intent
        ) as job:
            advance(desk, task, tracking, request, job, encode_s=encode_s, goes_on=intent is not None)
        complete = tracking.done
        desk.name_left_out(task, tracking)
        answer = desk.masks(task, known, request.config, opened, tracking, whole=request.context is None)
    desk.sent(request.project, task, answer)
    if job.state == "stopped" and intent is not None:
        background.add(intent, tracking.frames_total)
    complete = complete or request.context is not None
    return desk.answer(answer.results, answer.score, opened.video.version, complete=complete)


def _intent(
    background: Loop,
    task: Mapping[str, Any],
    request: Request,
    unsaved: Sequence[Mapping[str, Any]],
    annotator: str | None,
) -> Intent | None:
    """Return what a job would need to go on with this request; None where its outcome could not be stored."""
    number = task.get("id")
    if not isinstance(number, int) or not background.can_push:
        return None
    return Intent(request.project, number, task, request.context, request.label_config, tuple(unsaved), annotator or "")


def advance(
    desk: Desk,
    task: Mapping[str, Any],
    tracking: Tracking,
    request: Request,
    job: Job,
    *,
    encode_s: float,
    goes_on: bool = False,
) -> None:
    """Track until the end, the time budget, or somebody's cancel; the job tells how far it came."""
    task_id, total = task.get("id"), tracking.frames_total
    while not tracking.done:
        kept = f"{tracking.frames_done} of {total} frames of task {task_id} are kept"
        if request.cancelled():
            raise CancelledError(f"The client hung up; {kept}.")
        if tracking.superseded:
            raise CancelledError(f"Task {task_id} was propagated anew with other prompts.")
        if job.cancel_requested:
            return
        if request.seconds_left < encode_s * (tracking.frames_done + 1):
            message = f"Stopped after {tracking.frames_done} of {total} frames: the time budget is used up."
            job.stopped(message + (" It goes on in the background." if goes_on else ""))
            if not goes_on:
                again = "Retrieve its predictions" if request.context is None else "Propagate"
                desk.problems.note(
                    f"task {task_id}", message, f"{again} again to go on from there, or raise TAM_TIME_BUDGET_S."
                )
            return
        for frame in tracking.advance():
            job.advance(frame)
