"""Owns the sessions that the benchmark has swept: many with an end far off, which is then put into the past."""

from datetime import datetime, timedelta
from functools import partial
from uuid import uuid4

from sqlalchemy import Connection, func, insert, select, text, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.rows import session_values
from subgraph.adapters.sql.tables import SESSION
from subgraph.domain import sessions
from subgraph.domain.access import Caller
from subgraph.domain.expiry import ExpiryPolicy
from subgraph.domain.new_session import NewSession

ROWS_PER_STATEMENT = 5_000
FAR_OFF = timedelta(days=3_650)
_STEP = timedelta(milliseconds=1)
_EARLIER = {
    "sqlite": text("strftime('%Y-%m-%d %H:%M:%f', expires_at, :by) || '000'"),
    "postgresql": text("expires_at + CAST(CAST(:by AS text) AS interval)"),
}


async def seed(database: Database, caller: Caller, count: int, now: datetime) -> None:
    """Add so many ACTIVE sessions that expire far off, a millisecond after each other."""
    wanted = NewSession(expiry_policy=ExpiryPolicy.FIXED, ttl=timedelta(hours=1))
    (template,) = sessions.create(wanted, caller.tenant_id, caller.owner_id, now).created
    common = session_values(template)
    for begin in range(0, count, ROWS_PER_STATEMENT):
        rows = []
        for number in range(begin, min(count, begin + ROWS_PER_STATEMENT)):
            name, created_at = f"session {number:09}", now - timedelta(days=30) + number * _STEP
            times = dict.fromkeys(("created_at", "updated_at", "last_active_at"), created_at)
            names = dict.fromkeys(("display_name", "unique_name", "search_name"), name)
            end = {"expires_at": now + FAR_OFF + number * _STEP}
            rows.append({**common, **times, **names, **end, "id": str(uuid4())})
        await database.write(partial(_insert, rows))
    async with database.writing() as connection:
        await connection.execute(text("ANALYZE"))


async def let_expire(database: Database, count: int, seeded_at: datetime, until: datetime, *, at_once: bool) -> None:
    """Have them all expired: a millisecond after each other up to a moment, or every one of them at that moment.

    At once means in no order at all: ties go by id, so sessions of a batch lie together in no table and in no index.
    """
    earlier = seeded_at + FAR_OFF + count * _STEP - until
    for begin in range(0, count, ROWS_PER_STATEMENT):
        first = seeded_at + FAR_OFF + begin * _STEP
        some = SESSION.c.expires_at.between(first, first + (ROWS_PER_STATEMENT - 1) * _STEP)
        async with database.writing() as connection:
            end = _EARLIER[connection.dialect.name].bindparams(by=f"-{earlier.total_seconds():.3f} seconds")
            expired = update(SESSION).where(SESSION.c.state == "ACTIVE", some)
            await connection.execute(expired.values(expires_at=until if at_once else end))


async def is_swept(database: Database, now: datetime) -> bool:
    """Whether no ACTIVE session's time has run out."""
    due = select(SESSION.c.id).where(SESSION.c.state == "ACTIVE", SESSION.c.expires_at <= now).limit(1)
    async with database.reading() as connection:
        return await connection.scalar(due) is None


async def swept_count(database: Database) -> int:
    """How many sessions are written as EXPIRED."""
    async with database.reading() as connection:
        return await connection.scalar(select(func.count()).where(SESSION.c.state == "EXPIRED")) or 0


def _insert(rows: list[dict[str, object]], connection: Connection) -> None:
    connection.execute(insert(SESSION), rows)
