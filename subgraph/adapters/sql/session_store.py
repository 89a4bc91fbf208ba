"""Owns sessions and their journal in SQL: reads of one tenant, and changes that are written whole or not at all."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import msgspec
from sqlalchemy import Row, and_, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError
from sqlalchemy.ext.asyncio import AsyncConnection

from subgraph.adapters.sql.cursors import CreatedCursor, decode_cursor, encode_cursor
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.tables import SESSION, SESSION_EVENT
from subgraph.domain.errors import NameTaken, NotFound, RevisionConflict
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session, SessionChange, SessionEvent, SessionEventType, SessionState
from subgraph.operations.ports import MainExists, Page

IDS_PER_QUERY = 1_000


class SqlSessionStore:
    """The SessionStore port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def sessions(self, tenant_id: TenantId, session_ids: Sequence[SessionId]) -> dict[SessionId, Session]:
        """The tenant's sessions among the ids."""
        found: dict[SessionId, Session] = {}
        if not session_ids:
            return found
        async with self._database.reading() as connection:
            for start in range(0, len(session_ids), IDS_PER_QUERY):
                wanted = SESSION.c.id.in_(session_ids[start : start + IDS_PER_QUERY])
                rows = await connection.execute(select(SESSION).where(SESSION.c.tenant_id == tenant_id, wanted))
                found |= {SessionId(row.id): _session(row) for row in rows}
        return found

    async def main_session(self, tenant_id: TenantId) -> Session | None:
        """The tenant's main session, or None before its first contact."""
        wanted = select(SESSION).where(SESSION.c.tenant_id == tenant_id, SESSION.c.is_main)
        async with self._database.reading() as connection:
            row = (await connection.execute(wanted)).one_or_none()
        return None if row is None else _session(row)

    async def current_sessions(
        self, tenant_id: TenantId, data_source: str | None, first: int, after: str | None
    ) -> Page[Session]:
        """ACTIVE sessions, newest first, by keyset."""
        listed = [SESSION.c.tenant_id == tenant_id, SESSION.c.state == SessionState.ACTIVE.value]
        if data_source is not None:
            listed.append(SESSION.c.data_source == data_source)
        page = select(SESSION).where(*listed).order_by(SESSION.c.created_at.desc(), SESSION.c.id).limit(first + 1)
        if after is not None:
            cursor = decode_cursor(after)
            same_moment = and_(SESSION.c.created_at == cursor.created_at, SESSION.c.id > cursor.id)
            page = page.where(or_(SESSION.c.created_at < cursor.created_at, same_moment))
        async with self._database.reading() as connection:
            rows = (await connection.execute(page)).all()
            total = await connection.scalar(select(func.count()).select_from(SESSION).where(*listed))
        items = tuple(_session(row) for row in rows[:first])
        cursors = tuple(encode_cursor(CreatedCursor(item.created_at, item.id)) for item in items)
        return Page(items, cursors, len(rows) > first, total)

    async def commit(self, change: SessionChange) -> None:
        """Write sessions and events in one transaction, or nothing at all."""
        try:
            async with self._database.writing() as connection:
                # Updates first: an ended main makes way for the session that takes over its name.
                for session in change.updated:
                    await _update(connection, session)
                if change.created:
                    await connection.execute(insert(SESSION), [_session_values(one) for one in change.created])
                if change.events:
                    await connection.execute(insert(SESSION_EVENT), [_event_values(one) for one in change.events])
        except IntegrityError as error:
            raise await self._conflict(change, error) from error

    async def unrelayed_events(self, limit: int) -> list[SessionEvent]:
        """The oldest journal entries not yet marked as relayed, in commit order."""
        oldest = (
            select(SESSION_EVENT)
            .where(SESSION_EVENT.c.relayed_at.is_(None))
            .order_by(SESSION_EVENT.c.position)
            .limit(limit)
        )
        async with self._database.reading() as connection:
            return [_event(row) for row in await connection.execute(oldest)]

    async def mark_relayed(self, event_ids: Sequence[str]) -> None:
        """Remember that these entries were announced."""
        async with self._database.writing() as connection:
            for start in range(0, len(event_ids), IDS_PER_QUERY):
                marked = SESSION_EVENT.c.id.in_(event_ids[start : start + IDS_PER_QUERY])
                await connection.execute(update(SESSION_EVENT).where(marked).values(relayed_at=datetime.now(UTC)))

    async def _conflict(self, change: SessionChange, error: IntegrityError) -> Exception:
        """What a unique index refused, found out by asking: databases word their refusals differently."""
        async with self._database.reading() as connection:
            for session in change.created:
                in_tenant = SESSION.c.tenant_id == session.tenant_id
                if session.is_main and await connection.scalar(
                    select(SESSION.c.id).where(in_tenant, SESSION.c.is_main)
                ):
                    return MainExists(session.tenant_id)
                named = select(SESSION.c.id).where(in_tenant, SESSION.c.display_name == session.display_name)
                if holder := await connection.scalar(named):
                    return NameTaken(session.display_name, holder, ("displayName",))
        return error


async def _update(connection: AsyncConnection, session: Session) -> None:
    values = _session_values(session)
    del values["id"], values["tenant_id"]
    mine = and_(SESSION.c.id == session.id, SESSION.c.tenant_id == session.tenant_id)
    expected = SESSION.c.revision == session.revision - 1
    done = await connection.execute(update(SESSION).where(mine, expected).values(**values))
    if done.rowcount == 1:
        return
    revision = await connection.scalar(select(SESSION.c.revision).where(mine))
    if revision is None:
        raise NotFound("Session", session.id, ("id",))
    raise RevisionConflict(session.id, revision, ("expectedRevision",))


def _session_values(session: Session) -> dict[str, Any]:
    return {
        "id": session.id,
        "tenant_id": session.tenant_id,
        "owner_id": session.owner_id,
        "display_name": session.display_name,
        "is_main": session.is_main,
        "state": session.state.value,
        "revision": session.revision,
        "data_source": session.data_source,
        "type": session.type,
        "version": session.version,
        "utc_offset_microseconds": session.utc_offset // timedelta(microseconds=1),
        "details_json": msgspec.json.encode(session.details).decode(),
        "metadata_json": msgspec.json.encode(session.metadata).decode(),
        "created_at": session.created_at,
        "updated_at": session.updated_at,
        "ended_at": session.ended_at,
    }


def _session(row: Row[Any]) -> Session:
    return Session(
        id=SessionId(row.id),
        tenant_id=TenantId(row.tenant_id),
        owner_id=row.owner_id,
        display_name=row.display_name,
        is_main=row.is_main,
        state=SessionState(row.state),
        revision=row.revision,
        data_source=row.data_source,
        type=row.type,
        version=row.version,
        utc_offset=timedelta(microseconds=row.utc_offset_microseconds),
        details=msgspec.json.decode(row.details_json),
        metadata=msgspec.json.decode(row.metadata_json),
        created_at=row.created_at,
        updated_at=row.updated_at,
        ended_at=row.ended_at,
    )


def _event_values(one: SessionEvent) -> dict[str, Any]:
    return {
        "id": one.id,
        "tenant_id": one.tenant_id,
        "session_id": one.session_id,
        "sequence": one.sequence,
        "type": one.type.value,
        "actor": one.actor,
        "occurred_at": one.occurred_at,
        "data_source": one.data_source,
    }


def _event(row: Row[Any]) -> SessionEvent:
    return SessionEvent(
        id=row.id,
        tenant_id=TenantId(row.tenant_id),
        session_id=SessionId(row.session_id),
        sequence=row.sequence,
        type=SessionEventType(row.type),
        actor=row.actor,
        occurred_at=row.occurred_at,
        data_source=row.data_source,
    )
