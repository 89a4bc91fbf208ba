"""Owns the connections to SQL: several that read, one that writes, and every wait of theirs bounded.

SQLite runs in WAL with synchronous=FULL: what was committed survives a power cut. Several processes may share the file;
a writer waits for the others within a bound and then says Unavailable.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import URL, Connection, event, select
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from subgraph.adapters.sql.failures import DatabaseTooNew, DatabaseUnusable, told_to_callers
from subgraph.adapters.sql.schema_upgrade import prepare_sqlite_file
from subgraph.adapters.sql.tables import FLEET
from subgraph.adapters.sql.urls import SQLITE_DRIVER, sqlite_path, sqlite_url
from subgraph.domain.errors import Unavailable

__all__ = ["Database", "DatabaseTooNew", "DatabaseUnusable", "open_database", "sqlite_url"]

READERS_MAX = 8
BUSY_WAIT_SECONDS = 5.0
"""How long a writer waits for the writers of other processes (SQLite's busy_timeout)."""
CONNECTION_WAIT_SECONDS = 10.0
"""How long a caller waits for a connection of this process: one behind a busy writer still gets its own turn."""


class Database:
    """An open database. Reads run side by side; writes take turns, on one connection."""

    def __init__(self, readers: AsyncEngine, writer: AsyncEngine) -> None:
        self._readers = readers
        self._writer = writer
        self._is_closed = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading, in a transaction of its own: all its statements see the same moment.

        Raises:
            Unavailable: the database is closed, does not answer, or no connection became free in time.
        """
        self._require_open()
        with told_to_callers():
            async with self._readers.begin() as connection:
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """The connection for writing: committed when the block ends, rolled back when it raises.

        Raises:
            Unavailable: the database is closed, does not answer, or was kept busy beyond the bound.
        """
        self._require_open()
        with told_to_callers():
            async with self._writer.begin() as connection:
                yield connection

    async def check(self) -> None:
        """Make sure that the database answers.

        Raises:
            Unavailable: it does not.
        """
        async with self.reading() as connection:
            # From a table: SQLite answers what needs none without a look at the file.
            await connection.execute(select(FLEET.c.id).limit(1))

    async def close(self) -> None:
        """Close all connections. Closing twice is harmless."""
        self._is_closed = True
        await self._writer.dispose()
        await self._readers.dispose()

    def _require_open(self) -> None:
        # A disposed engine would quietly connect again.
        if self._is_closed:
            raise Unavailable("the database is closed")


async def open_database(
    url: str,
    *,
    busy_wait_seconds: float = BUSY_WAIT_SECONDS,
    connection_wait_seconds: float = CONNECTION_WAIT_SECONDS,
) -> Database:
    """Open a database, made or brought to this version's schema first; several processes may do so at once.

    Raises:
        DatabaseTooNew: a newer version of this software has written it.
        DatabaseUnusable: it cannot be used, or is of an unsupported kind.
    """
    path = sqlite_path(url)
    # In a thread: a migration, and even the wait for another process's, would stop the event loop.
    await asyncio.to_thread(prepare_sqlite_file, path, busy_wait_seconds)
    place = URL.create(SQLITE_DRIVER, database=str(path))

    def engine(connections_max: int, begin: str, *settings: str) -> AsyncEngine:
        made = create_async_engine(
            place,
            pool_size=connections_max,
            max_overflow=0,
            pool_timeout=connection_wait_seconds,
            connect_args={"timeout": busy_wait_seconds, "isolation_level": None},
        )

        @event.listens_for(made.sync_engine, "connect")
        def configure(connection: DBAPIConnection, _: object) -> None:
            cursor = connection.cursor()
            for setting in settings:
                cursor.execute(f"PRAGMA {setting}")
            cursor.close()

        # The driver would begin transactions late and deferred; a writer must take its lock before it reads.
        @event.listens_for(made.sync_engine, "begin")
        def begin_explicitly(connection: Connection) -> None:
            connection.exec_driver_sql(begin)

        return made

    return Database(
        readers=engine(READERS_MAX, "BEGIN", "query_only=ON"),
        writer=engine(1, "BEGIN IMMEDIATE", "synchronous=FULL", "foreign_keys=ON"),
    )
