"""Owns searching for one text within another, character by character, in each database's dialect."""

from typing import Any

from sqlalchemy import Boolean, ColumnElement, literal
from sqlalchemy.ext.compiler import compiles
from sqlalchemy.sql.compiler import SQLCompiler
from sqlalchemy.sql.functions import FunctionElement


class _Contains(FunctionElement[bool]):
    # LIKE would pass over the case of letters on SQLite, and not on PostgreSQL.
    type = Boolean()
    inherit_cache = True


def contains(column: ColumnElement[str], text: str) -> ColumnElement[bool]:
    """Whether a column's text holds another; every character stands for itself."""
    return _Contains(column, literal(text))


@compiles(_Contains, "sqlite")
def _on_sqlite(element: _Contains, compiler: SQLCompiler, **options: Any) -> str:
    return f"(instr({compiler.process(element.clauses, **options)}) > 0)"


@compiles(_Contains, "postgresql")
def _on_postgresql(element: _Contains, compiler: SQLCompiler, **options: Any) -> str:
    return f"(strpos({compiler.process(element.clauses, **options)}) > 0)"
