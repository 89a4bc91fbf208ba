"""Owns the connections to a SQLite file: several that read, and writers of this process that take turns.

WAL with synchronous=FULL: what was committed survives a power cut. The log is carried into the file beside the writers
(sqlite_checkpoints.py). Several processes may share the file; a writer waits
for the others within a bound. What is a function of a connection runs in a thread as a whole: of an asynchronous
connection every statement, every result and the transaction's ends go to a thread and back, which costs far more than
SQLite does.
"""

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from typing import Any, cast

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import TimeoutError as PoolTimeoutError
from sqlalchemy.ext.asyncio import AsyncConnection, create_async_engine

from subgraph.adapters.sql.group_commit import Latecomers, Outcome, T, Work, carry_out_together
from subgraph.adapters.sql.sqlite_checkpoints import LOG_PAGES_MAX, SqliteCheckpoints

READERS_MAX = 8


class SqliteConnections:
    """The Connections of a SQLite file."""

    def __init__(self, url: URL, busy_wait_seconds: float, connection_wait_seconds: float) -> None:
        shared = {
            "max_overflow": 0,
            "pool_timeout": connection_wait_seconds,
            "connect_args": {"timeout": busy_wait_seconds, "isolation_level": None},
        }
        self._wait_seconds = connection_wait_seconds
        self._readers = create_async_engine(url, pool_size=READERS_MAX, **shared)
        self._writer = create_async_engine(url, pool_size=1, **shared)
        synchronous = url.set(drivername="sqlite")
        self._reader_of_threads = create_engine(synchronous, pool_size=READERS_MAX, **shared)
        self._writer_of_thread = create_engine(synchronous, pool_size=1, **shared)
        self._reader_threads = ThreadPoolExecutor(READERS_MAX, "sqlite-reader")
        self._writer_thread = ThreadPoolExecutor(1, "sqlite-writer")
        self._reader_turns = asyncio.Semaphore(READERS_MAX)
        self._writer_turn = asyncio.Lock()
        for reader in (self._readers.sync_engine, self._reader_of_threads):
            _configure(reader, "BEGIN", "query_only=ON")
        for writer in (self._writer.sync_engine, self._writer_of_thread):
            # A writer must take its lock before it reads.
            log = f"wal_autocheckpoint={LOG_PAGES_MAX}"
            _configure(writer, "BEGIN IMMEDIATE", "synchronous=FULL", "foreign_keys=ON", log)
        checkpointer = create_engine(synchronous, pool_size=1, isolation_level="AUTOCOMMIT", **shared)
        self._checkpoints = SqliteCheckpoints(checkpointer)

    @asynccontextmanager
    async def reading(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that sees one moment."""
        async with self._readers.begin() as connection:
            yield connection

    @asynccontextmanager
    async def writing(self) -> AsyncIterator[AsyncConnection]:
        """A connection in a transaction that is committed when the block ends."""
        async with self._turn(self._writer_turn), self._writer.begin() as connection:
            yield connection
        self._checkpoints.note_commit()

    async def read(self, work: Work[T]) -> T:
        """What the work reads, in a transaction that sees one moment."""
        async with self._turn(self._reader_turns):
            return await asyncio.wrap_future(self._reader_threads.submit(self._read, work))

    async def write_apart(self, work: Work[T]) -> T:
        """A change in a transaction of its own."""
        (written,) = await self.carry_out([work], list)
        return cast(T, written)

    async def carry_out(self, works: Sequence[Work[Any]], latecomers: Latecomers) -> list[Outcome]:
        """Changes in one transaction, with those that come until its commit."""
        async with self._turn(self._writer_turn):
            outcomes = await asyncio.wrap_future(self._writer_thread.submit(self._carry_out, works, latecomers))
        self._checkpoints.note_commit()
        return outcomes

    async def aclose(self) -> None:
        """Close all connections."""
        for threads in (self._reader_threads, self._writer_thread):
            await asyncio.to_thread(threads.shutdown)
        for engine in (self._reader_of_threads, self._writer_of_thread):
            engine.dispose()
        await self._writer.dispose()
        await self._readers.dispose()
        await self._checkpoints.aclose()

    def _read(self, work: Work[T]) -> T:
        with self._reader_of_threads.begin() as connection:
            return work(connection)

    def _carry_out(self, works: Sequence[Work[Any]], latecomers: Latecomers) -> list[Outcome]:
        with self._writer_of_thread.begin() as connection:
            return carry_out_together(connection, works, latecomers)

    @asynccontextmanager
    async def _turn(self, turns: asyncio.Lock | asyncio.Semaphore) -> AsyncIterator[None]:
        # Waiting here is cheap and fair; SQLite itself would look again after a while, and whoever is lucky is next.
        try:
            async with asyncio.timeout(self._wait_seconds):
                await turns.acquire()
        except TimeoutError:
            raise PoolTimeoutError("no turn in time") from None
        try:
            yield
        finally:
            turns.release()


def _configure(engine: Engine, begin: str, *settings: str) -> None:
    @event.listens_for(engine, "connect")
    def configure(connection: DBAPIConnection, _: object) -> None:
        cursor = connection.cursor()
        for setting in settings:
            cursor.execute(f"PRAGMA {setting}")
        cursor.close()

    # The driver would begin transactions late and deferred.
    @event.listens_for(engine, "begin")
    def begin_explicitly(connection: Connection) -> None:
        connection.exec_driver_sql(begin)
