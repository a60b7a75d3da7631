"""The draft that holds a smart click: Label Studio saves it up to 5 s after the click, and it tells everything.

It tells who clicked, who may never have had a draft before; what was accepted; and what was hung on masks since the
draft before. Waiting for it is worth it only where that matters.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from tam_backend.errors import LabelStudioError
from tam_backend.service.label_studio_access import LabelStudioAccess
from tam_backend.service.read_task import ReadTask

logger = logging.getLogger(__name__)

_ASK_EVERY_S = 0.5
# Each holds a place among the requests that are answered at a time.
_waiting = threading.BoundedSemaphore(8)


def is_worth_waiting_for(task: ReadTask, *, attaches: bool) -> bool:
    """Return whether the answer to a click may harm or lose what the draft that came with it does not tell yet.

    Args:
        task: the click, read with what is known.
        attaches: see `LabelingConfig`.
    """
    prompts = task.prompts
    if prompts.propagate:
        return True  # what was painted, erased or accepted a moment ago is not in the draft yet
    asked = prompts.asked
    if asked is None or asked.frame is None:
        return False
    here = asked.object.on_frame(asked.frame)
    if sum(not region.is_mask for region in here) != 1:
        return False  # an earlier click that is still there was not accepted: nothing can hang on what it made
    if any(region.is_mask for region in here):
        return attaches
    # It was tracked there, and the editor may have that mask: a click that does not know of it would replace it.
    return asked.frame in task.memory.sent.get(asked.object.key_on(asked.frame), ())


def with_draft_of_click(
    task: Mapping[str, Any],
    context: Mapping[str, Any],
    label_studio: LabelStudioAccess,
    cancelled: Callable[[], bool],
    patience_s: float,
) -> Mapping[str, Any] | None:
    """Wait for the draft that holds a click, and return the task with it alone; None if it is not saved in time.

    Args:
        task: as the click brought it.
        context: of the click.
        label_studio: to ask; where that cannot be, nothing is waited for. No more than a few wait at a time.
        cancelled: asked while waiting.
        patience_s: for how long; the editor saves 5 s after the first change since it saved last, and a click is one.
    """
    number, results = task.get("id"), context.get("result") or ()
    click = results[-1].get("id") if results and isinstance(results[-1], Mapping) else None
    if not isinstance(number, int) or not isinstance(click, str) or not _waiting.acquire(blocking=False):
        return None
    try:
        until_s = time.monotonic() + patience_s
        while (left_s := until_s - time.monotonic()) > 0 and not cancelled():
            client = label_studio.client_within(max(left_s, _ASK_EVERY_S))
            if client is None:
                return None
            for draft in client.drafts(number):
                if any(isinstance(each, Mapping) and each.get("id") == click for each in draft.get("result") or ()):
                    return {**task, "drafts": [draft]}
            time.sleep(_ASK_EVERY_S)
    except LabelStudioError as error:
        logger.info("The drafts of task %s cannot be read: %s", number, error)
    finally:
        _waiting.release()
    return None
