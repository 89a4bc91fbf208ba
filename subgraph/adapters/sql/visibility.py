"""Owns which of a tenant's sessions a caller may see, as an SQL condition: `Caller.may_see` for many rows."""

from sqlalchemy import ColumnElement, or_, true

from subgraph.adapters.sql.tables import SESSION


def is_seen_by(owner_id: str | None) -> ColumnElement[bool]:
    """Whether a session is the owner's, or the tenant's main session. None stands for a caller who sees all."""
    return true() if owner_id is None else or_(SESSION.c.owner_id == owner_id, SESSION.c.is_main)
