"""Purges of sessions with long journals, on every database: bounded transactions, and whole when they are cut short."""

from datetime import UTC, datetime, timedelta

import pytest

from subgraph.adapters.sql import journal_shortening
from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.session_sweeps import SqlSessionSweeps
from subgraph.domain import sessions
from subgraph.domain.errors import RevisionConflict
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import SessionEventType, event_of
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session

pytestmark = pytest.mark.anyio

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
T = SessionEventType
ALL = 10_000


@pytest.fixture(autouse=True)
def _short_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(journal_shortening, "ENTRIES_PER_WRITE_MAX", 3)


async def ticked(database: Database) -> Session:
    """A session that has ticked ten times, and of which tiles were registered."""
    change = sessions.create(NewSession(), TENANT, "ann", NOW)
    await SqlSessionStore(database).commit(change)
    (session,) = change.created
    ticks = [event_of(session, T.SESSION_TICK, None, NOW) for _ in range(10)]
    await SqlJournal(database).append([*ticks, event_of(session, T.TILES_REGISTERED, "ann", NOW)])
    return session


async def told(database: Database) -> list[SessionEventType]:
    return [entry.event.type for entry in await SqlJournal(database).entries_after(0, ALL)]


async def test_a_session_with_a_long_journal_is_purged_as_any_other(database: Database) -> None:
    session = await ticked(database)
    await SqlSessionStore(database).commit(sessions.purge(session, actor="eve", now=NOW))
    assert await told(database) == [T.SESSION_DELETED, T.SESSION_PURGED]


async def test_a_decision_to_purge_is_carried_out_on_the_session_as_it_is_then(database: Database) -> None:
    session = await ticked(database)
    await SqlSessionStore(database).change(
        TENANT, session.id, lambda found: sessions.purge(found or session, actor="eve", now=NOW)
    )
    assert await told(database) == [T.SESSION_DELETED, T.SESSION_PURGED]
    assert await SqlSessionStore(database).sessions(TENANT, [session.id]) == {}


async def test_a_sweep_purges_sessions_with_long_journals(database: Database) -> None:
    store = SqlSessionStore(database)
    for session in [await ticked(database) for _ in range(2)]:
        await store.commit(sessions.end(session, actor="ann", now=NOW))
    later = NOW + timedelta(days=31)
    assert (await SqlSessionSweeps(database).purge_stopped(NOW + timedelta(days=1), later, 100)).count == 2
    assert sorted(await told(database)) == sorted([T.SESSION_ENDED, T.SESSION_PURGED] * 2)


async def test_a_purge_that_is_refused_or_cut_short_leaves_all_that_anybody_did(database: Database) -> None:
    session = await ticked(database)
    store, newest = SqlSessionStore(database), await SqlJournal(database).newest_position()
    changed = sessions.end(session, actor="ann", now=NOW).updated[0]
    with pytest.raises(RevisionConflict):
        await store.commit(sessions.purge(changed, actor="eve", now=NOW))
    assert await told(database) == [T.SESSION_STARTED, T.TILES_REGISTERED]
    assert await SqlJournal(database).newest_position() == newest
    await store.commit(sessions.purge(session, actor="eve", now=NOW))
    assert await told(database) == [T.SESSION_DELETED, T.SESSION_PURGED]
