"""Which worker is asked: the one that has the session, else the one that a task is always brought to."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping, Sequence

from tam_backend.workers.workers import View, Work


def ranked(view: View, workers: Collection[str]) -> list[str]:
    """Return workers by name, the one for this view first.

    Rendezvous hashing (Thaler and Ravishankar, 1998): everybody comes to the same order without talking to anybody,
    and when a worker comes or goes, only the tasks that are its own move.

    >>> from tam_backend.store.sessions import SessionKey
    >>> view = View(SessionKey("1", "7", "media"), "a.mp4")
    >>> ranked(view, ["a", "b", "c"]) == ranked(view, ["c", "a", "b"])
    True
    """
    key = f"{view.key.project}/{view.key.task}/{view.key.media}/"

    def weight(name: str) -> bytes:
        return hashlib.blake2b((key + name).encode(), digest_size=8).digest()

    return sorted(workers, key=weight, reverse=True)


def chosen(view: View, work: Work, waiting: Mapping[str, int], holder: str | None) -> str | None:
    """Return the worker to ask; None where there is none.

    Args:
        view: what is worked on.
        work: a click wants the worker that has the frame's embedding, the first of the ranking; tracking wants the one
            that holds the session, else the first or, where less waits there, the second; a job that nobody waits for
            wants one that has nothing to do.
        waiting: worker -> how many calls are at work or wait there.
        holder: the worker that holds the session now; None = none of these does.
    """
    order: Sequence[str] = ranked(view, waiting)
    if not order:
        return None
    if work != "click" and holder in waiting:
        return holder
    candidates = order[: {"click": 1, "track": 2, "background": len(order)}[work]]
    return min(candidates, key=lambda name: waiting[name])
