"""Owns the reading of all that SQL holds of a session, at one moment."""

from typing import Any

from sqlalchemy import Connection, Select, select

from subgraph.adapters.sql.coverage_register import coverage_rows
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import entry_of, is_text, session_of
from subgraph.adapters.sql.sight import is_seen_by
from subgraph.adapters.sql.tables import REGISTERED_CELLS, SESSION, SESSION_ASSOCIATION, SESSION_EVENT
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.session_transfer import WholeSession


class SqlSessionExports:
    """The port SessionExports on SQL and one fleet id."""

    def __init__(self, database: Database, fleet_id: str) -> None:
        self._database = database
        self._fleet_id = fleet_id

    async def whole(
        self,
        tenant_id: TenantId,
        session_id: SessionId,
        *,
        relatives_of: str | None,
        relatives_max: int,
        events_max: int,
    ) -> WholeSession | None:
        """A session with all that is its own."""
        if not is_text(session_id):
            return None

        def read(connection: Connection) -> WholeSession | None:
            mine = select(SESSION).where(SESSION.c.tenant_id == tenant_id, SESSION.c.id == session_id)
            row = connection.execute(mine).one_or_none()
            if row is None:
                return None
            session = session_of(row)
            links = SESSION_ASSOCIATION.c
            above = _related(session, relatives_of, select(links.parent_id).where(links.associate_id == session_id))
            below = _related(session, relatives_of, select(links.associate_id).where(links.parent_id == session_id))
            original = select(SESSION).where(SESSION.c.tenant_id == tenant_id, SESSION.c.id == session.copied_from)
            copied = connection.execute(original).one_or_none()
            cells = select(REGISTERED_CELLS).where(
                REGISTERED_CELLS.c.fleet_id == self._fleet_id, REGISTERED_CELLS.c.session_id == session_id
            )
            entries = select(SESSION_EVENT).where(
                SESSION_EVENT.c.session_id == session_id, SESSION_EVENT.c.tenant_id == tenant_id
            )
            entries = entries.order_by(SESSION_EVENT.c.position).limit(events_max)
            return WholeSession(
                session=session,
                parents=[session_of(one) for one in connection.execute(above.limit(relatives_max))],
                associates=[session_of(one) for one in connection.execute(below.limit(relatives_max))],
                original=session_of(copied) if copied is not None else None,
                coverage=coverage_rows(connection.execute(cells.order_by(REGISTERED_CELLS.c.position)).all()).parts,
                entries=[entry_of(entry) for entry in connection.execute(entries)],
            )

        return await self._database.read(read)


def _related(session: Session, owner_id: str | None, ids: Select[tuple[str]]) -> Select[Any]:
    related = select(SESSION).where(
        SESSION.c.id.in_(ids),
        SESSION.c.tenant_id == session.tenant_id,
        SESSION.c.state != SessionState.DELETED.value,
        is_seen_by(owner_id),
    )
    return related.order_by(SESSION.c.created_at, SESSION.c.id)
