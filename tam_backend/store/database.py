"""The database that outlives a restart: opened once, its schema brought up to date, its failures told as ours."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

from sqlalchemy import Column, Connection, Double, Integer, MetaData, Table, create_engine, event, func, inspect, select
from sqlalchemy.engine import Engine, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, IntegrityError, NoSuchModuleError, SQLAlchemyError
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.functions import FunctionElement

from tam_backend.errors import StoreError
from tam_backend.store.migrations import MIGRATIONS, Migration

T = TypeVar("T")

# A server that has gone without a word is noticed in so many seconds; libpq's own default is hours.
_POSTGRESQL_PATIENCE = {
    "connect_timeout": 10,
    "keepalives_idle": 10,
    "keepalives_interval": 5,
    "keepalives_count": 2,
    "tcp_user_timeout": 20_000,  # ms
}

metadata = MetaData()
"""Every room that keeps something declares its tables here; they are made when a database is opened."""

_schema_version = Table("schema_version", metadata, Column("version", Integer, nullable=False))

# For whoever holds what is wanted. Longer than any of our writes: who takes longer stands still, or is cut off.
_WAIT_MS = 20_000
_READ_ONLY: Mapping[str, Mapping[str, Any]] = {
    "sqlite": {"tam_reads": True},
    "postgresql": {"isolation_level": "REPEATABLE READ"},
}
_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "postgres": "postgresql+psycopg"}
# Of PostgreSQL: of two transactions that waited for each other, or that one state would not explain, one has to yield.
_YIELDED = ("40P01", "40001")
_TRIES = 5
_ADDRESSES = (
    "Give TAM_DATABASE_URL as in sqlite:////path/tam.sqlite, or postgresql://user:password@host/name with "
    "`pip install 'tam-backend[postgres]'`."
)


class Database:
    """One database, for any number of threads and processes.

    Args:
        url: such as "sqlite:////var/lib/tam/tam.sqlite" or "postgresql://user:password@host/tam".
        migrations: see `migrations.MIGRATIONS`.

    Raises:
        StoreError: it cannot be opened, or was written by a newer version of this package.
    """

    def __init__(self, url: str, migrations: Sequence[Migration] = MIGRATIONS) -> None:
        self._engine = _engine(url)
        # Without the password that a server's address may hold.
        self._name = self._engine.url.database or self._engine.url.render_as_string(hide_password=True)
        self._reads = _READ_ONLY[self._engine.dialect.name]
        with self.transaction() as connection:
            one_at_a_time(connection, "schema")
            self._bring_up_to_date(connection, migrations)

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Write: all of it or, if the body raises, nothing.

        Raises:
            StoreError: the database refuses.
        """
        with self._explained(), self._engine.begin() as connection:
            yield connection

    def change(self, write: Callable[[Connection], T]) -> T:
        """Write in a transaction; again where somebody else made the same row, or stood in the way, at that moment.

        To change what is there, `write` reads it with `with_for_update`: then nobody else writes in between. To add to
        what others add to, it begins with `one_at_a_time`.

        Raises:
            StoreError: the database refuses.
        """
        for _ in range(_TRIES - 1):
            try:
                with self.transaction() as connection:
                    return write(connection)
            except StoreError as error:  # noqa: PERF203 - a second try is rare
                if not _is_worth_another_try(error.__cause__):
                    raise
        with self.transaction() as connection:
            return write(connection)

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """Read one consistent state, while others may write.

        Raises:
            StoreError: the database refuses.
        """
        with self._explained(), self._engine.connect().execution_options(**self._reads) as connection:
            yield connection

    def close(self) -> None:
        """Give back the connections."""
        self._engine.dispose()

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except SQLAlchemyError as error:
            raise _explanation(error, self._name) from error

    def _bring_up_to_date(self, connection: Connection, migrations: Sequence[Migration]) -> None:
        newest = 1 + len(migrations)
        if not inspect(connection).has_table(_schema_version.name):
            metadata.create_all(connection)
            connection.execute(_schema_version.insert().values(version=newest))
            return
        version = connection.execute(select(_schema_version.c.version)).scalar_one()
        if version > newest:
            raise StoreError(
                f"The database {self._name} is of version {version}; this package knows versions up to {newest}.",
                "Install the newer package again, or name another database: TAM_DATABASE_URL.",
            )
        for migrate in migrations[version - 1 :]:
            migrate(connection)
        metadata.create_all(connection)
        connection.execute(_schema_version.update().values(version=newest))


def one_at_a_time(connection: Connection, *names: str) -> None:
    """Let nobody else pass here, with the same names, until this transaction ends; for what no row stands for yet."""
    if connection.dialect.name == "postgresql":
        # On SQLite only one transaction writes at a time anyway. Two names of one hash wait for each other in vain.
        connection.execute(select(func.pg_advisory_xact_lock(func.hashtextextended("\x1f".join(names), 0))))


class now(FunctionElement[float]):  # noqa: N801 - it stands in statements, as SQLAlchemy's own functions do
    """In a statement: seconds since 1970 by the database's clock, so that no two machines' clocks are compared."""

    type = Double()
    inherit_cache = True


@compiles(now)
def _now(_element: now, compiler: Any, **_options: Any) -> str:
    if compiler.dialect.name == "sqlite":
        return "((julianday('now') - 2440587.5) * 86400.0)"
    # Not the transaction's beginning, which `now()` is there: a lease taken after a wait would be shorter.
    return "CAST(extract(epoch FROM clock_timestamp()) AS double precision)"


def sqlite_url(path: Path) -> str:
    """Return the URL of a file of SQLite; its folder is made.

    Raises:
        StoreError: the folder cannot be made.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"The folder {path.parent} of the database cannot be made: {error.strerror}.",
            "Give this user the right to write there, or name another folder: TAM_DATA_DIR.",
        ) from error
    return f"sqlite:///{path.resolve()}"


def _engine(url: str) -> Engine:
    try:
        parsed = make_url(url)
        kind = parsed.get_backend_name()
        driver = parsed.drivername if "+" in parsed.drivername else _DRIVERS.get(kind, parsed.drivername)
        patience = {} if kind == "sqlite" else _POSTGRESQL_PATIENCE
        engine = create_engine(
            parsed.set(drivername=driver), pool_pre_ping=kind != "sqlite", connect_args=dict(patience)
        )
    except (ArgumentError, NoSuchModuleError, ImportError) as error:
        raise StoreError(f"The database address cannot be used: {type(error).__name__}.", _ADDRESSES) from error
    if kind not in _DRIVERS:
        raise StoreError(f"The database cannot be one of {kind}: its kind of locks is not known here.", _ADDRESSES)
    if kind == "sqlite":
        event.listen(engine, "connect", _prepare_sqlite)
        event.listen(engine, "begin", _begin_sqlite)
    else:
        event.listen(engine, "connect", _prepare_postgresql)
    return engine


def _prepare_sqlite(connection: Any, _record: Any) -> None:
    # The driver's own transactions begin only at the first write, which then finds the database locked (SQLAlchemy's
    # documentation, "Serializable isolation / savepoints / transactional DDL" of pysqlite); ours begin when they say.
    connection.isolation_level = None
    for pragma in (
        f"busy_timeout = {_WAIT_MS}",
        "journal_mode = WAL",
        "synchronous = NORMAL",
        "foreign_keys = ON",
    ):
        connection.execute(f"PRAGMA {pragma}")


def _prepare_postgresql(connection: Any, _record: Any) -> None:
    # A process that stands still in the middle of a transaction would keep its rows from all others for good.
    for name in ("lock_timeout", "idle_in_transaction_session_timeout"):
        connection.execute(f"SET {name} = {_WAIT_MS}")
    connection.commit()


def _begin_sqlite(connection: Connection) -> None:
    reads = connection.get_execution_options().get("tam_reads", False)
    connection.exec_driver_sql("BEGIN" if reads else "BEGIN IMMEDIATE")


def _is_worth_another_try(cause: BaseException | None) -> bool:
    if isinstance(cause, IntegrityError):
        return True  # somebody made the row just before: now it can be read
    return isinstance(cause, DBAPIError) and getattr(cause.orig, "sqlstate", "") in _YIELDED


def _explanation(error: SQLAlchemyError, name: str) -> StoreError:
    cause = " ".join(str(getattr(error, "orig", None) or error).split())[:200].rstrip(".")
    low = cause.lower()
    if "full" in low or "no space" in low or "disk i/o" in low:
        remedy = "Make room on its disk; what was stored before is kept."
    elif "readonly" in low or "read-only" in low or "unable to open" in low or "permission" in low:
        remedy = "Give this user the right to write there, or name another database: TAM_DATABASE_URL."
    elif "malformed" in low or "not a database" in low:
        remedy = "Move the file away and bring back a copy; without one, a new database is begun."
    elif "locked" in low:
        remedy = "Another process holds it for long; try again, or use a database server: TAM_DATABASE_URL."
    else:
        remedy = "Look at the database's own log."
    return StoreError(f"The database {name} refuses: {cause}.", remedy)
