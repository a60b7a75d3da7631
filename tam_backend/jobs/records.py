"""What is known of a job: what it is to do, what people see of it, and what the process that works on it holds."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from datetime import datetime, timezone
from typing import Any, Literal

JobState = Literal["queued", "running", "pushing", "waiting", "done", "stopped", "cancelled", "failed"]
"""queued; running; pushing (its masks go to Label Studio); waiting (for Label Studio, to try that again). Then done,
stopped (its time budget ran out), cancelled (on request, by a newer one, or the client hung up), or failed."""

Stage = Literal["ask", "track", "tell", "adapt"]
"""What a job needs next: Label Studio's word on its task, the networks, or Label Studio to take what was found. Or, of
a job of its own kind, a process that lets the networks learn from a project."""


@dataclass(frozen=True)
class Intent:
    """What a job is to do: bring a task to what its newest draft or annotation says, and store the masks there.

    Args:
        project, task_id: Label Studio's.
        task: as Label Studio sent it: data, drafts, annotations.
        context: of the click that asked for it; None for an annotation's event.
        label_config: the project's.
        unsaved: see `prompts.read_task`.
        annotator: who asked for it (`annotators.author_of`); "" where it is not known, or all did.
        prompt_from: what else is prompted with, see `labelstudio/starting_regions.py`; "" = as the config says.
        chain: the tasks of its chain that are tracked after it, and no other, whether what they begin with has changed
            or not; None = as after a correction: the next one, where that has changed.
        adapt_s: how long the networks may learn from the project, in all, seconds; 0 = it is work on a task. Of an
            adaptation only the project is told besides.
        only_if_new: leave an adaptation where nothing was submitted since the last one.
    """

    project: str
    task_id: int
    task: Mapping[str, Any]
    context: Mapping[str, Any] | None
    label_config: str
    unsaved: Sequence[Mapping[str, Any]] = ()
    annotator: str = ""
    prompt_from: str = ""
    chain: tuple[int, ...] | None = None
    adapt_s: float = 0.0
    only_if_new: bool = False

    @classmethod
    def to_adapt(cls, project: str, seconds: float, *, only_if_new: bool) -> Intent:
        """Return that of an adaptation of a project's networks."""
        return cls(project, 0, {}, None, "", adapt_s=seconds, only_if_new=only_if_new)

    @property
    def is_adaptation(self) -> bool:
        """Whether the networks are to learn from the project."""
        return self.adapt_s > 0

    @property
    def whose(self) -> str:
        """Whose unsaved work it carries out; "" = what is submitted, everybody's.

        A newer intent takes the place of an older one of the same person only.
        """
        if self.context is None:
            return ""
        if self.annotator:
            return f"draft {self.annotator}"
        # Nobody knows whose: then it takes nobody's place.
        digest = hashlib.blake2b(json.dumps(self.context, sort_keys=True, default=str).encode(), digest_size=8)
        return f"click {digest.hexdigest()}"

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Intent:
        """Return what `to_json` wrote, of a newer version too: what that adds is not known here."""
        read: dict[str, Any] = json.loads(text)
        known = {each.name: read[each.name] for each in fields(cls) if each.name in read}
        chain = None if read.get("chain") is None else tuple(read["chain"])
        return cls(**{**known, "unsaved": tuple(read.get("unsaved", ())), "chain": chain})


@dataclass(frozen=True)
class JobView:
    """A job as people see it, whichever process works on it.

    Args:
        id, task_id, project: name it, and what it is for.
        state, message: see `JobState`; why.
        frame: the last one that was tracked, from 0; None: none yet.
        frames_done, frames_total: how far it is; of an adaptation, percent of 100.
        is_adaptation: whether networks learn from the project; else a task is tracked.
        attempts: how often Label Studio was tried in vain.
        cancel_requested: whether somebody asked for its end.
        created_at, started_at, ended_at: seconds since 1970 by the database's clock; None: not yet.
        seconds: how long it has been worked on, or was.
    """

    id: str
    task_id: int | str | None
    project: str
    state: JobState
    message: str
    frame: int | None
    frames_done: int
    frames_total: int
    is_adaptation: bool
    attempts: int
    cancel_requested: bool
    created_at: float
    started_at: float | None
    ended_at: float | None
    seconds: float

    def as_json(self) -> dict[str, Any]:
        """Return what GET /jobs shows: times are ISO 8601 in UTC, frames 0-based."""
        return {
            "id": self.id,
            "kind": "adaptation" if self.is_adaptation else "propagation",
            "task": self.task_id,
            "project": self.project,
            "state": self.state,
            "frame": self.frame,
            "frames_done": self.frames_done,
            "frames_total": self.frames_total,
            "attempts": self.attempts,
            "created_at": _iso(self.created_at),
            "started_at": _iso(self.started_at),
            "ended_at": _iso(self.ended_at),
            "seconds": round(self.seconds, 3),
            "cancel_requested": self.cancel_requested,
            "message": self.message,
        }


@dataclass(frozen=True)
class TakenJob:
    """A job that this process took, or began.

    Args:
        id: its name.
        taking: how often it was taken, this time included; who took it before can write nothing more of it.
        task_id, project: what it is for.
        intent: what it is to do; None: only the request that began it knows.
        stage: what it needs next.
        attempts: see `JobView`.
        frames_total: as far as it is known.
    """

    id: str
    taking: int
    task_id: int | str | None
    project: str
    intent: Intent | None
    stage: Stage
    attempts: int
    frames_total: int


@dataclass(frozen=True)
class Progress:
    """How far a job is, as its worker tells it; see `JobView`."""

    state: JobState
    message: str
    frame: int | None
    frames_done: int
    frames_total: int


@dataclass(frozen=True)
class Told:
    """What the database says to the owner of a job: the taking that counts, and whether others want it to end."""

    taking: int
    cancel_requested: bool
    message: str


@dataclass(frozen=True)
class Outlook:
    """What there is to do for who has time.

    Args:
        due: whether a job waits for somebody to take it.
        next_due_s: in how many seconds one will that waits for its time; None: none does.
    """

    due: bool
    next_due_s: float | None


def _iso(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, timezone.utc).isoformat(timespec="milliseconds")
