"""Owns backups of databases in tests: made beside whoever uses them, and put back under whoever uses them then."""

import asyncio
import contextlib
import sqlite3
from collections.abc import Callable, Coroutine
from pathlib import Path
from uuid import uuid4

from sqlalchemy import URL, make_url, text
from sqlalchemy.ext.asyncio import create_async_engine

PutBack = Callable[[], Coroutine[None, None, None]]


async def back_up(url: str) -> PutBack:
    """Back a database up; returns what puts it back, as operators do it."""
    place = make_url(url)
    if place.get_backend_name() == "sqlite":
        return await _back_up_file(Path(place.database or ""))
    return await _back_up_on_server(place)


async def _back_up_file(file: Path) -> PutBack:
    """SQLite's own way, which is a transaction for all who have the file open."""
    kept = file.with_suffix(f".backup-{uuid4().hex}")

    def copy(source: Path, target: Path) -> None:
        with contextlib.closing(sqlite3.connect(source)) as one, contextlib.closing(sqlite3.connect(target)) as other:
            one.backup(other)

    await asyncio.to_thread(copy, file, kept)
    return lambda: asyncio.to_thread(copy, kept, file)


async def _back_up_on_server(place: URL) -> PutBack:
    """A database that is copied or replaced as a whole, for which all who use it are thrown out."""
    name, kept = place.database, f"backup_{uuid4().hex}"

    async def on_server(*statements: str) -> None:
        engine = create_async_engine(place.set(database="postgres"), isolation_level="AUTOCOMMIT")
        async with engine.connect() as connection:
            for statement in statements:
                await connection.execute(text(statement))
        await engine.dispose()

    await on_server(
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS false",
        f"SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity WHERE datname = '{name}'",
        f"CREATE DATABASE {kept} TEMPLATE {name} STRATEGY file_copy",
        f"ALTER DATABASE {name} ALLOW_CONNECTIONS true",
    )
    return lambda: on_server(
        f"DROP DATABASE {name} WITH (FORCE)", f"CREATE DATABASE {name} TEMPLATE {kept} STRATEGY file_copy"
    )
