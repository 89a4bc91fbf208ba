"""The journal on every database: numbered within sessions, read by position, and what stays of a purged session."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import text

from subgraph.adapters.sql.database import Database
from subgraph.adapters.sql.journal import SESSIONS_PER_READ, SqlJournal
from subgraph.adapters.sql.session_store import SqlSessionStore
from subgraph.adapters.sql.tables import CAME_BY_ITSELF
from subgraph.domain import sessions
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import COME_BY_THEMSELVES, SessionEventType, event_of, stops
from subgraph.domain.new_session import NewSession
from subgraph.domain.sessions import Session, SessionChange
from subgraph.operations.journal.journal import EntryFilter

pytestmark = pytest.mark.anyio

TENANT, OTHER_TENANT = TenantId("tenant"), TenantId("other tenant")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
ALL = 10_000


@pytest.fixture
def store(database: Database) -> SqlSessionStore:
    return SqlSessionStore(database)


@pytest.fixture
def journal(database: Database) -> SqlJournal:
    return SqlJournal(database)


async def new_session(
    store: SqlSessionStore, tenant_id: TenantId = TENANT, owner: str = "ann", source: str | None = None
) -> Session:
    change = sessions.create(NewSession(data_source=source), tenant_id, owner, NOW)
    await store.commit(change)
    return change.created[0]


async def test_an_event_is_read_with_all_its_facts(store: SqlSessionStore, journal: SqlJournal) -> None:
    session = await new_session(store)
    event = event_of(
        session,
        SessionEventType.TILE_HEALTH_CHANGED,
        None,
        NOW,
        message="halb fertig ⛏",
        payload={"count": 2.5, "tiles": [{"deep": None}, 2.5], "tilesByHealth": {}},
        agent_id="agent",
        run_id="run",
    )
    await journal.append([event])
    (_, entry) = await journal.entries_after(0, ALL)
    assert entry.event == event
    assert (entry.sequence, entry.id) == (2, f"{session.id}/2")


async def test_sequences_count_within_each_session_whoever_writes_and_however_many_at_once(
    store: SqlSessionStore, journal: SqlJournal
) -> None:
    one, other = await new_session(store), await new_session(store)
    tick = SessionEventType.SESSION_TICK
    await journal.append([event_of(session, tick, None, NOW) for session in (one, other, one)])
    await store.commit(sessions.end(one, actor="ann", now=NOW))
    await journal.append([event_of(other, tick, None, NOW)])
    await journal.append([event_of(session, tick, None, NOW) for session in (other, one)])
    told = await journal.entries_after(0, ALL)
    assert [entry.sequence for entry in told if entry.event.session_id == one.id] == [1, 2, 3, 4, 5]
    assert [entry.sequence for entry in told if entry.event.session_id == other.id] == [1, 2, 3, 4]
    assert [entry.position for entry in told] == sorted({entry.position for entry in told})


async def test_events_of_a_session_that_is_not_there_are_left_out(store: SqlSessionStore, journal: SqlJournal) -> None:
    session = await new_session(store)
    absent = sessions.create(NewSession(), TENANT, "ann", NOW).created[0]
    tick = SessionEventType.SESSION_TICK
    await journal.append([event_of(absent, tick, None, NOW), event_of(session, tick, None, NOW)])
    assert [entry.event.session_id for entry in await journal.entries_after(0, ALL)] == [session.id] * 2


async def test_entries_are_chosen_by_tenant_session_owner_source_and_type(
    store: SqlSessionStore, journal: SqlJournal
) -> None:
    trains, planes = await new_session(store, source="trains"), await new_session(store, owner="bob", source="planes")
    await new_session(store, OTHER_TENANT, source="trains")
    await store.commit(sessions.end(trains, actor="ann", now=NOW))

    async def chosen(wanted: EntryFilter, after: int = 0, up_to: int | None = None) -> list[tuple[str, int]]:
        found = await journal.entries(wanted, after, ALL, up_to)
        return [(entry.event.session_id, entry.sequence) for entry in found]

    ended = frozenset({SessionEventType.SESSION_ENDED})
    assert await chosen(EntryFilter(TENANT)) == [(trains.id, 1), (planes.id, 1), (trains.id, 2)]
    assert await chosen(EntryFilter(TENANT, session_ids=[planes.id])) == [(planes.id, 1)]
    assert await chosen(EntryFilter(TENANT, owner_id="bob")) == [(planes.id, 1)]
    assert await chosen(EntryFilter(TENANT, data_source="trains", types=ended)) == [(trains.id, 2)]
    first, second, *_ = await journal.entries_after(0, ALL)
    assert await chosen(EntryFilter(TENANT), after=first.position) == [(planes.id, 1), (trains.id, 2)]
    assert await chosen(EntryFilter(TENANT), first.position, second.position) == [(planes.id, 1)]
    assert await chosen(EntryFilter(TenantId("nobody"))) == []


async def test_of_many_sessions_each_ones_next_entries_are_read_and_nobody_elses(
    store: SqlSessionStore, journal: SqlJournal
) -> None:
    several = [await new_session(store) for _ in range(SESSIONS_PER_READ + 1)]
    foreign = await new_session(store, OTHER_TENANT)
    ids = [*(one.id for one in several), foreign.id, SessionId("never")]
    tick, ended = SessionEventType.SESSION_TICK, SessionEventType.SESSION_ENDED
    await journal.append([event_of(one, tick, None, NOW) for one in [*several, *several, foreign]])
    last = several[-1]
    await store.commit(sessions.end(last, actor="ann", now=NOW))

    async def numbers(types: frozenset[SessionEventType] | None, after: int, limit: int) -> dict[str, list[int]]:
        found = await journal.entries_of_each(TENANT, ids, types, after, limit)
        assert list(found) == ids
        assert all(entry.event.session_id == one for one, told in found.items() for entry in told)
        return {one: [entry.sequence for entry in told] for one, told in found.items()}

    first_two: dict[str, list[int]] = {one.id: [1, 2] for one in several}
    assert await numbers(None, 0, 2) == first_two | {foreign.id: [], "never": []}
    ticked = await journal.entries(EntryFilter(TENANT, [last.id], types=[tick]), 0, 1)
    assert (await numbers(None, ticked[0].position, ALL))[last.id] == [3, 4]
    assert await numbers(frozenset({ended}), 0, ALL) == {one: [4] if one == last.id else [] for one in ids}
    assert await journal.entries_of_each(TENANT, [], None, 0, ALL) == {}


async def test_of_a_purged_session_stay_its_stops_and_its_purge_and_positions_never_come_back(
    store: SqlSessionStore, journal: SqlJournal
) -> None:
    session = await new_session(store, source="trains")
    await journal.append([event_of(session, SessionEventType.SESSION_TICK, None, NOW)])
    newest = await journal.newest_position()
    await store.commit(sessions.purge(session, actor="eve", now=NOW))
    told = await journal.entries_after(0, ALL)
    # Who follows stops hears of this one too: it was ACTIVE until its purge.
    assert [(entry.sequence, entry.event.type, entry.event.actor) for entry in told] == [
        (3, SessionEventType.SESSION_DELETED, "eve"),
        (4, SessionEventType.SESSION_PURGED, "eve"),
    ]
    assert told[0].position > newest
    assert await journal.unrelayed(ALL) == told


@pytest.mark.parametrize("stop", [sessions.end, sessions.delete])
async def test_a_reader_that_is_behind_when_a_stopped_session_is_purged_is_told_of_its_stop_once(
    store: SqlSessionStore, journal: SqlJournal, stop: Callable[..., SessionChange]
) -> None:
    session = await new_session(store, source="trains")
    behind = await journal.newest_position()
    stopped = stop(session, actor="ann", now=NOW)
    await store.commit(stopped)
    await store.commit(sessions.purge(stopped.updated[0], actor="eve", now=NOW))
    told = await journal.entries_after(behind, ALL)
    assert [entry.event for entry in told if stops(entry.event)] == list(stopped.events)
    assert told[-1].event.type is SessionEventType.SESSION_PURGED
    assert await journal.unrelayed(ALL) == told


async def test_what_came_by_itself_is_forgotten_by_age_and_what_anybody_did_is_not(
    store: SqlSessionStore, journal: SqlJournal
) -> None:
    session = await new_session(store)
    for age_days in (40, 35, 10):
        at = NOW - timedelta(days=age_days)
        by_themselves = [event_of(session, one, None, at) for one in sorted(COME_BY_THEMSELVES)]
        await journal.append([*by_themselves, event_of(session, SessionEventType.TILES_REGISTERED, "ann", at)])
    kinds = len(COME_BY_THEMSELVES)
    before = NOW - timedelta(days=30)
    assert await journal.forget_old(before, ALL) == 0, "nothing is forgotten that was not relayed"
    await journal.mark_relayed([entry.position for entry in await journal.entries_after(0, ALL)])
    assert [await journal.forget_old(before, kinds + 1) for _ in range(3)] == [kinds + 1, kinds - 1, 0]
    left = [entry.event for entry in await journal.entries_after(0, ALL)]
    assert [one.type for one in left if one.type not in COME_BY_THEMSELVES] == [
        SessionEventType.SESSION_STARTED,
        *[SessionEventType.TILES_REGISTERED] * 3,
    ]
    assert {one.occurred_at for one in left if one.type in COME_BY_THEMSELVES} == {NOW - timedelta(days=10)}


async def test_a_cursor_from_before_what_was_forgotten_goes_on_with_what_is_left(
    store: SqlSessionStore, journal: SqlJournal
) -> None:
    session = await new_session(store)
    cursor = await journal.newest_position()
    await journal.append([event_of(session, SessionEventType.SESSION_TICK, None, NOW) for _ in range(4)])
    await journal.mark_relayed([entry.position for entry in await journal.entries_after(0, ALL)])
    assert await journal.forget_old(NOW + timedelta(days=1), ALL) == 4
    await journal.append([event_of(session, SessionEventType.TILES_REGISTERED, "ann", NOW)])
    left = await journal.entries(EntryFilter(TENANT, [session.id]), cursor, ALL)
    assert [(entry.sequence, entry.event.type) for entry in left] == [(6, SessionEventType.TILES_REGISTERED)]


async def test_what_retention_looks_for_is_found_by_an_index(database: Database) -> None:
    async with database.reading() as connection:
        explain = "EXPLAIN QUERY PLAN"
        if connection.dialect.name == "postgresql":
            # A table as small as a test's it would read whole.
            explain = "EXPLAIN"
            await connection.execute(text("SET LOCAL enable_seqscan = off"))
        old = f"{CAME_BY_ITSELF} AND occurred_at < '2026-01-01'"
        query = f"SELECT position FROM session_event WHERE {old} ORDER BY occurred_at"
        plan = (await connection.execute(text(f"{explain} {query}"))).all()
    assert "ix_session_event_by_itself" in str(plan)
