"""Owns access to SQL: snapshot reads, writes, and grouped writes whose journal is in commit order.

The same promises on SQLite and on PostgreSQL, whose connections differ; every wait is bounded, and ends as Unavailable.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any, Protocol

from sqlalchemy import URL, select
from sqlalchemy.ext.asyncio import AsyncConnection

from subgraph.adapters.sql.failures import DatabaseTooNew, DatabaseTooOld, DatabaseUnusable, told_to_callers
from subgraph.adapters.sql.group_commit import GroupCommit, Latecomers, Outcome, T, Work
from subgraph.adapters.sql.postgres_connections import PostgresConnections
from subgraph.adapters.sql.schema_upgrade import SchemaStep, prepare_schema
from subgraph.adapters.sql.sqlite_connections import SqliteConnections
from subgraph.adapters.sql.tables import FLEET
from subgraph.adapters.sql.urls import SQLITE_DRIVER, database_url, sqlite_url
from subgraph.domain.errors import Unavailable

__all__ = [
    "Database",
    "DatabaseTooNew",
    "DatabaseTooOld",
    "DatabaseUnusable",
    "migrate_database",
    "open_database",
    "sqlite_url",
]

BUSY_WAIT_SECONDS = 5.0
"""How long a writer waits for the locks of others (SQLite's busy_timeout, PostgreSQL's lock_timeout)."""
CONNECTION_WAIT_SECONDS = 10.0
"""How long a caller waits for a connection of this process: one behind a busy writer still gets its own turn."""


class Connections(Protocol):
    """What differs between kinds of databases."""

    def reading(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in a transaction that sees one moment."""
        ...

    def writing(self) -> AbstractAsyncContextManager[AsyncConnection]:
        """A connection in a transaction that is committed when the block ends."""
        ...

    async def read(self, work: Work[T]) -> T:
        """What the work reads, in a transaction that sees one moment."""
        ...

    async def write_apart(self, work: Work[T]) -> T:
        """A change in a transaction of its own, without journal entries."""
        ...

    async def carry_out(self, works: Sequence[Work[Any]], latecomers: Latecomers) -> list[Outcome]:
        """Changes in one transaction, with those that come until its commit; journal entries have commit order."""
        ...

    async def aclose(self) -> None:
        """Close all connections."""
        ...


class Database:
    """An open database."""

    def __init__(self, connections: Connections, wait_seconds: float = CONNECTION_WAIT_SECONDS) -> None:
        self._connections = connections
        self._group_commit = GroupCommit(connections.carry_out, wait_seconds)
        self._is_closed = False

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection for reading, in a transaction of its own: all its statements see the same moment.

        Not for work that may be cancelled, as every caller's may: on SQLite a connection that is given up in the middle
        of a statement stays open, with its transaction. What is passed to `read` and `write` comes to its end.

        Raises:
            Unavailable: the database is closed, does not answer, or no connection became free in time.
        """
        self._require_open()
        with told_to_callers():
            async with self._connections.reading() as connection:
                yield connection

    async def read(self, work: Work[T]) -> T:
        """What the work reads, in a transaction of its own: as `reading`, and on SQLite much cheaper.

        It is called with a connection that only it uses meanwhile, in a thread or on the loop; so it must do nothing
        but execute statements and make values of their rows.

        Raises:
            Unavailable: the database is closed, does not answer, or no connection became free in time.
        """
        self._require_open()
        with told_to_callers():
            return await self._connections.read(work)

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection for writing all but journal entries: committed when the block ends, rolled back when it raises.

        Not for work that may be cancelled, as with `reading`.

        Raises:
            Unavailable: the database is closed, does not answer, or was kept busy beyond the bound.
        """
        self._require_open()
        with told_to_callers():
            async with self._connections.writing() as connection:
                yield connection

    async def write_apart(self, work: Work[T]) -> T:
        """Carry out a change of all but journal entries, in a transaction of its own. The work is as for `write`.

        Other writers may be at work at once (on PostgreSQL): what a decision was read from must be locked or compared.

        Raises:
            Unavailable: the database is closed, does not answer, or was kept busy beyond the bound.
        """
        self._require_open()
        with told_to_callers():
            return await self._connections.write_apart(work)

    async def write(self, work: Work[T], *, is_patient: bool = False) -> T:
        """Carry out a change, with journal entries or without, in a transaction shared with others that come at once.

        Journal entries are written here and nowhere else: positions that are handed out here rise in the order in which
        they become visible, across all processes. What `work` raises undoes this change alone. It is called with a
        connection that only it uses meanwhile, in a thread or on the loop, and anew if its transaction was undone for
        the sake of another; so it must do nothing but execute statements, and briefly. One that no caller waits for
        is patient: it lets others go first, for a moment.

        Raises:
            Unavailable: the database is closed, does not answer, or was kept busy beyond the bound. The change may have
                been made, if the connection was lost just when it was committed.
        """
        self._require_open()
        with told_to_callers():
            return await self._group_commit.write(work, is_patient=is_patient)

    async def check(self) -> None:
        """Make sure that the database answers.

        Raises:
            Unavailable: it does not.
        """
        # From a table: SQLite answers what needs none without a look at the file.
        await self.read(lambda connection: connection.execute(select(FLEET.c.id).limit(1)).all())

    async def close(self) -> None:
        """Finish the changes that have come, and close all connections. Closing twice is harmless."""
        if not self._is_closed:
            self._is_closed = True
            await self._group_commit.aclose()
            await self._connections.aclose()

    def _require_open(self) -> None:
        # A disposed engine would quietly connect again.
        if self._is_closed:
            raise Unavailable("the database is closed")


async def open_database(
    url: str,
    *,
    migrate: bool = True,
    busy_wait_seconds: float = BUSY_WAIT_SECONDS,
    connection_wait_seconds: float = CONNECTION_WAIT_SECONDS,
) -> Database:
    """Open a database, made or brought to this version's schema first; several processes may do so at once.

    Args:
        url: of a SQLite file or a PostgreSQL database.
        migrate: whether an older or empty database is brought to this version's schema; if not, it is refused.
        busy_wait_seconds: how long a writer waits for the locks of others.
        connection_wait_seconds: how long a caller waits for a connection, or its turn.

    Raises:
        DatabaseTooNew: a newer version of this software has written it.
        DatabaseTooOld: it needs an upgrade, and `migrate` is off.
        DatabaseUnusable: it cannot be used, or is of an unsupported kind.
    """
    place = database_url(url)
    await prepare_schema(place, busy_wait_seconds, may_upgrade=migrate)
    return Database(_connections(place, busy_wait_seconds, connection_wait_seconds), connection_wait_seconds)


async def migrate_database(url: str) -> SchemaStep:
    """Bring a database to this version's schema, and tell from which revision.

    Raises:
        DatabaseTooNew, DatabaseUnusable: as `open_database`.
    """
    return await prepare_schema(database_url(url), BUSY_WAIT_SECONDS, may_upgrade=True)


def _connections(place: URL, busy_wait_seconds: float, connection_wait_seconds: float) -> Connections:
    if place.drivername == SQLITE_DRIVER:
        return SqliteConnections(place, busy_wait_seconds, connection_wait_seconds)
    return PostgresConnections(place, busy_wait_seconds, connection_wait_seconds)
