"""What a pod does in Redis itself is what the session manager would have done for it."""

import asyncio
import math
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from subgraph.adapters.redis.keys import fleet_key
from subgraph.adapters.redis.live_fleet import RedisLiveFleet
from subgraph.adapters.valkey.embedded_valkey import EmbeddedValkey
from subgraph.client.fleet_redis import LOADS_PER_REPORT_MAX, FleetRedis
from subgraph.client.manager import CallRefused, LeaseRefused, Superseded, TileLoad, Unreachable
from subgraph.domain.ids import PodId
from subgraph.domain.pods import PodStatus
from subgraph.operations.fleet.fleet_writes import Leadership, PodLease
from tests.support.fleets import SESSION, T1, T2, A, pod, tile_ids
from tests.support.leading import lead
from tests.support.own_valkey import kill
from tests.support.polling import eventually

pytestmark = pytest.mark.anyio

LOADS = [TileLoad(T1, 7, 1.5, 2.5, 3, 4), TileLoad(T2, 2**53 - 1, 0.0)]


@pytest.fixture
async def fleet_redis(valkey_url: str, fleet_id: str) -> AsyncIterator[FleetRedis]:
    async with FleetRedis(valkey_url, fleet_id) as link:
        yield link


@pytest.fixture
async def registered(live: RedisLiveFleet) -> PodLease:
    await lead(live)
    await live.register_pod(A, pod(lease_token="t", lease_ms=3_000))
    return PodLease(A, "t")


async def test_a_renewal_gives_a_whole_lease_by_redis_time_and_tells_what_was_applied(
    live: RedisLiveFleet, fleet_redis: FleetRedis, registered: PodLease, redis: Redis, fleet_id: str
) -> None:
    await redis.zadd(fleet_key(fleet_id, "leases"), {A: 1})
    before = (await live.beat()).now_ms
    await fleet_redis.renew(A, "t", 2**53 - 1)
    beat = await live.beat()
    assert before + 3_000 <= beat.leases[A] <= beat.now_ms + 3_000
    assert beat.applied == {A: 2**53 - 1}


async def test_loads_are_read_as_they_were_handed_in(
    live: RedisLiveFleet, fleet_redis: FleetRedis, registered: PodLease
) -> None:
    (other,) = tile_ids(1, type(SESSION)("other"))
    assert await fleet_redis.report(A, "t", 5, [LOADS[0], TileLoad(other, 1, 9.0), LOADS[1]])
    reading = await asyncio.wait_for(anext(live.follow_loads()), 30)
    columns = reading.columns
    assert reading.malformed == 0
    assert [columns.session_ids[code] for code in columns.session.tolist()] == ["session", "session", "other"]
    assert [f"{cell:x}" for cell in columns.cells.tolist()] == [one.rpartition(":")[2] for one in (T1, T2, other)]
    assert columns.epochs.tolist() == [7, 2**53 - 1, 1]
    assert columns.records_per_second.tolist() == [1.5, 0.0, 9.0]
    assert columns.bytes_per_second.tolist() == [2.5, 0.0, 0.0]
    assert (columns.volume_bytes.tolist(), columns.backlog.tolist()) == ([3, 0, 0], [4, 0, 0])
    assert (await live.beat()).applied == {A: 5}


async def test_the_largest_report_is_taken_and_a_larger_one_is_refused_unsent(
    live: RedisLiveFleet, fleet_redis: FleetRedis, registered: PodLease
) -> None:
    loads = [TileLoad(T1, 7, 1.0)] * LOADS_PER_REPORT_MAX
    assert await fleet_redis.report(A, "t", 0, loads)
    reading = await asyncio.wait_for(anext(live.follow_loads()), 30)
    assert (reading.columns.cells.size, reading.malformed) == (LOADS_PER_REPORT_MAX, 0)
    with pytest.raises(CallRefused, match="at most 10,000 loads"):
        await fleet_redis.report(A, "t", 0, [*loads, *LOADS])


@pytest.mark.parametrize(
    "load",
    [
        TileLoad("no tile", 1, 1.0),
        TileLoad(T1, 2**63, 1.0),
        TileLoad(T1, 1, -1.0),
        TileLoad(T1, 1, math.nan),
        TileLoad(T1, 1, 1.0, math.inf),
        TileLoad(T1, 1, 1.0, 0.0, -1),
        TileLoad(T1, 1, 1.0, 0.0, 0, 2**53),
    ],
)
async def test_what_is_no_load_is_refused_unsent(
    fleet_redis: FleetRedis, registered: PodLease, redis: Redis, fleet_id: str, load: TileLoad
) -> None:
    with pytest.raises(CallRefused):
        await fleet_redis.report(A, "t", 0, [LOADS[0], load])
    assert await redis.xlen(fleet_key(fleet_id, "loads")) == 0


async def test_reports_that_come_too_fast_are_not_taken(
    live: RedisLiveFleet, fleet_redis: FleetRedis, registered: PodLease, redis: Redis, fleet_id: str
) -> None:
    now_ms = (await live.beat()).now_ms
    await redis.hset(fleet_key(fleet_id, "intake"), mapping={"since": now_ms, "bytes": 268_435_456})
    assert not await fleet_redis.report(A, "t", 0, LOADS)
    await redis.delete(fleet_key(fleet_id, "intake"))
    assert await fleet_redis.report(A, "t", 0, LOADS)


async def test_a_superseded_a_lost_and_an_unknown_instance_are_told_apart(
    live: RedisLiveFleet, fleet_redis: FleetRedis, registered: PodLease
) -> None:
    await live.register_pod(A, pod(lease_token="new"))
    for call in (fleet_redis.renew(A, "t", 0), fleet_redis.report(A, "t", 0, LOADS)):
        with pytest.raises(Superseded):
            await call
    await live.end_pod(PodLease(A, "new"), pod(status=PodStatus.GONE))
    for pod_id in (A, PodId("nobody")):
        with pytest.raises(LeaseRefused) as refused:
            await fleet_redis.renew(pod_id, "new", 0)
        assert not isinstance(refused.value, Superseded)


async def test_a_redis_that_is_away_is_unreachable_and_comes_back(
    valkey: EmbeddedValkey, own_live: RedisLiveFleet, fleet_id: str
) -> None:
    await lead(own_live)
    await own_live.register_pod(A, pod(lease_token="t", lease_ms=3_000))
    async with FleetRedis(valkey.url, fleet_id) as link:
        await link.renew(A, "t", 0)
        await kill(valkey)
        for call in (link.renew(A, "t", 0), link.report(A, "t", 0, LOADS)):
            with pytest.raises(Unreachable):
                await call
        await valkey.start()

        async def answers() -> bool:
            try:
                await link.renew(A, "t", 0)
            except Unreachable:
                return False
            return True

        await eventually(answers, "it answers again, and knows the instance")


async def test_a_redis_that_may_have_forgotten_who_runs_refuses_nobody(
    valkey: EmbeddedValkey, own_live: RedisLiveFleet, fleet_id: str
) -> None:
    """Who is told that another instance runs stops for good, and who is told that none does stops work at once."""
    leadership = await lead(own_live)
    await own_live.register_pod(A, pod(lease_token="t", lease_ms=3_000))
    async with FleetRedis(valkey.url, fleet_id) as link, Redis.from_url(valkey.url) as client:
        await client.flushall()
        with pytest.raises(Unreachable, match="no leader"):
            await link.renew(A, "t", 0)
        assert await own_live.try_lead("leader", leadership.token, 60_000)
        assert await own_live.begin_term(Leadership(2, leadership.token))
        with pytest.raises(LeaseRefused):
            await link.renew(A, "t", 0)


async def test_the_rights_that_are_documented_are_enough(
    live: RedisLiveFleet, registered: PodLease, redis: Redis, valkey_url: str, fleet_id: str
) -> None:
    written = ("tokens", "leases", "applied", "loads", "intake")
    keys = [f"~session-manager:{{{fleet_id}}}:{name}" for name in written] + [f"%R~session-manager:{{{fleet_id}}}:meta"]
    commands = ["+eval", "+evalsha", "+script|load", "+client|setinfo", "+hello", "+time", "+info"]
    commands += ["+hget", "+hmget", "+hset", "+zadd", "+xadd"]
    rights = (*keys, *commands)
    await redis.execute_command("ACL", "SETUSER", fleet_id, "on", ">secret", *rights)  # type: ignore[no-untyped-call]  # redis-py leaves it untyped
    async with FleetRedis(valkey_url.replace("unix://", f"unix://{fleet_id}:secret@"), fleet_id) as link:
        assert await link.report(A, "t", 1, LOADS)
        await link.renew(A, "t", 1)
        with pytest.raises(Superseded):
            await link.renew(A, "another", 1)
    await redis.acl_deluser(fleet_id)
