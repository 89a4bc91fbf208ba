"""Owns the sweeps over sessions in SQL: what is due is found by its index, claimed and written in one transaction.

What a sweep makes of a session, and tells of it, is the same of each that is due, but for whose it is. So while the
writer is held nothing is read into this program: a few statements write all that the rules say of every one of them.
"""

import itertools
import time
from collections.abc import Callable, Sequence
from datetime import datetime
from functools import partial
from typing import NamedTuple

from sqlalchemy import ColumnElement, Connection, Select, and_, bindparam, delete, select, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import forget_events, write_same_event
from subgraph.adapters.sql.journal_shortening import LongJournal, require_short, shorten
from subgraph.adapters.sql.tables import REGISTERED_CELLS, SESSION
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.sessions import SessionState
from subgraph.operations.sessions.session_ports import ChangeGuard, SweptBatch, unguarded

_EXPIRE = (
    update(SESSION)
    .where(SESSION.c.id.in_(bindparam("session_ids", expanding=True)))
    .values(
        state=SessionState.EXPIRED.value,
        revision=SESSION.c.revision + 1,
        updated_at=bindparam("now"),
        stopped_at=SESSION.c.expires_at,
        last_sequence=SESSION.c.last_sequence + 1,
    )
)

EVENTS_PER_PURGE_MAX = 500
"""Events of all sessions of a purge together: to remove an event keeps others from writing longer than a session."""


class _Found(NamedTuple):
    tenant_id: TenantId
    session_id: SessionId
    last_sequence: int


class SqlSessionSweeps:
    """The SessionSweeps port on SQL."""

    def __init__(self, database: Database, guard: ChangeGuard = unguarded) -> None:
        self._database = database
        self._guard = guard

    async def expire_due(self, now: datetime, limit: int, tenant_id: TenantId | None = None) -> SweptBatch:
        """Write that the time of sessions has run out."""
        due = and_(SESSION.c.state == SessionState.ACTIVE.value, SESSION.c.expires_at <= now)
        found = await self._find(due, SESSION.c.expires_at, limit, tenant_id)
        return await self._sweep(found, due, partial(_expire, now=now), is_last=len(found) < limit)

    async def purge_stopped(
        self, before: datetime, now: datetime, limit: int, tenant_id: TenantId | None = None
    ) -> SweptBatch:
        """Remove sessions that stopped before a moment."""
        due = SESSION.c.stopped_at < before
        found = await self._find(due, SESSION.c.stopped_at, limit, tenant_id)
        short = _of_short_journals(found)
        return await self._sweep(short, due, partial(_purge, now=now), is_last=len(short) == len(found) < limit)

    async def _find(
        self,
        due: ColumnElement[bool],
        since: ColumnElement[datetime | None],
        limit: int,
        tenant_id: TenantId | None,
    ) -> list[_Found]:
        wanted = select(SESSION.c.tenant_id, SESSION.c.id, SESSION.c.last_sequence)
        chosen = wanted.where(due).order_by(since, SESSION.c.id).limit(limit)
        if tenant_id is not None:
            chosen = chosen.where(SESSION.c.tenant_id == tenant_id)
        return await self._database.read(partial(_found, chosen))

    async def _sweep(
        self,
        found: Sequence[_Found],
        due: ColumnElement[bool],
        carry_out: Callable[[Connection, Sequence[SessionId]], None],
        *,
        is_last: bool,
    ) -> SweptBatch:
        if not found:
            return SweptBatch(0, 0.0, 0.0, is_last=True)
        claim = _claim(and_(due, SESSION.c.id.in_([one.session_id for one in found])))
        began = time.monotonic()

        def work(connection: Connection) -> int:
            nonlocal began
            # From here on others wait, until the commit that follows; what this one has waited for is not its own.
            began = time.monotonic()
            claimed = [SessionId(row.id) for row in connection.execute(claim)]
            if claimed:
                carry_out(connection, claimed)
            return len(claimed)

        # Of processes that found the same ones, the first to write claims them all; the others find nothing due.
        async with self._guard([(one.tenant_id, one.session_id) for one in found]):
            while True:
                try:
                    asked_at = time.monotonic()
                    count = await self._database.write(work, is_patient=True)
                    return SweptBatch(count, began - asked_at, time.monotonic() - began, is_last)
                except LongJournal as long:
                    await shorten(self._database, long.session_ids)


def _found(chosen: Select[tuple[str, str, int]], connection: Connection) -> list[_Found]:
    return [_Found(TenantId(row.tenant_id), SessionId(row.id), row.last_sequence) for row in connection.execute(chosen)]


def _of_short_journals(found: Sequence[_Found]) -> Sequence[_Found]:
    """The first of them, as many as have no more events together than are removed in a transaction; one at least."""
    counts = itertools.accumulate(one.last_sequence for one in found)
    return found[: max(1, sum(count <= EVENTS_PER_PURGE_MAX for count in counts))]


def _claim(due: ColumnElement[bool]) -> Select[tuple[str]]:
    # Locked where others write rows at the same time (PostgreSQL); what they hold is left to the next sweep.
    return select(SESSION.c.id).where(due).order_by(SESSION.c.id).with_for_update(skip_locked=True)


def _expire(connection: Connection, due: Sequence[SessionId], now: datetime) -> None:
    write_same_event(connection, due, SessionEventType.SESSION_EXPIRED, now)
    connection.execute(_EXPIRE, {"session_ids": due, "now": now})


def _purge(connection: Connection, stopped: Sequence[SessionId], now: datetime) -> None:
    require_short(connection, stopped)
    # Of a purged session its stops, and what its purge tells, stay in the journal.
    forget_events(connection, stopped)
    write_same_event(connection, stopped, SessionEventType.SESSION_PURGED, now)
    remove_sessions(connection, stopped)


def remove_sessions(connection: Connection, session_ids: Sequence[str]) -> int:
    """Remove sessions and all that is their own; returns how many there were."""
    connection.execute(delete(REGISTERED_CELLS).where(REGISTERED_CELLS.c.session_id.in_(session_ids)))
    return connection.execute(delete(SESSION).where(SESSION.c.id.in_(session_ids))).rowcount
