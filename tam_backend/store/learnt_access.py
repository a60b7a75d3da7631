"""What Label Studio told of itself, its address and a token, so that every process on the database knows it."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Column, Connection, Integer, Table, Text, insert, select, update

from tam_backend.store.database import Database, metadata
from tam_backend.store.sealed import Seal

_learnt = Table(
    "learnt_access",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("url", Text, nullable=False),
    Column("token", Text, nullable=False),  # sealed; "" = none
)
_ONLY = 1


@dataclass(frozen=True)
class Learnt:
    """What is known of Label Studio.

    Args:
        url: where it is; "" = not known.
        token: to ask it with; "" = none.
        is_lost: a token is kept, but another secret sealed it: as good as none.
    """

    url: str = ""
    token: str = ""
    is_lost: bool = False


class LearntAccess:
    """The one row, of the one Label Studio that a database serves. Thread-safe.

    Args:
        database: where it is.
        seal: closes the token.
    """

    def __init__(self, database: Database, seal: Seal) -> None:
        self._database = database
        self._seal = seal

    def get(self) -> Learnt:
        """Return what is known.

        Raises:
            StoreError: the database refuses.
        """
        with self._database.reading() as connection:
            row = connection.execute(select(_learnt.c.url, _learnt.c.token)).one_or_none()
        if row is None:
            return Learnt()
        token = self._seal.opened(row.token) if row.token else ""
        return Learnt(row.url, token or "", is_lost=token is None)

    def learn(self, url: str, token: str) -> None:
        """Take what Label Studio told; without a token, that of the same address stays, but no other's.

        Raises:
            StoreError: the database refuses.
        """

        def write(connection: Connection) -> None:
            known = connection.execute(select(_learnt.c.url).with_for_update()).scalar_one_or_none()
            if known == url and not token:
                return
            told = {"url": url, "token": self._seal.closed(token) if token else ""}
            if known is None:
                connection.execute(insert(_learnt).values(id=_ONLY, **told))
            else:
                connection.execute(update(_learnt).values(**told))

        self._database.change(write)
