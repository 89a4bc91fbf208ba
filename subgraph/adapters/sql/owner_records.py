"""Owns an owner's data in SQL: found by the owner's id, and deleted in transactions of bounded size."""

from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

from sqlalchemy import ColumnElement, Connection, Delete, Select, Update, bindparam, delete, func, select, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import is_text, payload_of, payload_text, session_of
from subgraph.adapters.sql.tables import ASSIGNMENT_HISTORY, FLEET, IDEMPOTENCY_KEY, SESSION, SESSION_EVENT
from subgraph.domain.erasure import ERASED, Traces
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.sessions import Session
from subgraph.operations.sessions.session_ports import ChangeGuard, unguarded

ROWS_PER_WRITE = 1_000
IDS_PER_STATEMENT = 500
ENTRIES_PER_READ = 2_000

_NAMING = ("actor", "agent_id", "message", "payload_json")
"""What of an entry can name others than its own session and its owner."""


class SqlOwnerRecords:
    """The port OwnerRecords on SQL."""

    def __init__(self, database: Database, guard: ChangeGuard = unguarded) -> None:
        self._database = database
        self._guard = guard

    async def session_count(self, tenant_id: TenantId, owner_id: str) -> int:
        """How many sessions the owner has."""
        if not is_text(owner_id):
            return 0
        counted = select(func.count()).where(*_of_owner(SESSION, tenant_id, owner_id))
        return await self._database.read(lambda it: it.scalar(counted) or 0)

    async def some_sessions(self, tenant_id: TenantId, owner_id: str, limit: int) -> list[Session]:
        """Some of the owner's sessions."""
        if not is_text(owner_id):
            return []
        some = select(SESSION).where(*_of_owner(SESSION, tenant_id, owner_id)).limit(limit)
        return await self._database.read(lambda it: [session_of(row) for row in it.execute(some)])

    async def known_ids(self, tenant_id: TenantId, owner_id: str, limit: int) -> list[SessionId]:
        """The ids of sessions that there are, and of purged ones."""
        if not is_text(owner_id):
            return []
        living = select(SESSION.c.id).where(*_of_owner(SESSION, tenant_id, owner_id))
        told = select(SESSION_EVENT.c.session_id).where(*_of_owner(SESSION_EVENT, tenant_id, owner_id))
        known = living.union(told).limit(limit)
        return await self._database.read(lambda it: [SessionId(one) for one in it.scalars(known)])

    async def has_unrelayed(self, tenant_id: TenantId, owner_id: str) -> bool:
        """Whether the relay has something to carry out of the owner's sessions."""
        if not is_text(owner_id):
            return False
        waiting = select(SESSION_EVENT.c.position).where(
            SESSION_EVENT.c.relayed_at.is_(None), *_of_owner(SESSION_EVENT, tenant_id, owner_id)
        )
        return await self._database.read(lambda it: it.scalar(waiting.limit(1)) is not None)

    async def forget(self, tenant_id: TenantId, traces: Traces) -> None:
        """Remove keys and terms of the owner's, and its traces in others' sessions and journal."""
        if not is_text(traces.owner_id):
            return
        keys = IDEMPOTENCY_KEY.c
        mine = (keys.tenant_id == tenant_id, keys.owner_id == traces.owner_id)
        await self._until_none_left(select(keys.key, keys.operation).where(*mine), _delete_keys(mine))
        for some in _chunks(sorted(traces.session_ids)):
            await self._forget_terms(some)
            await self._clear_others_sessions(tenant_id, SESSION.c.copied_from.in_(some), {"copied_from": None})
        await self._clear_others_sessions(tenant_id, SESSION.c.deleted_by == traces.owner_id, {"deleted_by": ERASED})
        await self._clear_others_entries(tenant_id, traces)

    async def forget_journal(self, tenant_id: TenantId, traces: Traces) -> None:
        """Remove all that the journal tells of these sessions of the owner's."""
        if not is_text(traces.owner_id):
            return
        entries = SESSION_EVENT.c
        for some in _chunks(sorted(traces.session_ids)):
            of_some = (*_of_owner(SESSION_EVENT, tenant_id, traces.owner_id), entries.session_id.in_(some))
            positions = select(entries.position).where(*of_some)
            await self._until_none_left(
                positions, lambda rows: delete(SESSION_EVENT).where(entries.position.in_(_firsts(rows)))
            )

    async def _forget_terms(self, session_ids: Sequence[str]) -> None:
        terms = ASSIGNMENT_HISTORY.c
        # All fleets, said one by one: the index of a session's terms begins with the fleet.
        of_sessions = (terms.fleet_id.in_(select(FLEET.c.id)), terms.session_id.in_(session_ids))
        await self._until_none_left(
            select(terms.epoch).where(*of_sessions),
            lambda rows: delete(ASSIGNMENT_HISTORY).where(*of_sessions, terms.epoch.in_(_firsts(rows))),
        )

    async def _clear_others_sessions(
        self, tenant_id: TenantId, bearing: ColumnElement[bool], cleared: dict[str, str | None]
    ) -> None:
        """Take a trace out of sessions of others. That is no change of theirs, yet it ends their copies as one does."""
        theirs = (SESSION.c.tenant_id == tenant_id, bearing)
        while True:
            rows = await self._read(select(SESSION.c.id).where(*theirs).limit(IDS_PER_STATEMENT))
            ids = [SessionId(row.id) for row in rows]
            if ids:
                async with self._guard([(tenant_id, one) for one in ids]):
                    await self._write(update(SESSION).where(*theirs, SESSION.c.id.in_(ids)).values(**cleared))
            if len(ids) < IDS_PER_STATEMENT:
                return

    async def _clear_others_entries(self, tenant_id: TenantId, traces: Traces) -> None:
        """Take the owner's name out of what the journal tells of others: what happened stays, who did it does not."""
        entries, after = SESSION_EVENT.c, 0
        told = select(entries.position, entries.type, *(entries[name] for name in _NAMING)).where(
            entries.tenant_id == tenant_id, entries.owner_id != traces.owner_id
        )
        while True:
            page = told.where(entries.position > after).order_by(entries.position).limit(ENTRIES_PER_READ)
            rows = await self._read(page)
            cleared = [values for row in rows if (values := _cleared(row, traces)) is not None]
            if cleared:
                # They tell nothing new, so they keep their positions and are not announced again.
                await self._write(_CLEAR, cleared)
            if len(rows) < ENTRIES_PER_READ:
                return
            after = rows[-1].position

    async def _until_none_left(self, wanted: Select[Any], removal: Callable[[Sequence[Any]], Delete]) -> None:
        while True:
            rows = await self._read(wanted.limit(ROWS_PER_WRITE))
            if rows:
                await self._write(removal(rows))
            if len(rows) < ROWS_PER_WRITE:
                return

    async def _read(self, query: Select[Any]) -> Sequence[Any]:
        return await self._database.read(lambda it: it.execute(query).all())

    async def _write(self, statement: Delete | Update, values: list[dict[str, Any]] | None = None) -> None:
        await self._database.write(partial(_execute, statement, values))


_CLEAR = (
    update(SESSION_EVENT)
    .where(SESSION_EVENT.c.position == bindparam("at"))
    .values({name: bindparam(f"new_{name}") for name in _NAMING})
)


def _cleared(row: Any, traces: Traces) -> dict[str, Any] | None:
    before = {name: getattr(row, name) for name in _NAMING}
    if not traces.in_texts([text for text in before.values() if text is not None], owner_counts=True):
        return None
    after = {name: None if text is None else traces.erased_from(text) for name, text in before.items()}
    payload = payload_of(row.payload_json)
    if payload is not None:
        erased = traces.erased_from_payload(row.type, payload)
        after["payload_json"] = row.payload_json if erased == payload else payload_text(erased)
    return None if after == before else {"at": row.position, **{f"new_{name}": text for name, text in after.items()}}


def _of_owner(table: Any, tenant_id: TenantId, owner_id: str) -> tuple[Any, Any]:
    return table.c.tenant_id == tenant_id, table.c.owner_id == owner_id


def _delete_keys(mine: tuple[Any, Any]) -> Callable[[Sequence[Any]], Delete]:
    return lambda rows: delete(IDEMPOTENCY_KEY).where(*mine, IDEMPOTENCY_KEY.c.key.in_(_firsts(rows)))


def _firsts(rows: Sequence[Any]) -> list[Any]:
    return [row[0] for row in rows]


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), IDS_PER_STATEMENT):
        yield ids[start : start + IDS_PER_STATEMENT]


def _execute(statement: Delete | Update, values: list[dict[str, Any]] | None, connection: Connection) -> None:
    if values is None:
        connection.execute(statement)
    else:
        connection.execute(statement, values)
