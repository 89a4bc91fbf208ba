"""Owns upserts: an insertion that says what happens on a conflict, in each database's dialect."""

from collections.abc import Callable, Mapping

from sqlalchemy import Connection, Table
from sqlalchemy.dialects import postgresql, sqlite

_INSERT: Mapping[str, Callable[[Table], sqlite.Insert | postgresql.Insert]] = {
    "sqlite": sqlite.insert,
    "postgresql": postgresql.insert,
}
"""Both say ON CONFLICT in the same words; SQLAlchemy leaves it to the dialects."""


def upsert(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insertion with `on_conflict_do_update` and `on_conflict_do_nothing`."""
    return _INSERT[connection.dialect.name](table)
