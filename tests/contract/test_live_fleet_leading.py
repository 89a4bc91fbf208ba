"""Leading on a real Valkey: one lease, terms that only rise, versions nobody gets twice, and requests to the leader."""

import asyncio
from collections.abc import Awaitable, Callable

import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis import leader_requests
from subgraph.adapters.redis.connection import connect
from subgraph.adapters.redis.keys import fleet_key
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.client.redis_connection import CONNECTIONS_MAX
from subgraph.domain.errors import Unavailable
from subgraph.domain.fleet.changes import CycleReport, FleetSnapshot
from subgraph.domain.ids import version_of
from subgraph.operations.fleet.fleet_writes import IncarnationBehind, Leadership, NotLeading, TileWrite
from tests.contract.conftest import listening
from tests.support.fleets import T1, T2, A, pod, tile
from tests.support.leading import LONG_MS, lead
from tests.support.own_valkey import kill
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

REPORT = CycleReport(number=3, leader="leader", at_ms=5, duration_ms=1.5, skip="BALANCED")


@pytest.fixture
async def leadership(live: RedisLiveFleet) -> Leadership:
    return await lead(live)


async def led_by(live: RedisLiveFleet) -> str | None:
    return (await live.beat()).leader


async def test_the_lease_is_one_tokens_at_a_time(live: RedisLiveFleet) -> None:
    taken = await asyncio.gather(*(live.try_lead(f"p{n}", f"t{n}", LONG_MS) for n in range(10)))
    assert sum(taken) == 1
    winner = taken.index(True)
    assert await led_by(live) == f"p{winner}"
    assert await live.try_lead(f"p{winner}", f"t{winner}", LONG_MS)
    assert not await live.try_lead("other", "other", LONG_MS)


async def test_a_lease_that_is_not_renewed_ends(live: RedisLiveFleet) -> None:
    assert await live.try_lead("one", "t1", 50)
    await eventually(lambda: live.try_lead("other", "t2", LONG_MS), "the lease is free")
    assert await led_by(live) == "other"


async def test_renewing_gives_a_whole_lease_again(live: RedisLiveFleet, redis: Redis, fleet_id: str) -> None:
    leadership = await lead(live, lease_ms=10_000)
    await live.keep_leading(leadership, LONG_MS)
    assert 10_000 < await redis.pttl(fleet_key(fleet_id, "leader")) <= LONG_MS


async def test_a_lease_given_up_is_free_at_once_and_only_its_holder_gives_it_up(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    await live.stop_leading(Leadership(1, "somebody else's"))
    assert await led_by(live) == "leader"
    await live.stop_leading(leadership)
    assert await led_by(live) is None
    await live.stop_leading(leadership)
    assert await live.try_lead("other", "t2", LONG_MS)
    await live.stop_leading(leadership)
    assert await led_by(live) == "other"


async def test_a_term_begins_only_with_the_lease_and_a_higher_incarnation(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    for incarnation in (0, 1):
        with pytest.raises(IncarnationBehind) as behind:
            await live.begin_term(Leadership(incarnation, leadership.token))
        assert behind.value.incarnation == 1
    with pytest.raises(NotLeading):
        await live.begin_term(Leadership(2, "no holder"))
    assert (await live.beat()).incarnation == 1
    await live.begin_term(Leadership(2, leadership.token))
    assert (await live.beat()).incarnation == 2


async def test_the_begin_of_a_term_is_a_change_that_all_hear_of(live: RedisLiveFleet) -> None:
    told = live.follow()
    first = await anext(told)
    assert isinstance(first, FleetSnapshot)
    assert first.version == 0
    await lead(live, incarnation=3)
    change = await anext(told)
    assert not isinstance(change, FleetSnapshot | CycleReport)
    assert (change.previous, change.version) == (0, version_of(3, 1))


async def test_versions_are_given_out_once_and_rise_over_incarnations(live: RedisLiveFleet) -> None:
    seen: list[int] = []
    for incarnation in (1, 2, 5):
        leadership = await lead(live, incarnation)

        async def take(leadership: Leadership = leadership) -> list[int]:
            first = await live.reserve_versions(leadership, 10)
            return list(range(first, first + 10))

        taken = [version for part in await asyncio.gather(*(take() for _ in range(20))) for version in part]
        version, _ = await live.register_pod(A, pod())
        taken += [
            version,
            (await live.commit(leadership, [TileWrite(T1, 0, tile()), TileWrite(T2, 0, tile())])).version,
        ]
        await live.commit(None, [TileWrite(one, taken[-1], None) for one in (T1, T2)])
        assert len(set(taken)) == len(taken)
        assert min(taken) > max(seen, default=0)
        assert {version >> 32 for version in taken} == {incarnation}
        seen += taken
        await live.stop_leading(leadership)


CALLS: dict[str, Callable[[RedisLiveFleet, Leadership], Awaitable[object]]] = {
    "commit": lambda live, leadership: live.commit(leadership, [TileWrite(T1, 0, tile())]),
    "reserve_versions": lambda live, leadership: live.reserve_versions(leadership, 1),
    "keep_leading": lambda live, leadership: live.keep_leading(leadership, LONG_MS),
    "take_requests": lambda live, leadership: live.take_requests(leadership, 10),
    "announce_cycle": lambda live, leadership: live.announce_cycle(leadership, REPORT),
}


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_nothing_is_done_for_a_deposed_leader(
    live: RedisLiveFleet, leadership: Leadership, call: Callable[[RedisLiveFleet, Leadership], Awaitable[object]]
) -> None:
    await call(live, leadership)
    await live.stop_leading(leadership)
    with pytest.raises(NotLeading):
        await call(live, leadership)
    newer = await lead(live, incarnation=2)
    for deposed in (leadership, Leadership(1, newer.token), Leadership(2, leadership.token)):
        with pytest.raises(NotLeading):
            await call(live, deposed)
    assert await led_by(live) == "leader"


@pytest.mark.parametrize("call", CALLS.values(), ids=CALLS.keys())
async def test_no_leadership_outlives_the_run_of_the_store_it_began_on(
    valkey: EmbeddedValkey,
    fleet_id: str,
    call: Callable[[RedisLiveFleet, Leadership], Awaitable[object]],
) -> None:
    """A restarted store may have forgotten versions it gave out: giving them out again would break the fence."""
    client = connect(valkey.url)
    async with listening(client) as bus:
        live = RedisLiveFleet(client, bus, fleet_id)
        leadership = await lead(live)
        before = await live.reserve_versions(leadership, 1)
        await kill(valkey)
        await valkey.start()
        assert (await live.beat()).leader == "leader", "the lease itself survives in the file"
        with pytest.raises(NotLeading):
            await call(live, leadership)
        await live.begin_term(Leadership(2, leadership.token))
        assert await live.reserve_versions(Leadership(2, leadership.token), 1) > before
    await client.aclose()


async def test_a_cycle_is_told_to_all_and_kept_for_those_who_come_later(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    assert (await live.beat()).last_cycle is None
    told = live.follow()
    assert isinstance(await anext(told), FleetSnapshot)
    await live.announce_cycle(leadership, REPORT)
    assert await anext(told) == REPORT
    assert (await live.beat()).last_cycle == REPORT


async def test_a_request_is_taken_once_and_its_answer_finds_its_way_back(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    asking = [asyncio.create_task(live.ask_leader(f"question {n}".encode(), 10)) for n in range(10)]
    taken: list[tuple[str, bytes]] = []

    async def all_are_taken() -> bool:
        for part in await asyncio.gather(*(live.take_requests(leadership, 3) for _ in range(3))):
            taken.extend(part)
        return len(taken) >= 10

    await eventually(all_are_taken, "all requests are taken")
    assert sorted(request for _, request in taken) == sorted(f"question {n}".encode() for n in range(10))
    for request_id, request in taken:
        await live.answer_request(request_id, b"answer to " + request)
    assert await asyncio.gather(*asking) == [f"answer to question {n}".encode() for n in range(10)]


async def test_a_request_whose_caller_has_given_up_is_not_taken(live: RedisLiveFleet, leadership: Leadership) -> None:
    assert await live.ask_leader(b"too late", 0.02) is None
    asking = asyncio.create_task(live.ask_leader(b"in time", 10))
    taken = await eventually(lambda: live.take_requests(leadership, 10), "a request")
    assert [request for _, request in taken] == [b"in time"]
    await live.answer_request(taken[0][0], b"")
    assert await asking == b""


async def test_a_deposed_leader_takes_no_request_away_from_the_next_one(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    await live.stop_leading(leadership)
    asking = asyncio.create_task(live.ask_leader(b"question", 10))
    newer = await lead(live, incarnation=2)
    with pytest.raises(NotLeading):
        await live.take_requests(leadership, 10)
    taken = await eventually(lambda: live.take_requests(newer, 10), "the request")
    await live.answer_request(taken[0][0], b"answer")
    assert await asking == b"answer"


async def test_a_request_that_cannot_be_read_is_dropped_and_the_others_are_taken(
    live: RedisLiveFleet, leadership: Leadership, redis: Redis, fleet_id: str
) -> None:
    for garbage in (b"", b"\xc1", b"\x93\x01\x02\x03", b"plain text"):
        await redis.rpush(fleet_key(fleet_id, "requests"), garbage)
    asking = asyncio.create_task(live.ask_leader(b"question", 10))
    ((request_id, request),) = await eventually(lambda: live.take_requests(leadership, 10), "the request")
    await live.answer_request(request_id, request + b" answered")
    assert await asking == b"question answered"


async def test_callers_that_wait_for_the_leader_hold_nobody_else_up_and_further_ones_are_refused(
    live: RedisLiveFleet, leadership: Leadership
) -> None:
    asking = [asyncio.create_task(live.ask_leader(b"question", 10)) for _ in range(2 * CONNECTIONS_MAX)]
    refused = await eventually(lambda: [one for one in asking if one.done()], "the last ones are refused")
    while len(refused) < len(asking) - leader_requests.ASKING_MAX:
        refused = [one for one in asking if one.done()]
        await live.keep_leading(leadership, LONG_MS)
    for one in refused:
        with pytest.raises(Unavailable, match="wait for the leader already"):
            one.result()
    await asyncio.gather(*(live.beat() for _ in range(2 * CONNECTIONS_MAX)))
    answered = 0
    while answered < leader_requests.ASKING_MAX:
        for request_id, _ in await live.take_requests(leadership, 100):
            await live.answer_request(request_id, b"answer")
            answered += 1
    assert await asyncio.gather(*(one for one in asking if one not in refused)) == [b"answer"] * answered
    again = asyncio.create_task(live.ask_leader(b"again", 10))
    ((request_id, _),) = await eventually(lambda: live.take_requests(leadership, 10), "there is room again")
    await live.answer_request(request_id, b"answer")
    assert await again == b"answer"


async def test_while_nobody_leads_requests_do_not_pile_up(
    live: RedisLiveFleet, redis: Redis, fleet_id: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leader_requests, "REQUESTS_WAITING_MAX", 5)
    for n in range(8):
        assert await live.ask_leader(str(n).encode(), 0.001) is None
    assert await redis.llen(fleet_key(fleet_id, "requests")) == 5
