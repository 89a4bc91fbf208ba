"""Owns the sinks that the contract suite runs on, one kind for each store."""

import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path

from sqlalchemy.ext.asyncio import create_async_engine

from subgraph.client.redis_connection import connect
from subgraph.client.redis_sink import RedisSink
from subgraph.client.sink import TileSink
from subgraph.client.sql_sink import SqlSink

OpensSink = Callable[[str, str], TileSink]
"""Opens a sink by its name, for a writer."""


@contextlib.asynccontextmanager
async def redis_sinks(url: str) -> AsyncIterator[OpensSink]:
    """Sinks in Redis."""
    async with connect(url) as redis:
        yield lambda name, writer: RedisSink(redis, name, writer)


@contextlib.asynccontextmanager
async def sql_sinks(url: str) -> AsyncIterator[OpensSink]:
    """Sinks in a database, whose tables are made if they are not there."""
    engine = create_async_engine(url)
    try:
        await SqlSink(engine, "tables", "").create_tables()
        yield lambda name, writer: SqlSink(engine, name, writer)
    finally:
        await engine.dispose()


def sqlite_sinks_url(directory: Path) -> str:
    """A SQLite file for sinks."""
    return f"sqlite+aiosqlite:///{directory}/sinks.sqlite3"
