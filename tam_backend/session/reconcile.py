"""A session is brought to exactly the prompts that somebody names, and only what differs is touched."""

from __future__ import annotations

from collections.abc import Sequence

from tam_backend.errors import MediaError
from tam_backend.session.session import Session
from tam_backend.store.known import Known
from tam_backend.tracking.passes import DAMAGE
from tam_backend.types import Prompt


def reconcile(session: Session, wanted: Sequence[Prompt]) -> None:
    """Give a session the prompts that it lacks, and take back those that are not wanted any more.

    What is the same already is not segmented again, nor marked to be tracked anew. A label that differs is a renaming.
    Everything that can be refused is tried before anything is taken back. Prompts on a damaged frame are left out, if
    there are others.

    Args:
        session: any.
        wanted: all prompts of all objects; several of one object on one frame add up in their order.

    Raises:
        TamError: what `Session.prompt` raises; the session then holds what it held and some of the new prompts.
    """
    groups: dict[int, dict[int, list[Prompt]]] = {}
    for prompt in wanted:
        groups.setdefault(prompt.object_id, {}).setdefault(prompt.frame, []).append(prompt)
    known = {each: session.known(each) for each in session.labels}
    damage: MediaError | None = None
    for object_id, frames in groups.items():
        for frame, prompts in frames.items():
            held = known.get(object_id, {}).get(frame)
            if held is None or not held.says_the_same(_said(prompts)):
                try:
                    session.replace(prompts)
                except DAMAGE as error:
                    damage = error
                    session.leave_out(frame, error)
        if object_id not in session.labels:
            continue
        labels = [each.label for prompts in frames.values() for each in prompts if each.label is not None]
        if labels and session.labels[object_id] != labels[-1]:
            session.rename(object_id, labels[-1])
    if damage is not None and not session.labels:
        raise damage
    for object_id, held_frames in known.items():
        if object_id not in groups:
            session.remove(object_id)
            continue
        for frame in held_frames.keys() - groups[object_id].keys():
            session.clear(object_id, frame)


def _said(prompts: Sequence[Prompt]) -> Known:
    known = Known()
    for prompt in prompts:
        known = known.plus(prompt)
    return known
