"""Owns ticking sessions in SQL: those that are due, and their ticks in the journal, each once."""

from datetime import datetime, timedelta
from functools import partial
from typing import Any

from sqlalchemy import Connection, Row, Select, or_, select, update

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import write_events
from subgraph.adapters.sql.rows import session_of
from subgraph.adapters.sql.tables import SESSION
from subgraph.domain.journal import SessionEvent, SessionEventType, event_of
from subgraph.domain.sessions import SessionState
from subgraph.domain.ticks import tick_due


class SqlTickingSessions:
    """The TickingSessions port on SQL."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def tick(self, now: datetime, most: int) -> int:
        """Tell a tick of sessions that are due one, and when they are due the next."""
        # Mostly none is due, and whoever only looks keeps no writer waiting.
        if not await self._database.read(lambda connection: connection.execute(_due(now).limit(1)).all()):
            return 0
        return await self._database.write(partial(_tick, now, most))


def _tick(now: datetime, most: int, connection: Connection) -> int:
    rows = connection.execute(_due(now).limit(most)).all()
    events = [event for row in rows if (event := _told(row, now, connection)) is not None]
    write_events(connection, events)
    return len(rows)


def _told(row: Row[Any], now: datetime, connection: Connection) -> SessionEvent | None:
    interval = timedelta(microseconds=row.tick_interval_microseconds)
    tick = tick_due(row.created_at, interval, row.next_tick_at, now)
    next_at = row.created_at + interval if tick is None else tick.next_at
    connection.execute(update(SESSION).where(SESSION.c.id == row.id).values(next_tick_at=next_at))
    if tick is None:
        return None
    payload = {"number": tick.number, "missed": tick.missed}
    return event_of(session_of(row), SessionEventType.SESSION_TICK, None, now, payload=payload)


def _due(now: datetime) -> Select[tuple[object, ...]]:
    return select(SESSION).where(
        SESSION.c.tick_interval_microseconds.is_not(None),
        SESSION.c.state == SessionState.ACTIVE.value,
        or_(SESSION.c.next_tick_at.is_(None), SESSION.c.next_tick_at <= now),
        or_(SESSION.c.expires_at.is_(None), SESSION.c.expires_at > now),
    )
