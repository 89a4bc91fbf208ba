"""A journal that is put back to an earlier state under running processes: their streams end, and new ones go on."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from functools import partial
from typing import cast

import pytest

from subgraph.adapters.sql.owner_records import SqlOwnerRecords
from subgraph.domain.erasure import Traces
from subgraph.domain.errors import InvalidInput, Unavailable
from subgraph.domain.journal import JournalEntry
from subgraph.domain.journal_cursor import encode_position
from subgraph.domain.sessions import Session
from subgraph.operations.journal.journal import JournalPutBack
from subgraph.operations.journal.session_events import REPLAY_PAGE, EventsWanted
from tests.support.journal_in_memory import JournalInMemory
from tests.support.journal_world import JournalWorld, first_of
from tests.support.polling import eventually
from tests.support.sql_backups import back_up

pytestmark = pytest.mark.anyio

EVERYTHING = EventsWanted()
SECONDS_MAX = 30


async def backed_up(world: JournalWorld, url: str | None) -> Callable[[], Awaitable[None]]:
    """Back the journal up, wherever it is kept; returns what puts it back, and waits until it answers again."""
    if isinstance(world.kept, JournalInMemory):
        put_back_at_once = world.kept.back_up()

        async def put_back() -> None:
            put_back_at_once()

        return put_back
    assert url is not None
    put_back_database = await back_up(url)
    await answers(world)

    async def put_back_and_wait() -> None:
        await put_back_database()
        await answers(world)

    return put_back_and_wait


async def answers(world: JournalWorld) -> None:
    """Wait until the journal answers those who were thrown out."""

    async def does() -> bool:
        try:
            await world.journal.highest_position()
        except Unavailable:
            return False
        return True

    await eventually(does, "the journal answers")


async def told_live(world: JournalWorld, stream: AsyncIterator[JournalEntry], session: Session) -> JournalEntry:
    """Let a session tick until a stream from now on tells of it: so it has begun."""
    waiting = asyncio.create_task(first_of(stream, 1))
    while not waiting.done():
        await world.tick(session)
        await asyncio.wait([waiting], timeout=0.02)
    return waiting.result()[0]


async def to_the_end(stream: AsyncIterator[JournalEntry]) -> None:
    async with asyncio.timeout(SECONDS_MAX):
        async for _ in stream:
            pass


async def test_all_streams_end_with_what_to_do_and_new_ones_go_on_from_the_journal_as_it_is(
    world: JournalWorld, journal_url: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    follow = partial(world.process.events.follow, world.caller)
    session, other = await world.new_session(), await world.new_session()
    await world.tick(session)
    of_before = encode_position(await world.journal.newest_position())
    put_back = await backed_up(world, journal_url)
    streams = [
        follow(EventsWanted(session.id), of_before),
        follow(EVERYTHING, None),
        follow(EventsWanted(other.id), None),
    ]
    ahead = [await told_live(world, one, which) for one, which in zip(streams, (session, session, other), strict=True)]

    with caplog.at_level(logging.ERROR):
        await put_back()
        for stream in streams:
            with pytest.raises(JournalPutBack, match=r"read anew, and subscribe without `after`"):
                await to_the_end(stream)
        for entry in ahead:
            with pytest.raises(InvalidInput, match=r"ahead of this journal.*read anew"):
                await first_of(follow(EVERYTHING, encode_position(entry.position)), 1)

        await told_live(world, follow(EVERYTHING, None), session)
        resumed = await first_of(follow(EVERYTHING, of_before), 1)
        assert [(entry.event.session_id, entry.sequence) for entry in resumed] == [(session.id, 3)]
    said = [record.message for record in caplog.records if "restored from a backup" in record.message]
    assert len(said) == 1
    assert world.process.times_copies_ended == 1
    assert not world.process.died.is_set()


async def test_who_follows_after_all_others_had_left_is_told_of_what_comes(
    world: JournalWorld, journal_url: str | None
) -> None:
    session = await world.new_session()
    put_back = await backed_up(world, journal_url)
    await world.tick(session, 500)
    former = world.process.events.follow(world.caller, EVERYTHING, None)
    async with contextlib.aclosing(cast("AsyncGenerator[JournalEntry]", former)):
        await told_live(world, former, session)
    await put_back()
    told = await told_live(world, world.process.events.follow(world.caller, EVERYTHING, None), session)
    assert told.sequence < 500


async def test_a_stream_that_is_still_far_back_when_the_journal_is_put_back_ends_too(
    world: JournalWorld, journal_url: str | None
) -> None:
    session = await world.new_session()
    put_back = await backed_up(world, journal_url)
    await world.tick(session, 3 * REPLAY_PAGE)
    stream = world.process.events.follow(world.caller, EVERYTHING, encode_position(0))
    await first_of(stream, 2)
    await put_back()
    with pytest.raises(JournalPutBack):
        await to_the_end(stream)


async def test_what_is_put_back_while_no_process_runs_is_noticed_by_the_next(
    world: JournalWorld, journal_url: str | None
) -> None:
    session = await world.new_session()
    await world.restart(None)
    put_back = await backed_up(world, journal_url)
    await world.tick(session, 5)
    ahead = await world.journal.newest_position()
    await eventually(lambda: world.noted.is_at(ahead), "it is noted how far the journal reached")
    await world.process.kill()
    await put_back()
    await world.restart(None)
    await eventually(lambda: world.process.times_copies_ended, "it is noticed")
    await eventually(lambda: not world.noted.is_at(ahead), "it is noted how far the journal reaches now")
    await world.restart(None)
    await world.process.watch.look()
    assert world.process.times_copies_ended == 0


async def test_an_erasure_of_the_newest_entries_is_not_taken_for_a_journal_that_was_put_back(
    world: JournalWorld,
) -> None:
    session = await world.new_session()
    await world.tick(session)
    await world.process.watch.look()
    records = world.kept if isinstance(world.kept, JournalInMemory) else SqlOwnerRecords(world.kept)
    await records.forget_journal(world.caller.tenant_id, Traces("ann", [session.id]))
    for _ in range(2):
        await world.process.watch.look()
        await world.restart(None)
    await world.process.watch.look()
    assert world.process.times_copies_ended == 0
