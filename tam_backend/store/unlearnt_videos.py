"""Which videos of a project were submitted since its networks learnt last, counted for TAM_ADAPT=auto."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from sqlalchemy import Column, Connection, String, Table, and_, delete, func, insert, select

from tam_backend.store.database import Database, metadata, one_at_a_time

_unlearnt = Table(
    "unlearnt_videos",
    metadata,
    Column("project", String(64), primary_key=True),
    Column("video", String(64), primary_key=True),
)


class UnlearntVideos:
    """The videos of all projects. Thread-safe.

    Args:
        database: where they are.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def submitted(self, project: str, video: str) -> int:
        """Take note of a video, and return how many of its project there are now; 0 where it was noted before.

        Raises:
            StoreError: the database refuses.
        """
        here = _unlearnt.c.project == project

        def write(connection: Connection) -> int:
            one_at_a_time(connection, "unlearnt", project)
            known = select(_unlearnt.c.video).where(here, _unlearnt.c.video == video)
            if connection.execute(known).one_or_none() is not None:
                return 0
            connection.execute(insert(_unlearnt).values(project=project, video=video))
            return int(connection.execute(select(func.count()).select_from(_unlearnt).where(here)).scalar_one())

        return self._database.change(write)

    def noted(self, project: str) -> Sequence[str]:
        """Return a project's videos.

        Raises:
            StoreError: the database refuses.
        """
        with self._database.reading() as connection:
            return connection.execute(select(_unlearnt.c.video).where(_unlearnt.c.project == project)).scalars().all()

    def learnt(self, project: str, videos: Collection[str]) -> None:
        """Count some of a project's videos no more; those that were noted since stay.

        Raises:
            StoreError: the database refuses.
        """
        with self._database.transaction() as connection:
            here = and_(_unlearnt.c.project == project, _unlearnt.c.video.in_(list(videos)))
            connection.execute(delete(_unlearnt).where(here))
