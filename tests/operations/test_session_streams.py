"""Streams of events: who reads too slowly is told where to go on, and whose events a caller may follow."""

import asyncio
import random
from collections.abc import AsyncIterator
from datetime import UTC, datetime

import pytest

from subgraph.domain import sessions
from subgraph.domain.access import ALL_SCOPES, Caller, Scope
from subgraph.domain.errors import NotFound
from subgraph.domain.ids import SessionId, TenantId
from subgraph.domain.journal import SessionEventType
from subgraph.domain.journal_cursor import encode_position
from subgraph.operations.journal.journal_feed import ENTRIES_BUFFERED_MAX
from subgraph.operations.journal.session_events import REPLAY_PAGE, EventsWanted
from subgraph.operations.ports import SlowConsumer
from tests.support.journal_in_memory import JournalInMemory
from tests.support.journal_world import JournalWorld, first_of

pytestmark = pytest.mark.anyio

NOW = datetime(2026, 3, 1, tzinfo=UTC)
TENANT = TenantId("tenant")
SOURCE = "trains"
ANN, BOB = (Caller(TENANT, owner, frozenset({Scope.SESSION_READ})) for owner in ("ann", "bob"))


@pytest.fixture
async def world() -> AsyncIterator[JournalWorld]:
    made = JournalWorld(JournalInMemory(), TENANT, random.Random(0))
    yield made
    await made.process.kill()


async def test_a_reader_that_falls_behind_gets_what_waits_and_then_the_cursor_to_go_on_with(
    world: JournalWorld,
) -> None:
    session = await world.new_session(source=SOURCE)
    more = 2 * ENTRIES_BUFFERED_MAX
    stream = world.process.events.follow(ANN, EventsWanted(session.id), None)
    asking = asyncio.create_task(first_of(stream, 1))
    await asyncio.sleep(0.05)
    await world.tick(session, 1)
    told = await asking
    await world.tick(session, more)
    async with asyncio.timeout(30):
        while world.process.feed.position < 2 + more:
            await asyncio.sleep(0.005)
    told += await first_of(stream, ENTRIES_BUFFERED_MAX)
    with pytest.raises(SlowConsumer) as cut:
        await anext(stream)
    rest = await first_of(
        world.process.events.follow(ANN, EventsWanted(session.id), cut.value.after), 1 + more - len(told)
    )
    assert [entry.sequence for entry in (*told, *rest)] == list(range(2, 3 + more))


async def test_a_caller_follows_its_own_sessions_and_with_tenant_read_the_tenants(world: JournalWorld) -> None:
    mine, others = await world.new_session(source=SOURCE), await world.new_session("bob", source=SOURCE)
    foreign = await world.new_session(tenant_id=TenantId("another tenant"), source=SOURCE)
    wanted, start = EventsWanted(data_source=SOURCE), "WzBd"
    everybody = Caller(TENANT, "carl", ALL_SCOPES)
    seen = {}
    for caller in (ANN, BOB, everybody):
        stream = world.process.events.follow(caller, wanted, start)
        count = 2 if caller is everybody else 1
        seen[caller] = await first_of(stream, count)
        live = asyncio.create_task(first_of(stream, count))
        for session in (foreign, mine, others):
            await world.tick(session, 1)
        seen[caller] += await live
    assert {entry.event.session_id for entry in seen[ANN]} == {mine.id}
    assert {entry.event.session_id for entry in seen[BOB]} == {others.id}
    assert {entry.event.session_id for entry in seen[everybody]} == {mine.id, others.id}


async def test_the_stream_of_a_session_one_may_not_see_is_that_of_one_that_is_not_there(world: JournalWorld) -> None:
    session = await world.new_session("bob", source=SOURCE)
    with pytest.raises(NotFound) as refused:
        await anext(world.process.events.follow(ANN, EventsWanted(session.id), None))
    assert refused.value.message == NotFound("Session", session.id).message


@pytest.mark.parametrize("types", [None, frozenset({SessionEventType.SESSION_TICK})])
async def test_who_sees_a_session_as_the_tenants_main_follows_it_no_further_than_its_stop(
    world: JournalWorld, types: frozenset[SessionEventType] | None
) -> None:
    creation = sessions.create_main(TENANT, "ann", NOW)
    await world.store.commit(creation)
    (main,) = creation.created
    streams = [world.process.events.follow(caller, EventsWanted(main.id, types=types), None) for caller in (ANN, BOB)]
    following = [asyncio.create_task(first_of(stream, 1)) for stream in streams]
    await asyncio.sleep(0.05)
    await world.tick(main, 1)
    for told in await asyncio.gather(*following):
        assert [entry.event.type for entry in told] == [SessionEventType.SESSION_TICK]
    deletion = sessions.delete(main, actor="ann", now=NOW)
    await world.store.commit(deletion)
    restoration = sessions.restore(deletion.updated[0], actor="ann", now=NOW)
    await world.store.commit(restoration)
    await world.tick(restoration.updated[0], 1)
    of_ann, of_bob = streams
    stop, restored = [SessionEventType.SESSION_DELETED], [SessionEventType.SESSION_RESTORED]
    if types is not None:
        stop = restored = []
    assert [entry.event.type for entry in await first_of(of_bob, len(stop))] == stop
    with pytest.raises(NotFound):
        await first_of(of_bob, 1)
    seen = [entry.event.type for entry in await first_of(of_ann, len(stop + restored) + 1)]
    assert seen == [*stop, *restored, SessionEventType.SESSION_TICK]


async def test_who_replays_a_long_journal_reads_no_page_of_it_after_it_may_not_see_the_session(
    world: JournalWorld,
) -> None:
    creation = sessions.create_main(TENANT, "ann", NOW)
    await world.store.commit(creation)
    (main,) = creation.created
    await world.tick(main, 2 * REPLAY_PAGE)
    stream = world.process.events.follow(BOB, EventsWanted(main.id), encode_position(0))
    await first_of(stream, 1)
    await world.store.commit(sessions.delete(main, actor="ann", now=NOW))
    await first_of(stream, REPLAY_PAGE - 1)
    with pytest.raises(NotFound):
        await first_of(stream, 1)


async def test_by_id_a_deleted_session_is_one_that_is_not_there_and_the_audit_log_tells_of_it(
    world: JournalWorld,
) -> None:
    session, events = await world.new_session(source=SOURCE), world.process.events
    await world.store.commit(sessions.delete(session, actor="ann", now=NOW))
    for wanted in (EventsWanted(session.id), EventsWanted(SessionId("never"))):
        not_there = NotFound("Session", str(wanted.session_id), ("sessionId",))
        assert wanted.session_id is not None
        for after in (None, encode_position(0)):
            assert await events.pages(ANN, [wanted.session_id], None, 10, after) == {}
            with pytest.raises(NotFound) as refused:
                await anext(events.follow(ANN, wanted, after))
            assert (refused.value.message, refused.value.path) == (not_there.message, not_there.path)
    told_types = [entry.event.type for entry in (await events.audit_log(ANN, None, 10, None)).items]
    assert told_types == [SessionEventType.SESSION_STARTED, SessionEventType.SESSION_DELETED]
