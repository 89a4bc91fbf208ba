"""Owns how a test sees by which way a database answers a statement."""

from typing import Any

from sqlalchemy import ClauseElement, Executable
from sqlalchemy.ext.asyncio import AsyncConnection
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler


class _Explain(Executable, ClauseElement):
    inherit_cache = False

    def __init__(self, statement: ClauseElement) -> None:
        self.statement = statement


@compiles(_Explain, "sqlite")
def _on_sqlite(element: _Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN QUERY PLAN {compiler.process(element.statement, **options)}"


@compiles(_Explain, "postgresql")
def _on_postgresql(element: _Explain, compiler: SQLCompiler, **options: Any) -> str:
    return f"EXPLAIN (ANALYZE, COSTS OFF, TIMING OFF) {compiler.process(element.statement, **options)}"


async def plan_of(connection: AsyncConnection, statement: ClauseElement) -> list[str]:
    """The lines in which the database tells its plan; on PostgreSQL with the rows that were visited."""
    return [str(row[-1]) for row in await connection.execute(_Explain(statement))]
