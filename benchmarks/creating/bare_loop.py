"""Owns the yardstick: a loop that sends the drivers the very statements that creates came to, one transaction each."""

import sqlite3
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import asyncpg
from sqlalchemy import Engine, event

from subgraph.adapters.sql.urls import database_url

Statement = tuple[str, tuple[Any, ...]]


@contextmanager
def recorded() -> Iterator[list[Statement]]:
    """Statements that write, as the drivers are given them within."""
    statements: list[Statement] = []

    def record(_: object, __: object, statement: str, parameters: Any, ___: object, is_many: bool) -> None:
        if statement.startswith(("INSERT", "UPDATE")):
            rows = parameters if is_many else [parameters]
            statements.extend((statement, tuple(row)) for row in rows)

    event.listen(Engine, "before_cursor_execute", record)
    try:
        yield statements
    finally:
        event.remove(Engine, "before_cursor_execute", record)


def sqlite_rate(path: str, creates: Sequence[Sequence[Statement]]) -> float:
    """Creates a second of a loop on a SQLite file that is durable at every commit."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = FULL")
    began = time.perf_counter()
    for statements in creates:
        connection.execute("BEGIN IMMEDIATE")
        for statement, parameters in statements:
            connection.execute(statement, parameters).fetchall()
        connection.execute("COMMIT")
    elapsed = time.perf_counter() - began
    connection.close()
    return len(creates) / elapsed


async def postgres_rate(url: str, creates: Sequence[Sequence[Statement]]) -> float:
    """Creates a second of a loop on one connection to PostgreSQL."""
    connection = await asyncpg.connect(database_url(url).set(drivername="postgresql").render_as_string(False))
    prepared = {text: await connection.prepare(text) for text in {text for one in creates for text, _ in one}}
    began = time.perf_counter()
    for statements in creates:
        async with connection.transaction():
            for statement, parameters in statements:
                await prepared[statement].fetch(*parameters)
    elapsed = time.perf_counter() - began
    await connection.close()
    return len(creates) / elapsed
