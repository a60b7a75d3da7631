"""What one process does at a time, of all that share the database: a row says whose turn it is."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from sqlalchemy import Column, Connection, Double, String, Table, delete, insert, select, update

from tam_backend.store.database import Database, metadata, now
from tam_backend.store.holder import Holder, Holders

_turns = Table(
    "turns",
    metadata,
    Column("name", String(200), primary_key=True),
    Column("owner", String(200), nullable=False),
    Column("owned_until", Double, nullable=False),
)


class Turns:
    """Turns by name. Thread-safe.

    Args:
        database: where they are.
        holders: tells which processes live.
    """

    def __init__(self, database: Database, holders: Holders | None = None) -> None:
        self._database = database
        self._holders = holders or Holders()

    @contextmanager
    def taken(self, name: str, for_s: float) -> Iterator[bool]:
        """Take a turn for the length of a `with` block; gives False where another process, or thread, has it.

        Args:
            name: 200 characters at most.
            for_s: how long it is kept, should nobody give it back. Who may take longer must not rely on being alone.

        Raises:
            StoreError: the database refuses.
        """
        owner = str(self._holders.new())
        is_mine = self._database.change(lambda connection: self._take(connection, name, owner, for_s))
        try:
            yield is_mine
        finally:
            if is_mine:
                with self._database.transaction() as connection:
                    connection.execute(delete(_turns).where(_turns.c.name == name, _turns.c.owner == owner))

    def _take(self, connection: Connection, name: str, owner: str, for_s: float) -> bool:
        is_held = (_turns.c.owned_until >= now()).label("is_held")
        query = select(_turns.c.owner, is_held).where(_turns.c.name == name).with_for_update()
        row = connection.execute(query).one_or_none()
        mine = {"owner": owner, "owned_until": now() + for_s}
        if row is None:
            connection.execute(insert(_turns).values(name=name, **mine))
        elif row.is_held and self._holders.lives(Holder.parse(row.owner)):
            return False
        else:
            connection.execute(update(_turns).where(_turns.c.name == name).values(**mine))
        return True
