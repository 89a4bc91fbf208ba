"""Owns which of a tenant's sessions are seen, as SQL says it: the same that `Caller.may_see` says of one."""

from sqlalchemy import ColumnElement, or_, true

from subgraph.adapters.sql.tables import SESSION


def is_seen_by(owner_id: str | None) -> ColumnElement[bool]:
    """Whether a session is the owner's, or the tenant's main session; with None, of whoever sees all: any."""
    return true() if owner_id is None else or_(SESSION.c.owner_id == owner_id, SESSION.c.is_main)
