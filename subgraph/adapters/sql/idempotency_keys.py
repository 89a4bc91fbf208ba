"""Owns idempotency keys in SQL: each is inserted first, in the transaction of its mutation."""

from datetime import datetime

from sqlalchemy import ColumnElement, Connection, Select, and_, delete, select, tuple_

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.tables import IDEMPOTENCY_KEY
from subgraph.adapters.sql.upsert import upsert
from subgraph.domain.idempotency import IdempotencyKey
from subgraph.domain.ids import SessionId
from subgraph.domain.sessions import Session
from subgraph.operations.sessions.session_ports import KeyUse, KeyUsed

_T = IDEMPOTENCY_KEY.c


class SqlIdempotencyKeys:
    """The port IdempotencyKeyStore on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def use_of(self, key: IdempotencyKey) -> KeyUse | None:
        """What a key was used for, if it was and counts."""
        row = await self._database.read(lambda connection: connection.execute(_use(key)).one_or_none())
        return None if row is None else KeyUse(SessionId(row.session_id), row.fingerprint)

    async def forget(self, used_before: datetime, limit: int) -> int:
        """Delete the oldest keys, at most so many."""
        identity = (_T.tenant_id, _T.owner_id, _T.operation, _T.key)
        oldest = select(*identity).where(_T.created_at < used_before).order_by(_T.created_at).limit(limit)
        forgetting = delete(IDEMPOTENCY_KEY).where(tuple_(*identity).in_(oldest))
        return await self._database.write_apart(lambda connection: connection.execute(forgetting).rowcount)


def write_key(connection: Connection, key: IdempotencyKey, made: Session) -> None:
    """Note what is made with a key, in the transaction that makes it. Waits for another that is doing so.

    Raises:
        KeyUsed: it was used before.
    """
    connection.execute(delete(IDEMPOTENCY_KEY).where(_is(key), _T.created_at < key.stale_before))
    row = {
        "tenant_id": key.tenant_id,
        "owner_id": key.owner_id,
        "operation": key.operation,
        "key": key.text,
        "fingerprint": key.fingerprint,
        "session_id": made.id,
        "created_at": made.created_at,
    }
    if connection.execute(upsert(connection, IDEMPOTENCY_KEY).values(**row).on_conflict_do_nothing()).rowcount == 0:
        used = connection.execute(_use(key)).one()
        raise KeyUsed(KeyUse(SessionId(used.session_id), used.fingerprint))


def _use(key: IdempotencyKey) -> Select[tuple[str, str]]:
    return select(_T.session_id, _T.fingerprint).where(_is(key), _T.created_at >= key.stale_before)


def _is(key: IdempotencyKey) -> ColumnElement[bool]:
    return and_(
        _T.tenant_id == key.tenant_id,
        _T.owner_id == key.owner_id,
        _T.operation == key.operation,
        _T.key == key.text,
    )
