"""Databases for tests of what must hold on each of them: SQLite, and PostgreSQL where it is installed.

A server of PostgreSQL is started for the tests of this process when the first of them asks, and gone with the process,
however that ends. `TAM_TEST_POSTGRES=postgresql://user@host/database` names another one, whose user may make databases.
"""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import tempfile
import time
import uuid
from collections import deque
from functools import lru_cache
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import OperationalError

from demo.processes import free_port
from tam_backend.store.database import sqlite_url

KINDS = ("sqlite", "postgresql")

# Of the databases that tests made: each takes 7 MB, and threads of the last test may still close theirs.
_KEPT = 8
_STARTS_WITHIN_S = 30.0
# Nothing in it outlives a power cut, and nothing has to.
_OPTIONS = "-F -c synchronous_commit=off -c full_page_writes=off -c max_connections=200 -c listen_addresses=127.0.0.1"
# The server stops when whoever started it says so, or is there no more: then the input ends.
_RUN = 'trap "" INT; "$@" & cat >/dev/null; kill -QUIT $!; wait'

_made: deque[str] = deque()


def empty_database(kind: str, folder: Path) -> str:
    """Return the address of a database with nothing in it; skips the test where there is no such server."""
    if kind == "sqlite":
        return sqlite_url(folder / f"tam-{uuid.uuid4().hex[:8]}.sqlite")
    server = postgres()
    name = f"tam_{uuid.uuid4().hex[:12]}"
    while len(_made) >= _KEPT:
        _execute(server, f"DROP DATABASE IF EXISTS {_made.popleft()} WITH (FORCE)")
    _execute(server, f"CREATE DATABASE {name} TEMPLATE template0")
    _made.append(name)
    return server.set(database=name).render_as_string(hide_password=False)


def postgres() -> URL:
    """Return the address of a server, started if need be; skips the test where there is none."""
    if named := os.environ.get("TAM_TEST_POSTGRES"):
        return make_url(named).set(drivername="postgresql+psycopg")
    programs = _programs()
    if programs is None:
        pytest.skip("PostgreSQL is not installed (Debian and Ubuntu: apt-get install postgresql)")
    return _started(programs)


def _programs() -> Path | None:
    """Return the folder of initdb, which Debian keeps off the path."""
    found = [*sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb")), shutil.which("initdb")]
    return next((Path(each).parent for each in reversed(found) if each), None)


@lru_cache(maxsize=1)
def _started(programs: Path) -> URL:
    # The server refuses to run as root, as which containers run tests.
    user = "nobody" if os.geteuid() == 0 else None
    folder = Path(tempfile.mkdtemp(prefix="tam-postgres-"))
    data = folder / "data"
    data.mkdir(mode=0o700)
    if user is not None:
        for each in (folder, data):
            shutil.chown(each, user)
    initdb = [programs / "initdb", "-D", data, "-U", "tam", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
    subprocess.run(initdb, check=True, capture_output=True, cwd=folder, user=user, timeout=120)
    port = free_port()
    server = [programs / "postgres", "-D", data, "-p", str(port), *_OPTIONS.split(), "-c", "unix_socket_directories="]
    log = (folder / "log").open("wb")
    running = subprocess.Popen(
        ["/bin/sh", "-c", _RUN, "sh", *server], stdin=subprocess.PIPE, stdout=log, stderr=log, cwd=folder, user=user
    )

    def stop() -> None:
        running.communicate(timeout=30)  # closes its input
        shutil.rmtree(folder, ignore_errors=True)

    atexit.register(stop)
    address = URL.create("postgresql+psycopg", "tam", host="127.0.0.1", port=port, database="postgres")
    _wait_for(address, folder / "log")
    return address


def _wait_for(address: URL, log: Path) -> None:
    deadline = time.monotonic() + _STARTS_WITHIN_S
    while True:
        try:
            _execute(address, "SELECT 1")
        except OperationalError:  # noqa: PERF203 - it is not there yet
            assert time.monotonic() < deadline, log.read_text()[-2000:]
            time.sleep(0.05)
        else:
            return


def _execute(address: URL, statement: str) -> None:
    engine = create_engine(address, isolation_level="AUTOCOMMIT")
    try:
        with engine.connect() as connection:
            connection.exec_driver_sql(statement)
    finally:
        engine.dispose()
