"""Answers to clicks that may have been accepted but not be in a draft yet, each its annotator's own.

The editor saves its draft up to 5 s after a change, and not at all while the annotator turns pages (seen in 1.23.2), so
a Propagate right after a click arrives without the mask it is meant for.

No two machines' clocks are compared: how long ago an answer was given is told by the database's clock alone, how long
two saves are apart by Label Studio's alone.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import (
    Column,
    Connection,
    Double,
    Integer,
    String,
    Table,
    Text,
    and_,
    delete,
    func,
    insert,
    select,
)

from tam_backend.labelstudio.prompts import Saved, how_saved
from tam_backend.store.database import Database, metadata, now, one_at_a_time

# A draft saved so long after an answer has it, if it was accepted.
_DRAFT_LAG_S = 8.0
# Who accepted an answer so long ago has changed something since, and a draft was saved.
_FORGOTTEN_AFTER_S = 600.0
_ANSWERS_KEPT = 64

_answers = Table(
    "unsaved_answers",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("task", String(64), primary_key=True),
    Column("annotator", String(32), primary_key=True),
    Column("region", String(128), primary_key=True),
    Column("place", Integer, nullable=False),  # in the order of answering
    Column("results", Text, nullable=False),
    Column("answered_at", Double, nullable=False),  # seconds, by the database's clock
    Column("draft_stamp", Text, nullable=False),  # of the draft that the click came with
    Column("draft_at", Text, nullable=False),  # when that was saved, by Label Studio's clock
)


class AnswerMemory:
    """The last answers to clicks, by annotator and task, in the database. Thread-safe.

    Who has no draft cannot be told from others like them (labelstudio/annotators.py). Nothing is remembered of them, so
    that nobody is handed what somebody else may not even have accepted.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def remember(
        self,
        project: str,
        number: str,
        annotator: str | None,
        task: Mapping[str, Any],
        results: Sequence[Mapping[str, Any]],
    ) -> None:
        """Keep the results that a click was answered with; a later answer with the same id replaces them.

        Args:
            project, number: Label Studio's ids of the project and the task.
            annotator: who clicked (`annotators.annotator_of`).
            task: as the click brought it.
            results: the answer.

        Raises:
            StoreError: the database refuses.
        """
        if not results or annotator is None:
            return
        saved, mine, region = how_saved(task), _of(project, number, annotator), str(results[0]["id"])

        def write(connection: Connection) -> None:
            one_at_a_time(connection, "unsaved answers", project, number, annotator)
            connection.execute(delete(_answers).where(and_(mine, _answers.c.region == region)))
            last = connection.execute(select(func.max(_answers.c.place)).where(mine)).scalar_one_or_none() or 0
            connection.execute(delete(_answers).where(and_(mine, _answers.c.place <= last + 1 - _ANSWERS_KEPT)))
            connection.execute(
                insert(_answers).values(
                    project=project,
                    task=number,
                    annotator=annotator,
                    region=region,
                    place=last + 1,
                    results=json.dumps(list(results)),
                    answered_at=now(),
                    draft_stamp=saved.stamp,
                    draft_at=saved.at.isoformat(),
                )
            )

        self._database.change(write)

    def unsaved(
        self, project: str, number: str, annotator: str | None, task: Mapping[str, Any]
    ) -> list[Mapping[str, Any]]:
        """Return the results that this annotator may have accepted, and of which the draft is too old to tell.

        A draft that has a later answer, but not an earlier one, tells that the earlier one was not accepted.
        """
        if annotator is None:
            return []
        saved = how_saved(task)
        with self._database.reading() as connection:
            rows = connection.execute(
                select(_answers, (now() - _answers.c.answered_at).label("age_s"))
                .where(_of(project, number, annotator))
                .order_by(_answers.c.place)
            ).all()
        accepted = max((row.place for row in rows if row.region in saved.ids), default=0)
        return [
            result
            for row in rows
            if row.place >= accepted and _may_be_unsaved(row, saved)
            for result in json.loads(row.results)
        ]

    def prune(self) -> int:
        """Drop the answers that are too old to be meant; return how many."""
        with self._database.transaction() as connection:
            old = _answers.c.answered_at < now() - _FORGOTTEN_AFTER_S
            return int(connection.execute(delete(_answers).where(old)).rowcount)


def _may_be_unsaved(row: Any, saved: Saved) -> bool:
    if row.age_s > _FORGOTTEN_AFTER_S:
        return False
    if row.age_s <= _DRAFT_LAG_S or saved.stamp == row.draft_stamp:
        return True
    # The click came after the save it was sent with; so the newest save is at most so long after the click.
    apart = saved.at - datetime.fromisoformat(row.draft_at)
    return timedelta(0) <= apart <= timedelta(seconds=_DRAFT_LAG_S)


def _of(project: str, number: str, annotator: str) -> Any:
    return and_(_answers.c.project == project, _answers.c.task == number, _answers.c.annotator == annotator)
