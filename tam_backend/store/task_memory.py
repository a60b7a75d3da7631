"""What we know of a Label Studio task between two calls: its objects' ids, and which masks it was sent."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Column, Connection, Double, String, Table, Text, and_, insert, or_, select, update

from tam_backend.labelstudio.edits import erased
from tam_backend.store.database import Database, metadata, now
from tam_backend.store.sessions import forget_unused
from tam_backend.types import LastingId

# A mask is sent again after every correction near it; an annotator may have begun with any of the last few. Each is
# known by its pixels and by how it was written.
_DIGESTS_KEPT = 16
# An annotation may be begun from a prediction that was replaced meanwhile, in an editor that was open before.
_PREDICTIONS_KEPT = 8
_ASKED_AT_ONCE = 100

_memories = Table(
    "task_memories",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("task", String(64), primary_key=True),
    Column("content", Text, nullable=False),
    Column("used_at", Double, nullable=False),
)

FramesOfObjects = Mapping[str, frozenset[int]]

ANYBODY = ""
"""In the place of an annotator: what was erased counts for everybody."""


@dataclass(frozen=True)
class TaskMemory:
    """Everything by the keys of objects (labelstudio/ids.py) and by frames from 0.

    Args:
        object_ids: key -> the session's id of the object; never given to another one.
        sent: key -> frame -> digests of the masks that were sent there, oldest first.
        predictions: id of a stored prediction -> what it holds; the last few, and parents.
        annotations: id of an annotation -> what it held when it was last seen.
        authors: id of an annotation -> whose it is, as in `erased`.
        parents: ids of predictions that annotations were made from.
        erased: annotator -> where they took a mask of ours away: the object cannot be seen there, as they see it.
            Annotators as in `annotators.author_of`, `ANYBODY` where it is not known whose it is.
        dropped: the keys of objects of which somebody took away all masks, and that no annotation has.
        pushed: id of the prediction stored last; None: none yet.
        pushed_digest: stands for what it holds.
        seeds: key -> (label, the mask's COCO code) of objects that come from the task before in the chain.
    """

    object_ids: Mapping[str, LastingId] = field(default_factory=dict)
    sent: Mapping[str, Mapping[int, tuple[str, ...]]] = field(default_factory=dict)
    predictions: Mapping[int, FramesOfObjects] = field(default_factory=dict)
    annotations: Mapping[int, FramesOfObjects] = field(default_factory=dict)
    authors: Mapping[int, str] = field(default_factory=dict)
    parents: frozenset[int] = frozenset()
    erased: Mapping[str, FramesOfObjects] = field(default_factory=dict)
    dropped: frozenset[str] = frozenset()
    pushed: int | None = None
    pushed_digest: str = ""
    seeds: Mapping[str, tuple[str | None, str]] = field(default_factory=dict)

    @property
    def digests(self) -> dict[tuple[str, int], tuple[str, ...]]:
        """(key, frame) -> digests, for `edits.told_apart`."""
        return {(key, frame): digests for key, frames in self.sent.items() for frame, digests in frames.items()}

    def erased_for(self, annotator: str | None) -> FramesOfObjects:
        """Return where an annotator took a mask of ours away; None: where anybody did."""
        found: dict[str, frozenset[int]] = {}
        for whose, frames_of_objects in self.erased.items():
            if annotator is None or whose in (ANYBODY, annotator):
                for key, frames in frames_of_objects.items():
                    found[key] = found.get(key, frozenset()) | frames
        return found

    def with_objects(self, keys: Iterable[str]) -> TaskMemory:
        """Give every new key an id."""
        ids = dict(self.object_ids)
        for key in keys:
            ids.setdefault(key, LastingId(max(ids.values(), default=0) + 1))
        return replace(self, object_ids=ids)

    def with_sent(self, masks: Mapping[tuple[str, int], Sequence[str]]) -> TaskMemory:
        """Remember (key, frame) -> digests of a mask that was sent (`edits.mask_digest`, `edits.value_digest`)."""
        sent = {key: dict(frames) for key, frames in self.sent.items()}
        for (key, frame), digests in masks.items():
            frames = sent.setdefault(key, {})
            kept = [each for each in frames.get(frame, ()) if each not in digests]
            frames[frame] = (*kept, *digests)[-_DIGESTS_KEPT:]
        return replace(self, sent=sent)

    def with_annotation(
        self,
        number: int,
        held: FramesOfObjects,
        parent_prediction: int | None,
        humans: Mapping[str, Collection[int]],
        annotator: str | None = None,
    ) -> TaskMemory:
        """Take note of an annotation: what is gone from it, and was neither drawn nor edited, was erased.

        Args:
            number: its id.
            held: what it holds now.
            parent_prediction: the prediction that it was made from, if so.
            humans: key -> frames on which a human's prompts made the mask: to delete those takes the prompt back.
            annotator: whose it is; None where it does not say.
        """
        whose = ANYBODY if annotator is None else annotator
        before = self.annotations.get(number)
        if before is None and parent_prediction is not None:
            before = self.predictions.get(parent_prediction)
        gone = {key: set(frames) for key, frames in self.erased.get(whose, {}).items()}
        given = self.predictions.get(parent_prediction, {}) if parent_prediction is not None else {}
        for key, frames in erased(before or {}, held).items():
            # What came with the prediction is none of this annotator's prompts, whoever's it is.
            gone.setdefault(key, set()).update(frames - (set(humans.get(key, ())) - given.get(key, frozenset())))
        left = {key: frozenset(frames - held.get(key, frozenset())) for key, frames in gone.items()}
        annotations = {**self.annotations, number: held}
        there = {key for each in annotations.values() for key, frames in each.items() if frames}
        return replace(
            self,
            annotations=annotations,
            dropped=frozenset(key for key in (*self.dropped, *(before or {})) if key not in there),
            authors={**self.authors, number: whose},
            parents=self.parents | ({parent_prediction} if parent_prediction is not None else set()),
            erased=_without_empty(
                {**_still_gone(self.erased, held), whose: {k: each for k, each in left.items() if each}}
            ),
        )

    def with_pushed(self, number: int, digest: str, held: FramesOfObjects) -> TaskMemory:
        """Take note of a stored prediction."""
        predictions = {**self.predictions, number: held}
        kept = {*sorted(predictions)[-_PREDICTIONS_KEPT:], number} | self.parents
        predictions = {each: frames for each, frames in predictions.items() if each in kept}
        return replace(self, pushed=number, pushed_digest=digest, predictions=predictions)

    def with_nothing_pushed(self) -> TaskMemory:
        """Take note that no prediction of ours is stored any more."""
        return replace(self, pushed=None, pushed_digest="")

    def with_deleted(self, annotations: Collection[int]) -> TaskMemory:
        """Take note of annotations that were deleted; with a person's last one goes what that person erased."""
        left = {number: held for number, held in self.annotations.items() if number not in annotations}
        authors = {number: whose for number, whose in self.authors.items() if number in left}
        still_here = {ANYBODY, *authors.values()} if left else set()
        erased_by = {whose: frames for whose, frames in self.erased.items() if whose in still_here}
        dropped = self.dropped if left else frozenset()
        return replace(self, annotations=left, authors=authors, erased=erased_by, dropped=dropped)

    def with_seeds(self, seeds: Mapping[str, tuple[str | None, str]]) -> TaskMemory:
        """Take over the objects that the task before in the chain ended with."""
        return replace(self.with_objects(seeds), seeds=dict(seeds))

    def to_json(self) -> str:
        """Return it as text."""
        return json.dumps(
            {
                "object_ids": self.object_ids,
                "sent": self.sent,
                "predictions": {number: _lists(held) for number, held in self.predictions.items()},
                "annotations": {number: _lists(held) for number, held in self.annotations.items()},
                "authors": self.authors,
                "parents": sorted(self.parents),
                "erased_by": {whose: _lists(frames) for whose, frames in self.erased.items()},
                "dropped": sorted(self.dropped),
                "pushed": self.pushed,
                "pushed_digest": self.pushed_digest,
                "seeds": self.seeds,
            }
        )

    @classmethod
    def from_json(cls, text: str) -> TaskMemory:
        """Return what `to_json` wrote."""
        read: dict[str, Any] = json.loads(text)
        return cls(
            object_ids={key: LastingId(number) for key, number in read["object_ids"].items()},
            sent={
                key: {int(frame): tuple(digests) for frame, digests in frames.items()}
                for key, frames in read["sent"].items()
            },
            predictions={int(number): _sets(held) for number, held in read["predictions"].items()},
            annotations={int(number): _sets(held) for number, held in read["annotations"].items()},
            authors={int(number): whose for number, whose in read.get("authors", {}).items()},
            parents=frozenset(read["parents"]),
            erased=_erased_in(read),
            dropped=frozenset(read.get("dropped", ())),
            pushed=read["pushed"],
            pushed_digest=read["pushed_digest"],
            seeds={key: (label, code) for key, (label, code) in read["seeds"].items()},
        )


class TaskMemories:
    """The memories of all tasks, in the database. Thread-safe."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, project: str, task: str) -> TaskMemory:
        """Return what is known of a task."""
        with self._database.reading() as connection:
            return _parsed(
                connection.execute(select(_memories.c.content).where(_is(project, task))).scalar_one_or_none()
            )

    def with_any_of(self, project: str, annotations: Collection[int]) -> list[str]:
        """Return the tasks of a project that have any of these annotations, as far as they were seen."""
        numbers = sorted(annotations)
        found: list[str] = []
        for some in (numbers[at : at + _ASKED_AT_ONCE] for at in range(0, len(numbers), _ASKED_AT_ONCE)):
            named = or_(*(_memories.c.content.like(f'%"{number}": {{%') for number in some))
            with self._database.reading() as connection:
                rows = connection.execute(
                    select(_memories.c.task, _memories.c.content).where(and_(_memories.c.project == project, named))
                ).all()
            found += [
                row.task for row in rows if not set(some).isdisjoint(TaskMemory.from_json(row.content).annotations)
            ]
        return sorted(set(found))

    def change(self, project: str, task: str, change: Callable[[TaskMemory], TaskMemory]) -> TaskMemory:
        """Replace what is known by what `change` makes of it, and return that; nobody else writes in between.

        Args:
            project, task: Label Studio's.
            change: may be called twice.
        """

        def write(connection: Connection) -> TaskMemory:
            query = select(_memories.c.content).where(_is(project, task)).with_for_update()
            content = connection.execute(query).scalar_one_or_none()
            before = _parsed(content)
            after = change(before)
            if after != before:
                new = {"content": after.to_json(), "used_at": now()}
                if content is None:
                    connection.execute(insert(_memories).values(project=project, task=task, **new))
                else:
                    connection.execute(update(_memories).where(_is(project, task)).values(**new))
            return after

        return self._database.change(write)

    def prune(self, older_than_days: float) -> int:
        """Forget the tasks that have no session any more, and that nobody changed for so long; return how many."""
        return forget_unused(self._database, _memories, older_than_days)


def _is(project: str, task: str) -> Any:
    return and_(_memories.c.project == project, _memories.c.task == task)


def _parsed(content: str | None) -> TaskMemory:
    return TaskMemory() if content is None else TaskMemory.from_json(content)


def _without_empty(erased_by: Mapping[str, FramesOfObjects]) -> dict[str, FramesOfObjects]:
    return {whose: frames for whose, frames in erased_by.items() if frames}


def _still_gone(erased_by: Mapping[str, FramesOfObjects], held: FramesOfObjects) -> dict[str, FramesOfObjects]:
    """Return what was erased, where nobody knows by whom without what somebody has a mask of again."""
    unknown = {key: frames - held.get(key, frozenset()) for key, frames in erased_by.get(ANYBODY, {}).items()}
    return {**erased_by, ANYBODY: {key: frames for key, frames in unknown.items() if frames}}


def _erased_in(read: Mapping[str, Any]) -> dict[str, FramesOfObjects]:
    """Read what was erased; until version 0.2 it was not kept by annotator."""
    erased_by = read["erased_by"] if "erased_by" in read else {ANYBODY: read["erased"]}
    return _without_empty({whose: _sets(frames) for whose, frames in erased_by.items()})


def _lists(held: Mapping[str, Collection[int]]) -> dict[str, list[int]]:
    return {key: sorted(frames) for key, frames in held.items()}


def _sets(held: Mapping[str, Iterable[int]]) -> dict[str, frozenset[int]]:
    return {key: frozenset(frames) for key, frames in held.items()}
