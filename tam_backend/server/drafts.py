"""The draft that holds a smart click: Label Studio saves it up to 5 s after the click, and it tells everything.

It tells who clicked, who may never have had a draft before; what was accepted; and what was hung on masks since the
draft before. Waiting for it is worth it only where that matters.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Mapping
from typing import Any

from tam_backend.errors import LabelStudioError
from tam_backend.labelstudio.client import LabelStudioClient
from tam_backend.server.reading import ReadTask

logger = logging.getLogger(__name__)

# The editor saves 5 s after the first change since it saved last, and a click is one.
_PATIENCE_S = 7.0
_ASK_EVERY_S = 0.5


def is_worth_waiting_for(task: ReadTask, annotator: str | None, *, attaches: bool) -> bool:
    """Return whether the answer to a click may harm or lose what the draft that came with it does not tell yet.

    Args:
        task: the click, read with what is known.
        annotator: who clicked; None: not known.
        attaches: see `LabelingConfig`.
    """
    prompts = task.prompts
    if prompts.propagate:
        return annotator is None or attaches
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
    client: LabelStudioClient | None,
    cancelled: Callable[[], bool],
) -> Mapping[str, Any] | None:
    """Wait for the draft that holds a click, and return the task with it alone; None if it is not saved in time.

    Args:
        task: as the click brought it.
        context: of the click.
        client: to ask Label Studio; without it nothing is waited for.
        cancelled: asked while waiting.
    """
    number, results = task.get("id"), context.get("result") or ()
    click = results[-1].get("id") if results and isinstance(results[-1], Mapping) else None
    if client is None or not isinstance(number, int) or not isinstance(click, str):
        return None
    until_s = time.monotonic() + _PATIENCE_S
    while time.monotonic() < until_s and not cancelled():
        try:
            drafts = client.drafts(number)
        except LabelStudioError as error:
            logger.info("The drafts of task %s cannot be read: %s", number, error)
            return None
        for draft in drafts:
            if any(isinstance(each, Mapping) and each.get("id") == click for each in draft.get("result") or ()):
                return {**task, "drafts": [draft]}
        time.sleep(_ASK_EVERY_S)
    return None
