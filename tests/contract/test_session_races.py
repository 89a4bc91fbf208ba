"""Reads of sessions while they are changed: whatever comes between, nobody reads what is older than was told."""

import itertools
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from functools import partial

import pytest
from redis.asyncio import Redis

from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.domain.errors import RevisionConflict, Unavailable
from subgraph.domain.journal import JournalEntry, SessionEventType, event_of
from subgraph.domain.sessions import SessionChange
from subgraph.operations.sessions.session_blobs import SessionKey
from tests.support.own_valkey import kill
from tests.support.polling import eventually
from tests.support.session_replicas import Actor, Replica, Truth, hears, new_session, next_of, replica

pytestmark = pytest.mark.anyio

STEPS = 4
"""Of a reader: begin, look for a copy, ask SQL, take its answer. Of a writer: begin, fence, commit, lift."""


@pytest.fixture
def truth() -> Truth:
    return Truth()


@pytest.fixture
async def one(valkey_url: str, fleet_id: str, truth: Truth) -> AsyncIterator[Replica]:
    async with replica(valkey_url, fleet_id, truth) as process:
        yield process


@pytest.fixture
async def other(valkey_url: str, fleet_id: str, truth: Truth) -> AsyncIterator[Replica]:
    async with replica(valkey_url, fleet_id, truth) as process:
        yield process


def orders_of_two() -> Iterator[str]:
    """Every order in which a reader and a writer can take their steps."""
    for places in itertools.combinations(range(2 * STEPS), STEPS):
        yield "".join("R" if place in places else "W" for place in range(2 * STEPS))


@pytest.mark.parametrize("warm", ["cold", "copied", "held"])
@pytest.mark.parametrize("is_asked_meanwhile", [False, True])
async def test_no_order_of_a_read_and_a_change_leaves_an_old_copy_or_shows_one(
    one: Replica, other: Replica, truth: Truth, warm: str, is_asked_meanwhile: bool
) -> None:
    for order in orders_of_two():
        before = new_session()
        truth.hold(before)
        change = next_of(before)
        if warm != "cold":
            await (other if warm == "held" else one).read(before)
        reader = Actor(partial(other.read, before))
        writer = Actor(partial(one.change, change))
        for step in order:
            await (reader if step == "R" else writer).step()
            if is_asked_meanwhile:
                now = truth.sessions_of[before.id]
                assert [await process.read(before) for process in (one, other)] == [now, now], order
        assert await reader.end() in (before, *change.updated)
        await writer.end()
        for _ in range(2):
            assert [await process.read(before) for process in (one, other)] == [*change.updated] * 2, order


async def test_of_two_that_change_a_session_at_once_the_first_to_end_lifts_only_its_own_fence(
    one: Replica, other: Replica, truth: Truth
) -> None:
    before = new_session()
    truth.hold(before)
    first, second = next_of(before), next_of(next_of(before).updated[0])
    slow = Actor(lambda: other.change(second))
    for _ in range(2):
        await slow.step()  # fenced, not committed
    await one.change(first)
    assert await other.read(before) == first.updated[0]
    await slow.end()
    assert [await process.read(before) for process in (one, other)] == [second.updated[0]] * 2


async def test_after_a_refused_change_copies_are_made_again(one: Replica, truth: Truth) -> None:
    session = new_session()
    truth.hold(session)
    with pytest.raises(RevisionConflict):
        async with one.changing(next_of(session)):
            raise RevisionConflict(session.id, 1, ())
    for _ in range(2):
        assert await one.read(session) == session
    assert len(truth.asked) == 1


async def test_after_a_commit_in_doubt_there_are_no_copies_until_the_fence_ends(
    one: Replica, other: Replica, truth: Truth
) -> None:
    session = new_session()
    truth.hold(session)
    with pytest.raises(Unavailable):
        async with one.changing(next_of(session)):
            raise Unavailable("the database does not answer")
    assert await other.read(session) == session
    truth.commit(next_of(session))  # it was carried out after all
    assert await other.read(session) == next_of(session).updated[0]


async def test_a_purged_session_is_gone_everywhere(one: Replica, other: Replica, truth: Truth) -> None:
    session = new_session()
    truth.hold(session)
    assert [await process.read(session) for process in (one, other)] == [session, session]
    await one.change(SessionChange(purged=(session,)))
    assert [await process.read(session) for process in (one, other)] == [None, None]


@pytest.mark.requirement("A local cache in front of Redis: least recently used, at most")
async def test_what_one_process_changes_the_other_shows(one: Replica, other: Replica, truth: Truth) -> None:
    session = new_session()
    truth.hold(session)
    for _ in range(100):
        assert await other.read(session) == session
        await one.change(next_of(session))
        session = truth.sessions_of[session.id]
    assert other.cache.facts.invalidations >= 100


async def test_a_process_that_missed_announcements_forgets_its_copies_and_listens_again(
    one: Replica, other: Replica, truth: Truth, redis: Redis
) -> None:
    session = new_session()
    truth.hold(session)
    assert await other.read(session) == session
    for client in await redis.client_list():
        if int(client["sub"]):
            await redis.client_kill_filter(_id=client["id"])
    await one.change(next_of(session))
    assert await other.read(session) == next_of(session).updated[0]
    await eventually(lambda: hears(other), "it listens again")


async def test_a_store_that_was_emptied_costs_nothing_but_its_copies(truth: Truth, valkey: EmbeddedValkey) -> None:
    async with replica(valkey.url, "fleet", truth) as one, replica(valkey.url, "fleet", truth) as other:
        session = new_session()
        truth.hold(session)
        assert await other.read(session) == session
        async with one.changing(next_of(session)):
            await one.redis.flushall()
            assert await other.read(session) == session  # which makes a copy
            truth.commit(next_of(session))
        assert [await process.read(session) for process in (one, other)] == [next_of(session).updated[0]] * 2


async def test_what_changed_while_redis_was_away_is_shown_at_once_when_it_is_back(
    truth: Truth, valkey: EmbeddedValkey
) -> None:
    async with replica(valkey.url, "fleet", truth) as one, replica(valkey.url, "fleet", truth) as other:
        session = new_session()
        truth.hold(session)
        assert [await process.read(session) for process in (one, other)] == [session, session]
        await kill(valkey)
        changed = next_of(session)
        await one.change(changed)
        assert [await process.read(session) for process in (one, other)] == [changed.updated[0]] * 2
        again = next_of(changed.updated[0])
        await one.change(again)
        await valkey.start()
        # The old copy is still in what Redis kept on its disk.
        assert [await process.read(session) for process in (one, other)] == [again.updated[0]] * 2
        for process in (one, other):
            await eventually(partial(hears, process), "it listens again")
        assert [await process.read(session) for process in (one, other)] == [again.updated[0]] * 2


async def test_a_change_whose_fence_went_down_with_redis_leaves_no_old_copy(
    truth: Truth, valkey: EmbeddedValkey
) -> None:
    async with replica(valkey.url, "fleet", truth) as one, replica(valkey.url, "fleet", truth) as other:
        session = new_session()
        truth.hold(session)
        async with one.changing(next_of(session)):
            await kill(valkey)
            await valkey.start()
            await eventually(lambda: hears(other), "the other one listens again")
            assert await other.read(session) == session  # which makes a copy
            truth.commit(next_of(session))
        assert [await process.read(session) for process in (one, other)] == [next_of(session).updated[0]] * 2


async def test_the_relay_ends_the_copies_of_a_change_that_was_never_fenced(
    one: Replica, other: Replica, truth: Truth
) -> None:
    session, kept = new_session(), new_session()
    truth.hold(session, kept)
    for process in (one, other):
        await process.reads.sessions(session.tenant_id, [session.id, kept.id])
    asked = len(truth.asked)
    truth.commit(next_of(session))  # by a process that could not reach Redis
    event = event_of(session, SessionEventType.SESSION_UPDATED, None, session.created_at)
    of_kept = event_of(kept, SessionEventType.SESSION_UPDATED, None, session.created_at)
    await one.cache.relay(truth, [JournalEntry(1, 1, event), JournalEntry(2, 1, of_kept)])
    found = await other.reads.sessions(session.tenant_id, [session.id, kept.id])
    assert found == {session.id: next_of(session).updated[0], kept.id: kept}
    assert truth.asked[asked:] == [[session.id]], "a copy as new as the journal stays"


async def test_a_fence_that_nobody_lifts_ends_by_itself(one: Replica, other: Replica, truth: Truth) -> None:
    session = new_session()
    truth.hold(session)
    key = SessionKey(session.tenant_id, session.id)
    await type(one.blobs)(one.redis, one.fleet_id, fence_ms=100).fence([key], "a process that died")
    position, _ = await other.cache.position()
    assert (await other.blobs.read(position.run, session.tenant_id, [session.id])).fenced == {session.id}

    async def is_copied() -> bool:
        hits = other.cache.facts.local_hits
        await other.read(session)
        return other.cache.facts.local_hits > hits

    await eventually(is_copied, "there is a copy")


async def test_an_older_version_of_a_copy_never_takes_the_place_of_a_newer_one(one: Replica, truth: Truth) -> None:
    session = new_session()
    truth.hold(replace(session, revision=7))
    assert (await one.read(session)) == replace(session, revision=7)
    with one.cache.loading() as load:
        load.keep(SessionKey(session.tenant_id, session.id), 6, replace(session, revision=6))
    assert (await one.read(session)) == replace(session, revision=7)
