"""The databases that the contract tests of the SQL adapters run on, each fresh and of the test's own."""

import asyncio
import atexit
import contextlib
import functools
import subprocess
import sys
import tempfile
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeAlias, TypeVar
from uuid import uuid4

import pytest
from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

from subgraph.adapters.sql import migrations
from subgraph.adapters.sql.database import migrate_database, sqlite_url
from subgraph.adapters.sql.tables import SqlTable
from subgraph.adapters.sql.urls import database_url
from tests.support.own_postgres import missing_postgres, own_postgres

T = TypeVar("T")


@contextlib.contextmanager
def sqlite_file(directory: Path) -> Iterator[str]:
    """The URL of a new SQLite file, with this version's empty tables."""
    path = directory / "sessions.sqlite3"
    path.write_bytes(_current_sqlite())
    yield sqlite_url(path)


@contextlib.contextmanager
def postgres_database(_: Path) -> Iterator[str]:
    """The URL of a database with this version's empty tables, on the PostgreSQL of this test run's process.

    It is the next test's afterwards, emptied: a new one is a copy of hundreds of files. So its tables are not altered.
    """
    url = _EMPTIED.pop() if _EMPTIED else _new_database(_current_template())
    yield url
    _run(lambda: execute_in(url, _empty))
    _EMPTIED.append(url)


def empty_sqlite(directory: Path) -> str:
    """The URL of a SQLite file that is not there yet."""
    return sqlite_url(directory / "sessions.sqlite3")


def empty_postgres(_: Path) -> str:
    """The URL of a new database without tables, on the PostgreSQL of this test run's process."""
    return _new_database("template0")


MakeDatabase: TypeAlias = Callable[[Path], contextlib.AbstractContextManager[str]]

DATABASES: list[MakeDatabase] = [sqlite_file, postgres_database]
"""One entry per kind of database; a kind that joins is held to every promise of the suites."""

EMPTY_DATABASES: list[Callable[[Path], str]] = [empty_sqlite, empty_postgres]
"""The same, without any tables."""


_EMPTIED: list[str] = []


@functools.cache
def postgres_server() -> str:
    """The SQLAlchemy URL of a PostgreSQL that ends with this process; skips the test where there is none to start."""
    if why := missing_postgres():
        pytest.skip(f"PostgreSQL is {why}")
    running = contextlib.ExitStack()
    atexit.register(running.close)
    return running.enter_context(own_postgres()).url


@functools.cache
def _current_template() -> str:
    # Migrating takes longer than copying.
    url = _new_database("template0")
    _run(lambda: migrate_database(url))
    return make_url(url).database or ""


@functools.cache
def _current_sqlite() -> bytes:
    # For the same reason, and a copy waits for no disk.
    with tempfile.TemporaryDirectory() as made:
        path = Path(made, "template.sqlite3")
        _run(lambda: migrate_database(sqlite_url(path)))
        # Once nobody has it open, all is in this one file.
        return path.read_bytes()


def _empty(connection: Connection) -> None:
    # Whoever a test has left behind, in a process that it killed for instance, would keep its locks.
    others = "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = current_database()"
    connection.execute(text(f"{others} AND pid <> pg_backend_pid()"))
    connection.execute(text(f"TRUNCATE {', '.join(SqlTable.metadata.tables)} RESTART IDENTITY"))


def _new_database(template: str) -> str:
    server = make_url(postgres_server())
    name = f"test_{uuid4().hex}"

    async def create() -> None:
        engine = create_async_engine(server, isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            await connection.execute(text(f"CREATE DATABASE {name} TEMPLATE {template} STRATEGY file_copy"))
        await engine.dispose()

    _run(create)
    return server.set(database=name).render_as_string(hide_password=False)


async def migrate_to(url: str, revision: str) -> None:
    """Bring a database up to a revision, which may be an older version's."""

    await execute_in(url, lambda connection: command.upgrade(_alembic(connection), revision))


async def take_back_to(url: str, revision: str) -> None:
    """Bring a database back down to a revision."""
    await execute_in(url, lambda connection: command.downgrade(_alembic(connection), revision))


def _alembic(connection: Connection) -> Config:
    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(Path(migrations.__file__).parent))
    config.set_main_option("path_separator", "os")
    return config


async def execute_in(url: str, work: Callable[[Connection], T]) -> T:
    """Do something in a database beside whoever uses it, in a transaction."""
    engine = create_async_engine(database_url(url))
    try:
        async with engine.begin() as connection:
            return await connection.run_sync(work)
    finally:
        await engine.dispose()


def _run(main: Callable[[], Coroutine[Any, Any, object]]) -> None:
    # In a thread, because a test's event loop may run in this one.
    with ThreadPoolExecutor(1) as thread:
        thread.submit(lambda: asyncio.run(main())).result()


def python_process(program: str, *arguments: str) -> subprocess.Popen[str]:
    """Another process that runs the program; its output is text, its failures are seen by whoever waits for it."""
    return subprocess.Popen(
        [sys.executable, "-c", program, *arguments],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
