"""Cursors of entries which an erasure or the retention took: good for ever, on every store of the journal."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime, timedelta

import pytest

from subgraph.adapters.sql.journal import SqlJournal
from subgraph.adapters.sql.owner_records import SqlOwnerRecords
from subgraph.domain.erasure import Traces
from subgraph.domain.errors import InvalidInput
from subgraph.domain.ids import TenantId
from subgraph.domain.journal import JournalEntry, SessionEventType
from subgraph.domain.journal_cursor import encode_position
from subgraph.domain.sessions import Session
from subgraph.operations.journal.session_events import EventsWanted
from tests.support.journal_in_memory import JournalInMemory
from tests.support.journal_world import JournalWorld, Kept, first_of

pytestmark = pytest.mark.anyio

TENANT = TenantId("tenant")
NOW = datetime(2026, 3, 1, tzinfo=UTC)
TICK = SessionEventType.SESSION_TICK
ALL = 10_000
SECONDS_MAX = 20

Forget = Callable[[Kept, Session], Awaitable[None]]


async def by_erasure(kept: Kept, session: Session) -> None:
    records = kept if isinstance(kept, JournalInMemory) else SqlOwnerRecords(kept)
    await records.forget_journal(TENANT, Traces("ann", [session.id]))


async def by_retention(kept: Kept, session: Session) -> None:
    journal = kept if isinstance(kept, JournalInMemory) else SqlJournal(kept)
    await journal.mark_relayed([entry.position for entry in await journal.unrelayed(ALL)])
    assert await journal.forget_old(NOW + timedelta(days=1), ALL) == 3


async def taken(stream: AsyncIterator[JournalEntry], count: int) -> list[int]:
    """The sequences of so many entries of a stream."""
    return [entry.sequence for entry in await first_of(stream, count)]


async def paged(world: JournalWorld, cursor: str) -> list[int]:
    """The sequences of what follows a cursor, page by page."""
    read: list[int] = []
    while True:
        page = await world.process.events.audit_log(world.caller, None, 2, cursor)
        read += [entry.sequence for entry in page.items]
        if not page.has_next:
            return read
        cursor = page.cursors[-1]


@pytest.mark.parametrize("forget", [by_erasure, by_retention])
async def test_a_cursor_of_the_newest_entry_outlives_it_and_goes_on_without_gap_or_repeat(
    world: JournalWorld, forget: Forget
) -> None:
    session = await world.new_session()
    await world.tick(session, 3)
    newest = await world.journal.newest_position()
    cursor = encode_position(newest)
    followed = world.process.events.follow(world.caller, EventsWanted(), encode_position(0))
    assert await taken(followed, 4) == [1, 2, 3, 4]
    await forget(world.kept, session)

    assert await world.journal.newest_position() < newest
    assert await world.journal.highest_position() >= newest
    assert await paged(world, cursor) == []
    resumed = world.process.events.follow(world.caller, EventsWanted(), cursor)
    waiting = asyncio.create_task(taken(resumed, 2))
    await asyncio.sleep(0.05)
    await world.tick(session, 2)
    assert await waiting == [5, 6]
    assert await taken(followed, 2) == [5, 6]

    await world.restart(None)
    await world.tick(session)
    assert await paged(world, cursor) == [5, 6, 7]
    assert await taken(world.process.events.follow(world.caller, EventsWanted(), cursor), 3) == [5, 6, 7]


async def test_a_journal_of_which_nothing_is_left_takes_all_its_cursors_and_hands_out_no_position_again(
    world: JournalWorld,
) -> None:
    session = await world.new_session()
    await world.tick(session, 3)
    told = await world.journal.entries_after(0, ALL)
    await by_erasure(world.kept, session)
    assert await world.journal.entries_after(0, ALL) == []
    await world.restart(None)
    for entry in told:
        assert await paged(world, encode_position(entry.position)) == []
    await world.tick(session)
    (entry,) = await world.journal.entries_after(0, ALL)
    assert (entry.sequence, entry.position > told[-1].position) == (5, True)


async def test_before_the_first_entry_no_position_was_handed_out(world: JournalWorld) -> None:
    assert (await world.journal.newest_position(), await world.journal.highest_position()) == (0, 0)


async def test_a_cursor_that_was_never_handed_out_is_refused_whatever_was_forgotten(world: JournalWorld) -> None:
    session = await world.new_session()
    await by_erasure(world.kept, session)
    never = encode_position(await world.journal.highest_position() + 1)
    events = world.process.events
    for refused in (
        lambda: events.pages(world.caller, [session.id], None, 1, never),
        lambda: events.audit_log(world.caller, None, 1, never),
        lambda: taken(events.follow(world.caller, EventsWanted(), never), 1),
    ):
        with pytest.raises(InvalidInput, match=r"ahead of this journal.*read anew") as failure:
            await refused()
        assert failure.value.path == ("after",)
