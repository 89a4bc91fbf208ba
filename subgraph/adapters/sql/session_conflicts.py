"""Owns the cause of a refused change, found by queries, as databases word constraint violations differently."""

from sqlalchemy import Connection, select

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.tables import SESSION
from subgraph.domain.errors import NameTaken, NotFound
from subgraph.domain.sessions import SessionChange
from subgraph.operations.sessions.session_ports import MainExists


async def conflict_of(change: SessionChange, database: Database) -> MainExists | NameTaken | NotFound | None:
    """What stands in the way of a change that was refused and undone; None if nothing does, or not any more."""
    changed = (*change.created, *change.updated)

    def find(connection: Connection) -> MainExists | NameTaken | NotFound | None:
        # Nothing of the change was written, so what it changes still stands in its own way.
        others = SESSION.c.id.not_in([session.id for session in (*changed, *change.purged)])
        for session in changed:
            other = select(SESSION.c.id).where(SESSION.c.tenant_id == session.tenant_id, others)
            if session.is_main and connection.scalar(other.where(SESSION.c.is_main)):
                return MainExists(session.tenant_id)
            held = SESSION.c.unique_name == session.display_name
            if session.holds_name and (holder := connection.scalar(other.where(held))):
                return NameTaken(session.display_name, holder, ("displayName",))
            owners = other.where(SESSION.c.owner_id == session.owner_id, SESSION.c.deleted_at.is_(None))
            if session.external_id is not None and (
                holder := connection.scalar(owners.where(SESSION.c.external_id == session.external_id))
            ):
                return NameTaken(session.external_id, holder, ("externalId",))
        for index, link in enumerate(change.associated):
            if not connection.scalar(select(SESSION.c.id).where(SESSION.c.id == link.associate_id)):
                return NotFound("Session", link.associate_id, ("associateIds", str(index)))
        return None

    return await database.read(find)
