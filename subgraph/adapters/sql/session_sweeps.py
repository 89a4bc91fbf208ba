"""Owns the sweeps over sessions in SQL: what is due is found by its index, claimed and written in one transaction."""

from collections.abc import Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, Connection, bindparam, delete, select, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import forget_events, write_events
from subgraph.adapters.sql.rows import session_of
from subgraph.adapters.sql.tables import REGISTERED_CELLS, SESSION
from subgraph.domain import sessions
from subgraph.domain.ids import TenantId
from subgraph.domain.sessions import Session, SessionState

_EXPIRE = (
    update(SESSION)
    .where(SESSION.c.id == bindparam("session_id"))
    .values(
        state=SessionState.EXPIRED.value,
        revision=bindparam("new_revision"),
        updated_at=bindparam("now"),
        stopped_at=SESSION.c.expires_at,
    )
)


class SqlSessionSweeps:
    """The SessionSweeps port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def expire_due(self, now: datetime, limit: int, tenant_id: TenantId | None = None) -> int:
        """Write that the time of sessions has run out."""
        due = (SESSION.c.state == SessionState.ACTIVE.value, SESSION.c.expires_at <= now)
        wanted = (*due, *_of(tenant_id))
        return await self._database.write(partial(_expire, wanted=wanted, now=now, limit=limit))

    async def purge_stopped(
        self, before: datetime, now: datetime, limit: int, tenant_id: TenantId | None = None
    ) -> int:
        """Remove sessions that stopped before a moment."""
        wanted = (SESSION.c.stopped_at < before, *_of(tenant_id))
        return await self._database.write(partial(_purge, wanted=wanted, now=now, limit=limit))


def _of(tenant_id: TenantId | None) -> tuple[ColumnElement[bool], ...]:
    return () if tenant_id is None else (SESSION.c.tenant_id == tenant_id,)


def _claimed(
    connection: Connection, wanted: Sequence[ColumnElement[bool]], oldest: ColumnElement[datetime], limit: int
) -> list[Session]:
    # Locked where others write rows at the same time (PostgreSQL); what they hold is left to the next sweep.
    chosen = (
        select(SESSION).where(*wanted).order_by(oldest, SESSION.c.id).limit(limit).with_for_update(skip_locked=True)
    )
    return [session_of(row) for row in connection.execute(chosen)]


def _expire(connection: Connection, wanted: Sequence[ColumnElement[bool]], now: datetime, limit: int) -> int:
    changes = [sessions.expire(session, now) for session in _claimed(connection, wanted, SESSION.c.expires_at, limit)]
    if changes:
        rows = [
            {"session_id": session.id, "new_revision": session.revision, "now": session.updated_at}
            for change in changes
            for session in change.updated
        ]
        connection.execute(_EXPIRE, rows)
        write_events(connection, [event for change in changes for event in change.events])
    return len(changes)


def _purge(connection: Connection, wanted: Sequence[ColumnElement[bool]], now: datetime, limit: int) -> int:
    stopped = _claimed(connection, wanted, SESSION.c.stopped_at, limit)
    if stopped:
        changes = [sessions.purge(session, actor=None, now=now) for session in stopped]
        # Of a purged session only what its purge tells stays in the journal.
        forget_events(connection, [session.id for session in stopped])
        write_events(connection, [event for change in changes for event in change.events])
        remove_sessions(connection, [session.id for session in stopped])
    return len(stopped)


def remove_sessions(connection: Connection, session_ids: Sequence[str]) -> int:
    """Remove sessions and all that is their own; returns how many there were."""
    connection.execute(delete(REGISTERED_CELLS).where(REGISTERED_CELLS.c.session_id.in_(session_ids)))
    return connection.execute(delete(SESSION).where(SESSION.c.id.in_(session_ids))).rowcount
