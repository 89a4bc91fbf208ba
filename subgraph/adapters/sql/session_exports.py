"""Owns reading all that SQL holds of a session, in one snapshot."""

from typing import Any

from sqlalchemy import Connection, Select, func, select

from subgraph.adapters.sql.coverage_register import coverage_rows
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import entry_of, is_text, session_of
from subgraph.adapters.sql.tables import REGISTERED_CELLS, SESSION, SESSION_ASSOCIATION, SESSION_EVENT
from subgraph.adapters.sql.visibility import is_seen_by
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import JournalEntry
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.transfer.session_transfer import WholeSession

ENTRIES_PER_READ = 100


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
        events_bytes_max: int,
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
            told = (SESSION_EVENT.c.session_id == session_id, SESSION_EVENT.c.tenant_id == tenant_id)
            newest = select(SESSION_EVENT).where(*told).order_by(SESSION_EVENT.c.position.desc())
            return WholeSession(
                session=session,
                parents=[session_of(one) for one in connection.execute(above.limit(relatives_max))],
                associates=[session_of(one) for one in connection.execute(below.limit(relatives_max))],
                original=session_of(copied) if copied is not None else None,
                coverage=coverage_rows(connection.execute(cells.order_by(REGISTERED_CELLS.c.position)).all()).parts,
                entries=_newest_entries(connection, newest, events_max, events_bytes_max),
                entry_count=connection.scalar(select(func.count()).select_from(SESSION_EVENT).where(*told)) or 0,
            )

        return await self._database.read(read)


def _newest_entries(connection: Connection, newest: Select[Any], events_max: int, bytes_max: int) -> list[JournalEntry]:
    """The newest entries, in order: page by page, so that long ones beyond what is wanted are not read."""
    entries: list[JournalEntry] = []
    wanted = newest
    while len(entries) < events_max and bytes_max > 0:
        most = min(ENTRIES_PER_READ, events_max - len(entries))
        rows = connection.execute(wanted.limit(most)).all()
        entries += map(entry_of, rows)
        bytes_max -= sum(len(row.payload_json or "") + len(row.message or "") for row in rows)
        if len(rows) < most:
            break
        wanted = newest.where(SESSION_EVENT.c.position < rows[-1].position)
    return entries[::-1]


def _related(session: Session, owner_id: str | None, ids: Select[tuple[str]]) -> Select[Any]:
    related = select(SESSION).where(
        SESSION.c.id.in_(ids),
        SESSION.c.tenant_id == session.tenant_id,
        SESSION.c.state != SessionState.DELETED.value,
        is_seen_by(owner_id),
    )
    return related.order_by(SESSION.c.created_at, SESSION.c.id)
