"""Answers to clicks that may have been accepted but not be in a draft yet.

The editor saves its draft up to 5 s after a change, and not at all while the annotator turns pages (seen in 1.23.2), so
a Propagate right after a click arrives without the mask it is meant for.
"""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, timezone
from typing import Any

from tam_backend.labelstudio.prompts import saved_at, saved_ids

# A draft saved so long after an answer has it, if it was accepted; clocks of two servers differ a little too.
_DRAFT_LAG = timedelta(seconds=8)
# Who accepted an answer so long ago has changed something since, and a draft was saved.
_FORGOTTEN_AFTER = timedelta(minutes=10)
_TASKS_KEPT = 64
_ANSWERS_KEPT = 64


@dataclass(frozen=True)
class _Answer:
    results: Sequence[Mapping[str, Any]]
    answered_at: datetime


class AnswerMemory:
    """The last answers to clicks, by task. Thread-safe, bounded."""

    def __init__(self) -> None:
        self._tasks: OrderedDict[str, OrderedDict[str, _Answer]] = OrderedDict()
        self._lock = threading.Lock()

    def remember(self, task_key: str, results: Sequence[Mapping[str, Any]]) -> None:
        """Keep the results that a click was answered with; a later answer with the same id replaces them."""
        if not results:
            return
        with self._lock:
            answers = self._tasks.setdefault(task_key, OrderedDict())
            self._tasks.move_to_end(task_key)
            answers[str(results[0]["id"])] = _Answer(results, datetime.now(timezone.utc))
            answers.move_to_end(str(results[0]["id"]))
            while len(answers) > _ANSWERS_KEPT:
                answers.popitem(last=False)
            while len(self._tasks) > _TASKS_KEPT:
                self._tasks.popitem(last=False)

    def unsaved(self, task_key: str, task: Mapping[str, Any]) -> list[Mapping[str, Any]]:
        """Return the results of which the task's newest draft or annotation is too old to tell anything.

        A draft that has a later answer, but not an earlier one, tells that the earlier one was not accepted.
        """
        saved = saved_at(task)
        known = saved_ids(task)
        with self._lock:
            answers = list(self._tasks.get(task_key, {}).items())
        accepted = [answer.answered_at for region_id, answer in answers if region_id in known]
        oldest = datetime.now(timezone.utc) - _FORGOTTEN_AFTER
        if saved is not None:
            oldest = max(oldest, saved - _DRAFT_LAG)
        oldest = max([oldest, *accepted])
        return [result for _, answer in answers if answer.answered_at >= oldest for result in answer.results]
