"""Sessions that tick, on every database: each tick once, missed ones as one, whoever leads."""

import asyncio
from datetime import UTC, datetime, timedelta

import pytest

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.ticking_sessions import SqlTickingSessions
from subgraph.domain import sessions
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)
MOST = 100


async def ticking(database: Database, interval: timedelta | None = 10 * SECOND) -> Session:
    change = sessions.create(NewSession(tick_interval=interval), TenantId("tenant"), "ann", NOW)
    await SqlSessionStore(database).commit(change)
    return change.created[0]


async def told(database: Database) -> list[tuple[object, object]]:
    """Number, and how many were missed, of each tick."""
    entries = await SqlJournal(database).entries_after(0, 1_000)
    payloads = [entry.event.payload for entry in entries if entry.event.type is SessionEventType.SESSION_TICK]
    return [(payload["number"], payload["missed"]) for payload in payloads if payload is not None]


async def test_a_session_ticks_at_its_interval_and_not_before(database: Database) -> None:
    await ticking(database)
    await ticking(database, None)
    ticks = SqlTickingSessions(database)
    for seconds in (0, 5, 9, 10, 11, 19, 20, 20, 31):
        await ticks.tick(NOW + seconds * SECOND, MOST)
    assert await told(database) == [(1, 0), (2, 0), (3, 0)]


async def test_ticks_that_were_missed_are_told_as_one_and_the_next_is_on_the_grid(database: Database) -> None:
    await ticking(database)
    ticks = SqlTickingSessions(database)
    for seconds in (10, 57, 59, 60):
        await ticks.tick(NOW + seconds * SECOND, MOST)
    assert await told(database) == [(1, 0), (5, 3), (6, 0)]


async def test_leaders_at_the_same_time_tell_no_tick_twice(database: Database) -> None:
    for _ in range(20):
        await ticking(database)
    for seconds in (10, 20):
        ticks = [SqlTickingSessions(database) for _ in range(5)]
        await asyncio.gather(*(each.tick(NOW + seconds * SECOND, MOST) for each in ticks))
    assert sorted(await told(database)) == [(1, 0)] * 20 + [(2, 0)] * 20


async def test_a_session_that_ended_or_ran_out_of_time_ticks_no_more(database: Database) -> None:
    ended = await ticking(database)
    await SqlSessionStore(database).commit(sessions.end(ended, actor="ann", now=NOW))
    await ticking(database)
    await SqlTickingSessions(database).tick(NOW + timedelta(days=1_000), MOST)
    assert await told(database) == []


async def test_more_than_fit_into_one_write_are_told_by_the_next(database: Database) -> None:
    for _ in range(5):
        await ticking(database)
    ticks = SqlTickingSessions(database)
    assert [await ticks.tick(NOW + 10 * SECOND, 2) for _ in range(4)] == [2, 2, 1, 0]
    assert await told(database) == [(1, 0)] * 5
