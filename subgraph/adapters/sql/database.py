"""Owns the connection to SQL: one writer a process, many readers, and a schema that is brought up to date on opening.

SQLite runs in WAL with synchronous=FULL: what was committed survives a power cut. Several processes may share the file;
a writer waits for the others within a bound and then says Unavailable.
"""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DatabaseError, DBAPIError, IntegrityError, SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from subgraph.domain.errors import Unavailable

BUSY_TIMEOUT_MS = 5_000
READERS_MAX = 8
REVISIONS = ("0001_sessions",)
"""The schema's revisions in order; a database at any other one was written by a newer version."""


class DatabaseUnusable(Exception):
    """The database cannot be opened: one line that says which and why."""


class DatabaseTooNew(DatabaseUnusable):
    """The database was written by a newer version of this software."""


class Database:
    """An open database. Reads run side by side; writes take turns."""

    def __init__(self, readers: AsyncEngine, writer: AsyncEngine) -> None:
        self._readers = readers
        self._writer = writer
        self._turn = asyncio.Lock()

    @contextlib.asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading, in a transaction of its own.

        Raises:
            Unavailable: the database does not answer.
        """
        with _told_as_unavailable():
            async with self._readers.begin() as connection:
                yield connection

    @contextlib.asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """The connection for writing: committed when the block ends, rolled back when it raises.

        Raises:
            Unavailable: the database does not answer, or other processes kept it busy beyond the bound.
        """
        with _told_as_unavailable():
            async with self._turn, self._writer.begin() as connection:
                yield connection

    async def check(self) -> None:
        """Make sure that the database answers.

        Raises:
            Unavailable: it does not.
        """
        async with self.reading() as connection:
            await connection.execute(text("SELECT 1"))

    async def close(self) -> None:
        """Close all connections."""
        await self._writer.dispose()
        await self._readers.dispose()


def sqlite_url(path: Path) -> str:
    """The URL of a SQLite file."""
    return f"sqlite:///{path.absolute()}"


async def open_database(url: str) -> Database:
    """Open a database and bring its schema up to date.

    Raises:
        DatabaseTooNew: a newer version of this software has written it.
        DatabaseUnusable: it cannot be reached, is no database, or is of an unsupported kind.
    """
    place = _parsed(url)
    shown = place.render_as_string(hide_password=True)
    writer, readers = _engine(place, "BEGIN IMMEDIATE", 1), _engine(place, "BEGIN", READERS_MAX)
    database = Database(readers, writer)
    try:
        async with writer.begin() as connection:
            await connection.run_sync(_upgrade, shown)
    except (SQLAlchemyError, OSError) as error:
        await database.close()
        reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        raise DatabaseUnusable(f"the database {shown} cannot be used: {reason.splitlines()[0]}") from error
    except DatabaseTooNew:
        await database.close()
        raise
    return database


def _parsed(url: str) -> URL:
    try:
        place = make_url(url)
    except ArgumentError as error:
        raise DatabaseUnusable("the database URL is malformed: give sqlite:///path") from error
    if place.drivername not in ("sqlite", "sqlite+aiosqlite"):
        raise DatabaseUnusable(f"the database URL begins with {place.drivername}://, but only sqlite:/// is supported")
    return place.set(drivername="sqlite+aiosqlite")


def _engine(place: URL, begin: str, connections_max: int) -> AsyncEngine:
    engine = create_async_engine(
        place,
        pool_size=connections_max,
        max_overflow=0,
        connect_args={"timeout": BUSY_TIMEOUT_MS / 1_000, "isolation_level": None},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: Any, _: object) -> None:
        cursor = connection.cursor()
        for setting in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", f"busy_timeout={BUSY_TIMEOUT_MS}"):
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    # The driver would begin transactions late and deferred; a writer must take its lock before it reads.
    @event.listens_for(engine.sync_engine, "begin")
    def begin_explicitly(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _upgrade(connection: Connection, shown: str) -> None:
    """Run the migrations that are missing, in the caller's transaction: processes that start together take turns."""
    revision = None
    if inspect(connection).has_table("alembic_version"):
        revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    if revision == REVISIONS[-1]:
        return
    if revision is not None and revision not in REVISIONS:
        raise DatabaseTooNew(
            f"the database {shown} is at revision {revision!r}, which a newer version wrote; this one knows "
            f"{REVISIONS[-1]!r}: use the newer version, or another database"
        )
    # Imported only when there is something to do: it costs more time than all the rest of opening.
    from alembic import command
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", str(Path(__file__).with_name("migrations")))
    config.attributes["connection"] = connection
    command.upgrade(config, "head")


@contextlib.contextmanager
def _told_as_unavailable() -> Iterator[None]:
    try:
        yield
    except IntegrityError:
        raise
    except (DatabaseError, OSError) as error:
        reason = str(error.orig) if isinstance(error, DBAPIError) else str(error)
        raise Unavailable(f"the database does not answer: {reason}", retry_after_seconds=1.0) from error
