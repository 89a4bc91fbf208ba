"""Owns the sweeps over sessions in SQL: what is due is found by its index, claimed and written in one transaction."""

from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial

from sqlalchemy import ColumnElement, Connection, and_, bindparam, delete, select, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import forget_events, write_events
from subgraph.adapters.sql.journal_shortening import LongJournal, require_short, shorten
from subgraph.adapters.sql.rows import session_of
from subgraph.adapters.sql.tables import REGISTERED_CELLS, SESSION
from subgraph.domain import sessions
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session, SessionState
from subgraph.operations.session_ports import ChangeGuard, unguarded

_EXPIRE = (
    update(SESSION)
    .where(SESSION.c.id.in_(bindparam("session_ids", expanding=True)))
    .values(
        state=SessionState.EXPIRED.value,
        revision=SESSION.c.revision + 1,
        updated_at=bindparam("now"),
        stopped_at=SESSION.c.expires_at,
    )
)


class SqlSessionSweeps:
    """The SessionSweeps port on SQL."""

    def __init__(self, database: Database, guard: ChangeGuard = unguarded) -> None:
        self._database = database
        self._guard = guard

    async def expire_due(self, now: datetime, limit: int, tenant_id: TenantId | None = None) -> int:
        """Write that the time of sessions has run out."""
        due = and_(SESSION.c.state == SessionState.ACTIVE.value, SESSION.c.expires_at <= now)
        return await self._sweep(due, SESSION.c.expires_at, limit, tenant_id, partial(_expire, now=now))

    async def purge_stopped(
        self, before: datetime, now: datetime, limit: int, tenant_id: TenantId | None = None
    ) -> int:
        """Remove sessions that stopped before a moment."""
        due = SESSION.c.stopped_at < before
        return await self._sweep(due, SESSION.c.stopped_at, limit, tenant_id, partial(_purge, now=now))

    async def _sweep(
        self,
        due: ColumnElement[bool],
        since: ColumnElement[datetime | None],
        limit: int,
        tenant_id: TenantId | None,
        carry_out: Callable[[Connection, Sequence[Session]], None],
    ) -> int:
        chosen = select(SESSION.c.tenant_id, SESSION.c.id).where(due).order_by(since, SESSION.c.id).limit(limit)
        if tenant_id is not None:
            chosen = chosen.where(SESSION.c.tenant_id == tenant_id)
        async with self._database.reading() as connection:
            found = [(TenantId(row.tenant_id), SessionId(row.id)) for row in await connection.execute(chosen)]
        if not found:
            return 0
        ids = [session_id for _, session_id in found]

        def work(connection: Connection) -> int:
            claimed = _claimed(connection, and_(due, SESSION.c.id.in_(ids)))
            if claimed:
                carry_out(connection, claimed)
            return len(claimed)

        # Of processes that found the same ones, the first to write claims them all; the others find nothing due.
        async with self._guard(found):
            while True:
                try:
                    return await self._database.write(work)
                except LongJournal as long:
                    await shorten(self._database, long.session_ids)


def _claimed(connection: Connection, due: ColumnElement[bool]) -> list[Session]:
    # Locked where others write rows at the same time (PostgreSQL); what they hold is left to the next sweep.
    chosen = select(SESSION).where(due).order_by(SESSION.c.id).with_for_update(skip_locked=True)
    return [session_of(row) for row in connection.execute(chosen)]


def _expire(connection: Connection, due: Sequence[Session], now: datetime) -> None:
    changes = [sessions.expire(session, now) for session in due]
    # All at once: what the rule makes of them is the same of each, and its revision is what was read and locked.
    connection.execute(_EXPIRE, {"session_ids": [session.id for session in due], "now": now})
    write_events(connection, [event for change in changes for event in change.events])


def _purge(connection: Connection, stopped: Sequence[Session], now: datetime) -> None:
    changes = [sessions.purge(session, actor=None, now=now) for session in stopped]
    require_short(connection, [session.id for session in stopped])
    # Of a purged session its stops, and what its purge tells, stay in the journal.
    forget_events(connection, [session.id for session in stopped])
    write_events(connection, [event for change in changes for event in change.events])
    remove_sessions(connection, [session.id for session in stopped])


def remove_sessions(connection: Connection, session_ids: Sequence[str]) -> int:
    """Remove sessions and all that is their own; returns how many there were."""
    connection.execute(delete(REGISTERED_CELLS).where(REGISTERED_CELLS.c.session_id.in_(session_ids)))
    return connection.execute(delete(SESSION).where(SESSION.c.id.in_(session_ids))).rowcount
