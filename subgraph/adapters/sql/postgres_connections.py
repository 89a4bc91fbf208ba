"""Owns the connections to PostgreSQL: a pool that reads, a pool that writes, and every wait of theirs bounded.

Journal entries are numbered in commit order. A serial alone is not: a transaction that took a lower number may commit
later, and a reader whose cursor has passed it would miss it. So transactions that write to the journal hold one lock
from before their first number until they are visible; they take it first, so that they cannot wait for each other in a
ring. Because of the lock they commit one after the other, in all processes; a process gathers what comes meanwhile
into its next transaction, so what is lost by that is regained (figures: benchmarks/README.md). The other way, to read
only below the oldest transaction that runs (`pg_snapshot_xmin`), lets any long transaction of the server hold up all
readers, and does not keep the order of one session's entries: a transaction that waited for another's row may be older.
"""

from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

from sqlalchemy import URL, event, text
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from subgraph.adapters.sql.group_commit import Latecomers, Outcome, T, Work, carry_out_together

READERS_MAX = 8
WRITERS_MAX = 4
STATEMENT_SECONDS_MAX = 15.0
IDLE_SECONDS_MAX = 15.0
"""A process that is paused within a transaction loses it after so long, and with it the locks the others wait for."""
ANSWER_GRACE_SECONDS = 2.0
"""How much longer the driver waits than the server takes: only a server that says nothing at all is given up on."""
JOURNAL_LOCK = int.from_bytes(b"journal")
"""The number of the advisory lock that puts transactions with journal entries in order; others must not take it."""

_TAKE_JOURNAL_LOCK = text(f"SELECT pg_advisory_xact_lock({JOURNAL_LOCK})")


class PostgresConnections:
    """The Connections of a PostgreSQL database."""

    def __init__(self, url: URL, busy_wait_seconds: float, connection_wait_seconds: float) -> None:
        waits = (busy_wait_seconds, connection_wait_seconds)
        self._readers, self._writer = (
            postgres_engine(
                url,
                *waits,
                connections_max=connections_max,
                isolation_level=isolation_level,
                statement_seconds_max=STATEMENT_SECONDS_MAX,
            )
            for connections_max, isolation_level in ((READERS_MAX, "REPEATABLE READ"), (WRITERS_MAX, "READ COMMITTED"))
        )

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that sees one moment."""
        async with self._readers.connect() as connection:
            await connection.execution_options(postgresql_readonly=True)
            async with connection.begin():
                yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed when the block ends."""
        async with self._writer.begin() as connection:
            yield connection

    async def read(self, work: Work[T]) -> T:
        """What the work reads, in a transaction that sees one moment."""
        async with self.reading() as connection:
            return await connection.run_sync(work)

    async def write_apart(self, work: Work[T]) -> T:
        """A change in a transaction of its own, beside those of others."""
        async with self.writing() as connection:
            return await connection.run_sync(work)

    async def carry_out(self, works: Sequence[Work[Any]], latecomers: Latecomers) -> list[Outcome]:
        """Changes in one transaction, with those that come until its commit; journal entries have commit order."""
        async with self._writer.begin() as connection:
            await connection.execute(_TAKE_JOURNAL_LOCK)
            return await connection.run_sync(carry_out_together, works, latecomers)

    async def aclose(self) -> None:
        """Close all connections."""
        await self._writer.dispose()
        await self._readers.dispose()


def postgres_engine(
    url: URL,
    busy_wait_seconds: float,
    connection_wait_seconds: float,
    *,
    connections_max: int,
    isolation_level: str,
    statement_seconds_max: float,
) -> AsyncEngine:
    """A pool of connections all of whose waits are bounded; one that the server has closed is replaced."""
    engine = create_async_engine(
        url,
        pool_size=connections_max,
        max_overflow=0,
        pool_timeout=connection_wait_seconds,
        isolation_level=isolation_level,
        connect_args={
            "timeout": connection_wait_seconds,
            "command_timeout": statement_seconds_max + ANSWER_GRACE_SECONDS,
            "server_settings": {
                "application_name": "session-manager",
                "lock_timeout": _ms(busy_wait_seconds),
                "statement_timeout": _ms(statement_seconds_max),
                "idle_in_transaction_session_timeout": _ms(IDLE_SECONDS_MAX),
            },
        },
    )

    # A restarted server has closed them all, which the driver knows without asking.
    @event.listens_for(engine.sync_engine, "checkout")
    def refuse_closed(_: DBAPIConnection, entry: ConnectionPoolEntry, __: object) -> None:
        if entry.driver_connection is None or entry.driver_connection.is_closed():
            raise DisconnectionError

    return engine


def _ms(seconds: float) -> str:
    return str(round(seconds * 1_000))
